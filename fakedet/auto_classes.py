"""Registers the model with transformers' Auto classes when transformers imports them, so not before they are used."""

from __future__ import annotations

import importlib.util
from types import ModuleType


def register_on_import() -> None:
    """Has each Auto class registered after the import of its module, at once where that is imported already."""
    if importlib.util.find_spec("transformers") is None:
        return
    import wrapt  # comes with the extra `torch`, as transformers does

    for name, register in (
        ("configuration_auto", _register_config),
        ("modeling_auto", _register_model),
        ("image_processing_auto", _register_processor),
    ):
        wrapt.register_post_import_hook(register, f"transformers.models.auto.{name}")


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
