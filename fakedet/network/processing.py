"""The image processor for transformers, which calls `views.make_views`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature

from .settings import Settings
from .views import CUT_KEYS, make_views

KEYS = (*CUT_KEYS, "image_mean", "image_std")


class FakeDetImageProcessor(BaseImageProcessor):
    """Turns images into `pixel_values` (B, V, 3, S, S), `view_count` (B, 1) and `tiny` (B, 1); missing views are zeros.

    Its settings are those of the model and are read from the same config.json, so they are stored once.
    """

    model_input_names = ("pixel_values", "view_count", "tiny")

    def __init__(self, **kwargs):
        defaults = Settings()
        own = {key: kwargs.pop(key, getattr(defaults, key)) for key in KEYS}
        super().__init__()
        for key, value in own.items():
            setattr(self, key, value)

    @classmethod
    def get_image_processor_dict(cls, pretrained_model_name_or_path, **kwargs):
        kwargs["image_processor_filename"] = "config.json"
        return super().get_image_processor_dict(pretrained_model_name_or_path, **kwargs)

    def to_dict(self) -> dict:
        """The class name only: the settings stay in config.json, so the two cannot disagree."""
        both = super().to_dict()
        return {key: both[key] for key in ("image_processor_type", "auto_map") if key in both}

    def __call__(self, images, return_tensors: str = "pt", **unused) -> BatchFeature:
        """Processes one image or a list of them (PIL, or uint8 arrays H x W x 3).

        Raises:
            ValueError: An image is longer than `views.MAX_ASPECT` times its width.
        """
        if not isinstance(images, list | tuple):
            images = [images]
        config = SimpleNamespace(**{key: getattr(self, key) for key in KEYS})
        pixels = torch.zeros(len(images), max(self.max_views, 2), 3, self.input_size, self.input_size)
        counts, tiny = (torch.zeros(len(images), 1, dtype=torch.long) for _ in range(2))
        for row, image in enumerate(images):
            if not isinstance(image, Image.Image):
                image = Image.fromarray(np.asarray(image))
            views = make_views(image.convert("RGB"), config)
            side = views.pixels.shape[-1]  # the views of a tiny image may be smaller and fill one corner
            pixels[row, : len(views.boxes), :, :side, :side] = torch.from_numpy(views.pixels)
            counts[row] = len(views.boxes)
            tiny[row] = min(image.size) < self.tiny_side
        return BatchFeature({"pixel_values": pixels, "view_count": counts, "tiny": tiny}, tensor_type=return_tensors)

    preprocess = __call__
