"""Reading: pixels as stored, upright, from every kind of source. All files are made here."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_material import (
    JPEG,
    PNG,
    SHARED,
    STORED_AS,
    array,
    encoded,
    needs_shared,
    picture,
)
from PIL import Image, PngImagePlugin

from fakedet.images import (
    NotFound,
    UnsupportedFormat,
    iter_image_files,
    open_image,
)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel(kind):
    # The detector lives on pixel values; reading may not change one of them.
    loaded = open_image(encoded(picture(), kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(np.asarray(loaded.image), np.asarray(picture()))
    assert loaded.facts["format"] == kind and loaded.notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "AVIF"])
def test_lossy_formats_read_as_plain_pillow_reads_them(kind):
    # Leaving metadata out must not change what the decoder sees.
    data = encoded(picture(), kind)
    assert np.array_equal(array(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int))


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {"subsampling": 0}, {"quality": 100}])
def test_jpeg_variants_read_as_plain_pillow_reads_them(options):
    data = encoded(picture(200, 150), "JPEG", comment=b"hello", icc_profile=b"\0" * 70_000, **options)
    assert np.array_equal(array(data), np.asarray(Image.open(io.BytesIO(data))).astype(int))


def test_every_kind_of_source_gives_the_same_picture(tmp_path):
    # A caller may hold a path, bytes, a file, a Pillow image or an array.
    (tmp_path / "a.png").write_bytes(PNG)
    with open(tmp_path / "a.png", "rb") as file:
        file.seek(7)
        sources = [tmp_path / "a.png", str(tmp_path / "a.png"), PNG, bytearray(PNG), memoryview(PNG), io.BytesIO(PNG)]
        sources += [file, picture(), np.asarray(picture())]
        for source in sources:
            assert np.array_equal(array(source), np.asarray(picture())), type(source)


def test_facts_describe_the_file_as_it_was_stored():
    loaded = open_image(JPEG)
    assert loaded.facts.keys() == {"sha256", "format", "mode", "width", "height", "bytes"}
    assert (loaded.facts["width"], loaded.facts["height"], loaded.facts["bytes"]) == (48, 32, len(JPEG))
    assert loaded.data == JPEG and len(loaded.facts["sha256"]) == 64
    assert open_image(picture().convert("L")).facts["mode"] == "L" and open_image(picture()).data is None


def test_the_picture_carries_no_metadata_on():
    # A leftover orientation tag would let a later step turn the picture twice.
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(encoded(picture(), "JPEG", exif=exif, comment=b"x")).image.info == {}


def test_the_name_says_nothing_about_the_format(tmp_path):
    # Formats are told by content: a PNG called .jpg is read, a text called .png is not.
    (tmp_path / "a.jpg").write_bytes(PNG)
    (tmp_path / "b.png").write_bytes(b"just words")
    assert open_image(tmp_path / "a.jpg").facts["format"] == "PNG"
    with pytest.raises(UnsupportedFormat):
        open_image(tmp_path / "b.png")


# --- orientation and frames ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", STORED_AS)
def test_every_exif_orientation_comes_out_upright(kind, orientation):
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](np.asarray(picture()))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = open_image(encoded(stored, kind, exif=exif, quality=95))
    assert loaded.image.size == picture().size == (loaded.facts["width"], loaded.facts["height"])
    assert np.abs(np.asarray(loaded.image).astype(int) - np.asarray(picture())).mean() < 6


def test_pillow_images_are_turned_upright_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(Image.open(io.BytesIO(encoded(picture(), "JPEG", exif=exif)))).image.size == (32, 48)


def test_broken_exif_does_not_cost_the_picture():
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 400):
        assert open_image(encoded(picture(), "JPEG", exif=exif)).image.size == (48, 32)


def test_orientation_in_xmp_counts_where_exif_says_nothing():
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    for data in (encoded(picture(), "PNG", pnginfo=info), encoded(picture(), "JPEG", xmp=xmp)):
        assert open_image(data).image.size == (32, 48)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_read_with_a_note(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    loaded = open_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50))
    assert np.abs(np.asarray(loaded.image).astype(int) - (255, 0, 0)).max() < 6
    assert loaded.notes == ("Animated: only the first frame was read.",)


def test_the_first_picture_of_mpo_and_tiff_is_read_with_a_note():
    for kind in ("MPO", "TIFF"):
        loaded = open_image(encoded(picture(), kind, save_all=True, append_images=[picture().rotate(180)]))
        assert loaded.facts["format"] == kind
        assert loaded.notes == ("Several pictures in one file: only the first was read.",)
        assert np.abs(np.asarray(loaded.image).astype(int) - np.asarray(picture())).mean() < 6


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_walked_in_sorted_order_without_hidden_files(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.webp", "sub/d.txt", ".hidden.png", ".git/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    result = [path.relative_to(tmp_path).as_posix() for path in iter_image_files(tmp_path)]
    assert result == ["a.jpg", "b.PNG", "sub/c.webp"]
    assert list(iter_image_files(tmp_path / "sub" / "d.txt")) == [tmp_path / "sub" / "d.txt"]
    with pytest.raises(NotFound):
        iter_image_files(tmp_path / "none")


# --- the shared folder of bad images ---------------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.shared
@needs_shared
def test_every_known_bad_image_is_read_or_refused_within_its_budget():
    # In a process of its own: a crash of a C decoder would show, and the peak memory is its own.
    script = (
        "import sys, time, types, resource, pathlib\n"
        "package = types.ModuleType('fakedet')\n"  # without the package's own imports, which load torch
        "package.__path__ = [sys.argv[2]]\n"
        "sys.modules['fakedet'] = package\n"
        "from fakedet.images import ImageError, open_image\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sorted(p for p in pathlib.Path(sys.argv[1]).rglob('*') if p.is_file()):\n"
        "    start = time.process_time()\n"
        "    try: open_image(path)\n"
        "    except ImageError as error: assert str(error).startswith(path.name[:70]), error\n"
        "    assert time.process_time() - start < 5, path.name\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base < 2**20\n"
    )
    package = Path(__file__).parents[1] / "fakedet"
    command = [sys.executable, "-c", script, str(SHARED), str(package)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.shared
@needs_shared
@pytest.mark.parametrize("pattern", ["hopper_orientation_*.jpg", "hopper_orientation_*.webp", "g4_orientation_*.tif"])
def test_known_orientations_of_one_photo_look_the_same(pattern):
    views = [array(path) for path in sorted((SHARED / "pillow").glob(pattern))]
    assert len(views) >= 7 and len({view.shape for view in views}) == 1
    for view in views:
        assert np.abs(view - views[0]).mean() < 6  # recompressed copies; a wrong turn gives 45 and more
