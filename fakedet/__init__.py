"""fakedet: tells camera photographs from AI-generated images.

    from fakedet import Detector
    verdict = Detector.from_pretrained().predict("photo.jpg")
    print(verdict.verdict, verdict.p_fake)

Importing the package registers the model with transformers' Auto classes and `pipeline("image-classification")`.
"""

from fakedet.network.configuration import FakeDetConfig
from fakedet.network.model import FakeDetForImageClassification
from fakedet.network.processing import FakeDetImageProcessor, register
from fakedet.version import __version__

register()

__all__ = [
    "Detector",
    "FakeDetConfig",
    "FakeDetForImageClassification",
    "FakeDetImageProcessor",
    "ImageError",
    "Verdict",
    "__version__",
]


def __getattr__(name: str):
    # Imported on first use: training code needs the network without the rest of the detector.
    if name in ("Detector", "Verdict"):
        from . import detector

        return getattr(detector, name)
    if name == "ImageError":
        from fakedet.images import ImageError

        return ImageError
    raise AttributeError(f"module 'fakedet' has no attribute {name!r}")
