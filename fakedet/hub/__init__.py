"""Checkpoints: loaded from the Hub, a folder or the package, checked before use, and saved to a folder."""

from .checkpoint import (
    BUNDLED,
    FILES,
    GRAPHS,
    WEIGHTS,
    Checkpoint,
    load_checkpoint,
    load_folder,
    require_torch,
    save_checkpoint,
)
from .pull import ModelError

__all__ = [
    "BUNDLED",
    "FILES",
    "GRAPHS",
    "WEIGHTS",
    "Checkpoint",
    "ModelError",
    "load_checkpoint",
    "load_folder",
    "require_torch",
    "save_checkpoint",
]
