"""What a stranger's picture turns into: pixels as stored and upright, or a typed sentence. All files are made here."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from fakedet.images import (
    CorruptImage,
    EmptyInput,
    ImageError,
    Limits,
    NotFound,
    TooManyBytes,
    TooManyPixels,
    UnsupportedFormat,
    iter_image_files,
    open_image,
)

SHARED = Path(os.environ.get("FAKEDET_SHARED") or Path(__file__).parents[2] / "shared") / "data" / "bad_images"


def picture(width: int = 48, height: int = 32) -> Image.Image:
    """A smooth picture without symmetry, so that every turn of it looks different and JPEG keeps it."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) * 2], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def array(source, **options) -> np.ndarray:
    return np.asarray(open_image(source, **options).image).astype(int)


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


JPEG, PNG = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
GIF = encoded(picture().quantize(8), "GIF")
GIF_HEAD = 13 + (3 << ((GIF[10] & 7) + 1))  # end of the colour table


# --- what is read --------------------------------------------------------------------------------------------------


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


# --- modes ---------------------------------------------------------------------------------------------------------


def test_transparency_is_put_on_white():
    rgba = picture().convert("RGBA")
    rgba.paste((200, 10, 10, 0), (0, 0, 24, 32))
    loaded = open_image(encoded(rgba, "PNG"))
    pixels = np.asarray(loaded.image)
    assert (pixels[:, :24] == 255).all() and np.array_equal(pixels[:, 24:], np.asarray(picture())[:, 24:])
    assert "Transparent parts were put on white." in loaded.notes


def test_opaque_alpha_changes_nothing_and_is_not_mentioned():
    loaded = open_image(encoded(picture().convert("RGBA"), "PNG"))
    assert np.array_equal(np.asarray(loaded.image), np.asarray(picture())) and loaded.notes == ()


@pytest.mark.parametrize("mode", ["LA", "P", "L", "1", "RGB"])
def test_transparent_colours_of_every_png_mode_become_white(mode):
    image = Image.new("L", (8, 8), 0).convert(mode)
    data = encoded(image, "PNG", **({} if mode == "LA" else {"transparency": (0, 0, 0) if mode == "RGB" else 0}))
    if mode == "LA":
        image.putalpha(0)
        data = encoded(image, "PNG")
    assert (array(data) == 255).all()


def test_sixteen_bit_colour_key_is_compared_at_eight_bits():
    # Pillow keeps the key at 16 bits beside 8-bit pixels; taken as it is, it would never match.
    rows = b"".join(b"\0" + struct.pack(">3H", 0x8080, 0x4040, 0x2020) * 4 for _ in range(4))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    key = chunk(b"tRNS", struct.pack(">3H", 0x8080, 0x4040, 0x2020))
    data = PNG[:8] + head + key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")
    assert (array(data) == 255).all()


