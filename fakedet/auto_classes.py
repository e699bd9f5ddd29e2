"""Registers the model with transformers' Auto classes when transformers imports them, so not before they are used."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType

AUTO = "transformers.models.auto."


def register_on_import() -> None:
    """Has each Auto class registered after the import of its module, at once where that is imported already."""
    waiting = {}
    for name, register in (
        (f"{AUTO}configuration_auto", _register_config),
        (f"{AUTO}modeling_auto", _register_model),
        (f"{AUTO}image_processing_auto", _register_processor),
    ):
        if name in sys.modules:
            register(sys.modules[name])
        else:
            waiting[name] = register
    sys.meta_path.insert(0, _AfterImport(waiting))


class _AfterImport:
    """Finder of modules that calls a function after the import of one of them, once each.

    It finds nothing itself. The library `wrapt` does the same, but its import brings asyncio and took more than twice
    as long as that of ONNX Runtime.
    """

    def __init__(self, waiting: dict[str, Callable[[ModuleType], None]]):
        self.waiting = waiting
        self.asked: set[str] = set()  # names that the other finders are being asked for

    def find_spec(self, name: str, path=None, target: ModuleType | None = None):
        """The spec that the other finders give, with a loader that calls the function; None for all other modules."""
        if name not in self.waiting or name in self.asked:
            return None
        self.asked.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.asked.discard(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if register := self.waiting.pop(name, None):
                register(module)

        spec.loader.exec_module = exec_module
        return spec


def _register_config(module: ModuleType) -> None:
    from fakedet.network.configuration import FakeDetConfig

    module.AutoConfig.register(FakeDetConfig.model_type, FakeDetConfig, exist_ok=True)


def _register_model(module: ModuleType) -> None:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("timm") is None:
        return  # transformers serves other models without them
    from fakedet.network.configuration import FakeDetConfig
    from fakedet.network.model import FakeDetForImageClassification

    module.AutoModelForImageClassification.register(FakeDetConfig, FakeDetForImageClassification, exist_ok=True)


def _register_processor(module: ModuleType) -> None:
    if importlib.util.find_spec("torch") is None:
        return
    from fakedet.network.configuration import FakeDetConfig
    from fakedet.network.processing import FakeDetImageProcessor

    module.AutoImageProcessor.register(FakeDetConfig, slow_image_processor_class=FakeDetImageProcessor, exist_ok=True)
