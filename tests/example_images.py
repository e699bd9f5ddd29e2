"""Makes the example pictures that are drawn or signed here: `python tests/example_images.py` (each run signs anew)."""

import io
import sys
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from c2pa_material import Authority  # noqa: E402
from PIL import Image  # noqa: E402

from train.data.graphics import pages  # noqa: E402
from train.make_graphics import browser  # noqa: E402

IMAGES = ROOT / "examples" / "images"
YEARS = 30  # until the certificate expires; a shorter one would change the answer one day


def declared() -> bytes:
    """A generated picture whose signed Content Credentials say so, by a certificate that nobody has reason to trust."""
    file = io.BytesIO()
    picture = Image.open(IMAGES / "generated_latent_noise.png").convert("RGB")
    picture.resize((384, 384), Image.Resampling.LANCZOS).save(file, "JPEG", quality=90)
    return Authority(days=365 * YEARS).sign(file.getvalue(), "JPEG", kind="trainedAlgorithmicMedia")


def screenshot() -> Image.Image:
    """A window with tiles of numbers."""
    with browser() as render:
        return render(pages.dashboard(Random(4), lambda: ""), (1000, 700), 1)


if __name__ == "__main__":
    (IMAGES / "generated_signed.jpg").write_bytes(declared())
    screenshot().quantize(64).save(IMAGES / "graphic_dashboard.png", optimize=True)
