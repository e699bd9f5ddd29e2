"""Image files below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .errors import NotFound, display_name

EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .bmp .tif .tiff .avif .heic .heif .hif".split()
)


def iter_image_files(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the files below a folder that have an image extension, in sorted order; a file yields itself.

    Hidden files and folders are left out, and links to folders are not followed.

    Raises:
        NotFound: There is nothing at `path`.
    """
    root = Path(path)
    if not root.exists():
        raise NotFound(f"{display_name(root)} does not exist.")
    return iter([root]) if root.is_file() else _walk(root)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                yield Path(folder, name)
