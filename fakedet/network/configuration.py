"""The configuration of the transformers model: `Settings` as a `PreTrainedConfig`.

It travels with the checkpoint to the Hub, see model.py.
"""

from __future__ import annotations

from transformers import PreTrainedConfig

from .settings import KEYS, LABELS, MODEL_TYPE, Settings


class FakeDetConfig(PreTrainedConfig, Settings):
    """The settings of a checkpoint, for transformers; fields, ranges and methods are those of `Settings`.

    Raises:
        ValueError: A value is of the wrong type or out of range.
    """

    model_type = MODEL_TYPE

    def __init__(self, **kwargs):
        settings = Settings(**{key: kwargs.pop(key) for key in KEYS if key in kwargs})
        kwargs["id2label"] = dict(enumerate(LABELS))
        kwargs["label2id"] = {name: index for index, name in enumerate(LABELS)}
        kwargs.pop("num_labels", None)
        super().__init__(**kwargs)
        for key in KEYS:
            setattr(self, key, getattr(settings, key))
