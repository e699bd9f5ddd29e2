"""fakedet: tells camera photographs from AI-generated images.

    from fakedet import Detector
    verdict = Detector.from_pretrained().predict("photo.jpg")
    print(verdict.verdict, verdict.p_fake)

Importing the package also makes transformers' Auto classes and `pipeline("image-classification")` know the model,
whichever of the two is imported first. It imports neither torch nor transformers.
"""

from importlib import import_module

from fakedet.auto_classes import register_on_import
from fakedet.version import __version__

register_on_import()

# Imported when first asked for: scoring a picture needs none of the classes for transformers.
LAZY = {
    "Detector": "fakedet.detector",
    "FakeDetConfig": "fakedet.network.configuration",
    "FakeDetForImageClassification": "fakedet.network.model",
    "FakeDetImageProcessor": "fakedet.network.processing",
    "ImageError": "fakedet.images",
    "Verdict": "fakedet.verdict",
    "summary": "fakedet.web.summary",
}

__all__ = [
    "Detector",
    "FakeDetConfig",
    "FakeDetForImageClassification",
    "FakeDetImageProcessor",
    "ImageError",
    "Verdict",
    "__version__",
    "summary",
]


def __getattr__(name: str):
    if name in LAZY:
        return getattr(import_module(LAZY[name]), name)
    raise AttributeError(f"module 'fakedet' has no attribute {name!r}")
