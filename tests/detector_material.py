"""Images for the tests of the detector and of the command line."""

from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples" / "images").iterdir())


def make_folder(root: Path) -> Path:
    """Writes three good images, a text file and four files that cannot be scored."""
    rng = np.random.default_rng(0)
    for name, size in {"a.jpg": (300, 200), "sub/b.png": (40, 40), "c.webp": (120, 400)}.items():
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(root / name)
    (root / "empty.jpg").touch()
    (root / "text.png").write_text("this is not an image")
    (root / "cut.jpg").write_bytes((root / "a.jpg").read_bytes()[:9000])
    (root / "notes.txt").write_text("not an image by its name, so a folder's walk leaves it out")
    Image.new("1", (9000, 9000)).save(root / "huge.png")
    return root