def test_sixteen_bit_grey_is_scaled_not_clipped():
    # Plain convert("L") turns everything above 255 white.
    ramp = np.linspace(0, 65535, 48 * 32).astype(np.uint16).reshape(32, 48)
    for source in (encoded(Image.fromarray(ramp), "PNG"), encoded(Image.fromarray(ramp), "TIFF"), ramp):
        assert np.array_equal(array(source)[:, :, 0], ramp // 256)


def test_whole_numbers_of_32_bits_are_scaled_by_what_they_hold():
    for top, factor in ((255, 1), (65535, 256)):
        values = np.linspace(0, top, 64).astype(np.int32).reshape(8, 8)
        assert np.array_equal(array(encoded(Image.fromarray(values), "TIFF"))[:, :, 0], values // factor)
    wide = array(np.array([[-1000, 0], [1000, 2_000_000]], np.int64))
    assert wide.min() == 0 and wide.max() == 255


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_floats_are_scaled_by_what_they_hold(top):
    values = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
    grey = array(encoded(Image.fromarray(values), "TIFF"))[:, :, 0]
    assert np.abs(grey - values / top * 255).max() <= 1


def test_numbers_that_are_not_finite_do_not_spoil_the_rest():
    values = np.full((8, 8), 0.5, np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    assert (array(values)[1:] == 128).all()
    with pytest.raises(CorruptImage):
        open_image(np.full((8, 8), np.nan))


def test_arrays_of_every_layout_are_read():
    rgb = np.asarray(picture())
    assert np.array_equal(array(rgb / 255.0), rgb)
    assert np.array_equal(array(rgb.astype(np.uint16) * 257), rgb)
    assert array(rgb[:, :, :1]).shape == (32, 48, 3) and array(np.ones((4, 5), bool)).max() == 255
    clear = np.dstack([rgb, np.zeros((32, 48), np.uint8)])
    assert (array(clear) == 255).all() and (array(clear[:, :, 2:]) == 255).all()


@pytest.mark.parametrize("shape", [(4,), (3, 8, 8), (8, 8, 5), (1, 8, 8, 3)])
def test_arrays_that_are_no_picture_are_refused_with_the_shape_to_use(shape):
    with pytest.raises(UnsupportedFormat, match=r"\(H, W"):
        open_image(np.zeros(shape, np.uint8))


def test_cmyk_is_read_and_mentioned():
    loaded = open_image(encoded(picture().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(np.asarray(loaded.image).astype(int) - np.asarray(picture())).mean() < 5
    assert any("CMYK" in note for note in loaded.notes)


def test_one_bit_and_lab_are_read():
    assert set(np.unique(array(encoded(picture().convert("1"), "TIFF", compression="group4")))) == {0, 255}
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    stored = ImageCms.profileToProfile(picture(), srgb, lab, outputMode="LAB")
    assert np.abs(array(encoded(stored, "TIFF")) - np.asarray(picture())).mean() < 6


@pytest.mark.parametrize(
    "profile", [b"not a profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()]
)
def test_a_wrong_colour_profile_neither_fails_nor_changes_pixels(profile):
    assert np.array_equal(array(encoded(picture(), "PNG", icc_profile=profile)), np.asarray(picture()))


def test_large_pictures_are_joined_from_strips_without_a_seam():
    # Conversion goes in strips of 4 megapixels; this one has two.
    tall = Image.fromarray(np.arange(2100 * 2000, dtype=np.uint32).reshape(2100, 2000).astype(np.uint8))
    assert np.array_equal(np.asarray(open_image(tall).image)[:, :, 1], np.asarray(tall))


# --- orientation and frames ----------------------------------------------------------------------------------------

STORED_AS = {  # how an upright picture has to be stored for its tag to bring it back (EXIF 2.3, tag 0x0112)
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],
}


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


# --- refusals ------------------------------------------------------------------------------------------------------


def test_the_hierarchy_has_stable_codes_and_statuses():
    # REST, CLI and page map these to their own words.
    known = {cls.code: cls.status for cls in ImageError.__subclasses__()}
    assert known == {
        "empty_input": 400,
        "not_found": 404,
        "too_many_bytes": 413,
        "too_many_pixels": 413,
        "unsupported_format": 415,
        "corrupt_image": 422,
    }
    copy = pickle.loads(pickle.dumps(CorruptImage("x is damaged.")))  # it has to cross process boundaries
    assert (str(copy), copy.code, isinstance(copy, ValueError)) == ("x is damaged.", "corrupt_image", True)


def refusal(source, **options) -> ImageError:
    with pytest.raises(ImageError) as caught:
        open_image(source, **options)
    return caught.value


def test_what_is_no_file_is_refused_by_type(tmp_path):
    (tmp_path / "empty.png").touch()
    assert isinstance(refusal(tmp_path / "empty.png"), EmptyInput) and isinstance(refusal(b""), EmptyInput)
    assert isinstance(refusal(io.BytesIO()), EmptyInput) and isinstance(refusal(np.zeros((0, 4))), EmptyInput)
    assert isinstance(refusal(tmp_path / "none.png"), NotFound) and isinstance(refusal("a\0b"), NotFound)
    assert isinstance(refusal("x" * 5000), NotFound) and isinstance(refusal("https://example.org/a.png"), NotFound)
    assert isinstance(refusal(tmp_path), UnsupportedFormat)
    for thing in (None, 7, object(), io.StringIO("text"), [PNG]):
        assert isinstance(refusal(thing), UnsupportedFormat), thing


def test_a_pipe_is_refused_at_once(tmp_path):
    # Opening it would wait for a writer for ever.
    os.mkfifo(tmp_path / "pipe.png")
    assert isinstance(refusal(tmp_path / "pipe.png"), UnsupportedFormat)


def test_a_file_object_that_fails_is_a_typed_refusal():
    class Broken:
        def read(self, size=-1):
            raise RuntimeError("/secret/place")

    assert isinstance(refusal(Broken()), NotFound) and "secret" not in str(refusal(Broken()))


def test_refusals_are_one_sentence_without_a_server_path(tmp_path):
    folder = tmp_path / "private" / "upload-83"
    folder.mkdir(parents=True)
    files = {"cut.png": PNG[:90], "cut.jpg": JPEG[:400], "words.txt": b"hello", "none": None, "empty.gif": b""}
    files |= {
        "flip.png": PNG[:60] + b"\xff" + PNG[61:],
        "big.bmp": b"BM" + b"\xff" * 80,
        "t.tif": b"II*\0" + b"\xff" * 9,
    }
    for name, data in files.items():
        if data is not None:
            (folder / name).write_bytes(data)
        for source in (folder / name, f"{folder}\\{name}"):
            text = str(refusal(source))
            assert text.startswith(name) and text.endswith(".") and "\n" not in text
            assert "private" not in text and "upload-83" not in text and "/" not in text.replace(name, "")
    with open(folder / "cut.png", "rb") as file:
        assert str(refusal(file)).startswith("cut.png ")


def test_a_strangers_file_name_cannot_break_the_line():
    text = str(refusal("evil\n\x1b[31m" + "x" * 300))
    assert "\n" not in text and "\x1b" not in text and len(text) < 120


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_a_cut_file_is_refused_even_where_a_library_allowed_cut_files(kind, monkeypatch):
    # verify() passes a cut JPEG, and LOAD_TRUNCATED_IMAGES would grey the rest; a score on that would mean nothing.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(picture(300, 200), kind)
    for part in (0.2, 0.6, 0.9):
        assert isinstance(refusal(data[: int(len(data) * part)]), CorruptImage)


def test_a_cut_picture_is_told_from_a_damaged_one():
    assert "cut short" in str(refusal(JPEG[: len(JPEG) * 2 // 3]))
    assert "damaged" in str(refusal(PNG[:45] + b"\0\0\0\0" + PNG[49:]))


@pytest.mark.parametrize(
    "raised", [OSError("/secret/x"), SyntaxError, ValueError, struct.error, MemoryError, OverflowError]
)
@pytest.mark.parametrize("more", [zlib.error, KeyError, IndexError, TypeError, AttributeError, SystemError, EOFError])
def test_whatever_a_decoder_raises_is_a_corrupt_image(monkeypatch, raised, more):
    def explode(self, *args):
        raise raised

    def explode_too(*args, **kwargs):
        raise more

    with monkeypatch.context() as patch:
        patch.setattr(PngImagePlugin.PngImageFile, "load_prepare", explode)
        assert isinstance(refusal(PNG), CorruptImage) and "/secret" not in str(refusal(PNG))
        patch.setattr(Image, "open", explode_too)
        assert isinstance(refusal(PNG), CorruptImage)


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7\n%abc",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\xc5\xd0\xd3\xc6" + b"\0" * 60,
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'\n <?xml version="1.0"?><svg/>',
        b"<!DOCTYPE html><html></html>",
        b"8BPS\0\1" + b"\0" * 60,
        encoded(picture(), "ICO"),
        encoded(picture(), "PPM"),
        encoded(picture(), "JPEG2000"),
        encoded(picture(), "TGA"),
        b"\0" * 1000,
        b"PK\3\4" + b"\0" * 100,
    ],
)
def test_formats_that_are_not_on_the_list_are_refused(data):
    assert isinstance(refusal(data), UnsupportedFormat)


def test_an_unloaded_postscript_image_is_not_loaded_either():
    # Pillow would run Ghostscript on it.
    eps = Image.open(io.BytesIO(encoded(picture(), "EPS")))
    assert isinstance(refusal(eps), UnsupportedFormat)


def heic(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + b"\0" * 100


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_without_pillow_heif_a_heic_says_what_to_install(monkeypatch, brand):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    error = refusal(heic(brand))
    assert isinstance(error, UnsupportedFormat) and "pip install pillow-heif" in str(error)


def test_heic_is_read_where_pillow_heif_is_installed():
    pytest.importorskip("pillow_heif", reason="the optional package pillow-heif is not installed")
    assert isinstance(refusal(heic(b"heic")), CorruptImage)  # registers the reader
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = picture(128, 64).transpose(Image.Transpose.ROTATE_90)
    loaded = open_image(encoded(stored, "HEIF", quality=95, exif=exif.tobytes()))
    assert loaded.facts["format"] == "HEIF" and loaded.image.size == (128, 64)
    assert np.abs(np.asarray(loaded.image).astype(int) - np.asarray(picture(128, 64))).mean() < 6


# --- limits --------------------------------------------------------------------------------------------------------


def test_the_byte_cap_holds_for_every_source_before_decoding(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    for source in (PNG, io.BytesIO(PNG), tmp_path / "a.png"):
        assert isinstance(refusal(source, limits=Limits(max_bytes=len(PNG) - 1)), TooManyBytes)
        open_image(source, Limits(max_bytes=len(PNG)))


def test_an_endless_stream_is_read_no_further_than_the_cap():
    class Endless:
        given = 0

        def read(self, size=-1):
            self.given += size
            return b"\0" * size

    stream = Endless()
    assert isinstance(refusal(stream, limits=Limits(max_bytes=3_000_000)), TooManyBytes)
    assert stream.given == 3_000_001


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("limits", [Limits(max_pixels=48 * 32 - 1), Limits(max_side=47)])
def test_pixel_and_side_ceilings_are_checked_before_pixels_are_decoded(kind, limits, monkeypatch):
    data = encoded(picture(), kind)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded before the check"))
    assert isinstance(refusal(data, limits=limits), TooManyPixels)


def test_the_ceilings_hold_for_pillow_images_and_arrays():
    for source in (picture(), np.asarray(picture())):
        assert isinstance(refusal(source, limits=Limits(max_pixels=100)), TooManyPixels)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pillows_bomb_warning_is_an_error_here(monkeypatch):
    # Own limits may be raised by a caller; Pillow's ceiling then still refuses instead of warning.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert isinstance(refusal(PNG), TooManyPixels) and isinstance(refusal(encoded(picture(), "TIFF")), TooManyPixels)


def png_of(width: int, height: int, *extra: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return PNG[:8] + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND")


def overlapping_tiff() -> bytes:
    entries = b"".join(struct.pack("<HHII", 300 + i, 7, 1 << 20, 8) for i in range(3000))
    return b"II*\0" + struct.pack("<I", 8 + (1 << 20)) + bytes(1 << 20) + struct.pack("<H", 3000) + entries + bytes(4)


def endless_jpeg() -> bytes:
    data = encoded(Image.new("RGB", (4000, 4000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 3000 + b"\xff\xd9"


def rle_bmp() -> bytes:
    head = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 1078) + struct.pack(
        "<IIIHH6I", 40, 8000, 8000, 1, 8, 1, 0, 0, 0, 256, 0
    )
    return head + bytes(1024) + b"\1\1\0\0" * 8000


BOMBS = {  # each cost Pillow alone from seconds to minutes, or gigabytes
    "PNG header of 10 gigapixels": lambda: png_of(100_000, 100_000),
    "PNG animation over 10 gigapixels": lambda: png_of(
        100_000, 100_000, chunk(b"acTL", bytes([0, 0, 0, 2, 0, 0, 0, 0])), chunk(b"fcTL", bytes(24) + b"\1\0")
    ),
    "PNG of a million empty chunks": lambda: PNG[:33] + chunk(b"abCd") * 1_000_000 + PNG[33:],
    "JPEG of a million empty segments": lambda: JPEG[:2] + b"\xff\xe5\0\2" * 1_000_000 + JPEG[2:],
    "JPEG of 3000 scans": endless_jpeg,
    "GIF of a million tiny blocks": lambda: GIF[:GIF_HEAD] + b"!\xfe" + b"\1a" * 1_000_000 + b"\0" + GIF[GIF_HEAD:],
    "TIFF of 3000 tags over one megabyte": overlapping_tiff,
    "WebP canvas of 268 megapixels": lambda: (
        b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xfe\x3f\0\xfe\x3f\0" + bytes(50)
    ),
    "WebP whose decoder would take over a gigabyte": lambda: (
        b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x3f\x1f\0\x3f\x1f\0" + bytes(50)
    ),
    "AVIF full of tag blocks": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"II*\0\x08\0\0\0\0\0" * 100_000,
    "BMP with run lengths": rle_bmp,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_quickly(name):
    data = BOMBS[name]()
    start = time.process_time()
    assert isinstance(refusal(data), CorruptImage | TooManyPixels)
    assert time.process_time() - start < 2


def test_text_bombs_are_dropped_and_the_picture_read():
    # Text is not needed for pixels, so a picture with megabytes of it is answered, not refused.
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(20 << 20))) * 20
    profile = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(20 << 20)))
    comment = b"!\xfe" + (b"\xff" + b"a" * 255) * 30_000 + b"\0"
    start = time.process_time()
    assert np.array_equal(array(PNG[:33] + text + profile + PNG[33:]), np.asarray(picture()))
    assert open_image(GIF[:GIF_HEAD] + comment + GIF[GIF_HEAD:]).image.size == (48, 32)
    assert time.process_time() - start < 2


def test_mutated_files_are_read_or_refused_by_type():
    # The same in small as the long fuzz run: any byte may be wrong anywhere.
    rng = np.random.default_rng(0)
    kinds = {"JPEG": {}, "PNG": {}, "GIF": {}, "WEBP": {}, "BMP": {}, "TIFF": {"compression": "tiff_lzw"}, "AVIF": {}}
    for kind, options in kinds.items():
        whole = encoded(picture(), kind, **options)
        for _ in range(60):
            data = bytearray(whole)
            for at in rng.integers(0, min(len(data), 400), rng.integers(1, 6)):
                data[at] = rng.integers(256)
            try:
                open_image(bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data))
            except ImageError as error:
                assert str(error).endswith(".")


def test_many_threads_get_what_one_gets():
    # Servers decode in threads; nothing here may lean on global warning filters.
    results, jobs = [], [JPEG, PNG, GIF, PNG[:90], b"no"] * 8

    def work(data: bytes) -> None:
        try:
            results.append((data, open_image(data).image.tobytes()))
        except ImageError as error:
            results.append((data, error.code))

    threads = [threading.Thread(target=work, args=(data,)) for data in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40 and len(set(results)) == 5


# --- folders -------------------------------------------------------------------------------------------------------


def test_a_folder_is_walked_in_sorted_order_without_hidden_files(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.webp", "sub/d.txt", ".hidden.png", ".git/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = [path.relative_to(tmp_path).as_posix() for path in iter_image_files(tmp_path)]
    assert found == ["a.jpg", "b.PNG", "sub/c.webp"]
    assert list(iter_image_files(tmp_path / "sub" / "d.txt")) == [tmp_path / "sub" / "d.txt"]
    with pytest.raises(NotFound):
        iter_image_files(tmp_path / "none")


# --- the shared folder of bad images -------------------------------------------------------------------------------

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of bad images (FAKEDET_SHARED) is not here")


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
