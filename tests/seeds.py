"""Small valid pictures of every format and mode, made in code, for the fuzzer, the soak and the API tests.

`python tests/seeds.py FOLDER` writes them all.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

XMP = (
    b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmp:CreatorTool="GIMP" tiff:Orientation="6" '
    b'e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"/></rdf:RDF></x:xmpmeta>'
)
A1111 = "a red fox, forest\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Model: sd15"
COMFY = (
    '{"3": {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 20, "positive": ["6", 0]}},'
    ' "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox"}}}'
)


def picture(width: int = 40, height: int = 24) -> Image.Image:
    """A smooth picture with a little noise."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(3).integers(0, 12, (height, width))
    return Image.fromarray(np.stack([x * 6, y * 9, (x + y) * 3 + noise], axis=-1).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file of Pillow's format `kind`."""
    buffer = io.BytesIO()
    options = {**options, "append_images": [frame.copy() for frame in options.get("append_images", ())]}
    image.copy().save(
        buffer, kind, **options
    )  # copies, because Pillow leaves encoder settings on the image that it saves
    return buffer.getvalue()


def camera_exif(orientation: int = 6) -> Image.Exif:
    """Return EXIF as a camera writes it: maker, exposure, a place, a comment."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x0131] = "Maker", "Model 1", orientation, "firmware 1.0"
    detail, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    detail[0x829A], detail[0x829D], detail[0x8827] = (1, 125), (28, 10), 200
    detail[0x9286], detail[0x927C] = b"UNICODE\0" + "words".encode("utf-16-be"), b"maker note " * 9
    place[1], place[2] = "N", (48.0, 8.0, 1.0)
    return exif


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def interlaced_png() -> bytes:
    """8 x 8 grey, Adam7, which Pillow reads but does not write."""
    passes = [(1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4)]  # width and height of each pass
    rows = b"".join((b"\0" + bytes(range(w))) * h for w, h in passes)
    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")


def iptc_segment() -> bytes:
    """A Photoshop segment with an IPTC credit."""
    record = b"\x1c\x02\x6e" + struct.pack(">H", 6) + b"credit"
    block = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record
    return b"\xff\xed" + struct.pack(">H", len(block) + 2) + block


def bmp_rle() -> bytes:
    """8 x 4 pixels, 8 bits, run lengths."""
    rows = b"\x08\x01\0\0" * 3 + b"\x04\x02\x04\x03\0\1"
    head = struct.pack("<IIIHH6I", 40, 8, 4, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return struct.pack("<2sIHHI", b"BM", 0, 0, 0, 1078) + head + bytes(range(256)) * 4 + rows


Recipe = tuple[Image.Image, str, dict[str, Any]]  # picture, Pillow's format, options of `save`


def seeds() -> dict[str, bytes]:
    """Return files by name. A format that this Pillow cannot write is left out."""
    rgb = picture()
    grey, rgba = rgb.convert("L"), rgb.convert("RGBA")
    rgba.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    files = {"interlaced.png": interlaced_png(), "rle.bmp": bmp_rle()}
    for name, (image, kind, options) in (
        _common(rgb, rgba, deep) | _tiffs(rgb, rgba, deep) | _avifs(rgb, rgba)
    ).items():
        try:
            files[name] = encoded(image, kind, **options)
        except (KeyError, OSError):
            continue
    jpeg = files["baseline.jpg"]
    files["iptc.jpg"] = jpeg[:2] + iptc_segment() + jpeg[2:]
    return files | _heif(rgb, rgba)


def _several() -> dict[str, Any]:
    """Return the options of a file of three pictures."""
    return {"save_all": True, "append_images": [picture().rotate(90 * turn) for turn in (1, 2)]}


def _common(rgb: Image.Image, rgba: Image.Image, deep: Image.Image) -> dict[str, Recipe]:
    grey, palette, exif, many = rgb.convert("L"), rgb.quantize(16), camera_exif(), _several()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", A1111)
    texts.add_text("prompt", COMFY, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    return {
        "baseline.jpg": (rgb, "JPEG", {"exif": exif, "comment": b"hello"}),
        "progressive.jpg": (rgb, "JPEG", {"progressive": True, "subsampling": 0, "xmp": XMP}),
        "grey.jpg": (grey, "JPEG", {"restart_marker_blocks": 2}),
        "cmyk.jpg": (rgb.convert("CMYK"), "JPEG", {"icc_profile": b"\0" * 200}),
        "two.mpo": (rgb, "MPO", many),
        "rgb.png": (rgb, "PNG", {"pnginfo": texts, "exif": exif}),
        "rgba.png": (rgba, "PNG", {}),
        "palette.png": (palette, "PNG", {"transparency": bytes(range(16))}),
        "bits.png": (rgb.convert("1"), "PNG", {"transparency": 0}),
        "grey_alpha.png": (rgba.convert("LA"), "PNG", {}),
        "deep.png": (deep, "PNG", {"transparency": 7}),
        "animated.png": (rgb, "PNG", many | {"duration": 40}),
        "animated.gif": (palette, "GIF", many | {"comment": b"hello"}),
        "interlaced.gif": (palette, "GIF", {"interlace": 1, "transparency": 3}),
        "lossy.webp": (rgb, "WEBP", {"exif": exif, "xmp": XMP}),
        "lossless.webp": (rgba, "WEBP", {"lossless": True}),
        "alpha.webp": (rgba, "WEBP", {"quality": 50}),
        "animated.webp": (rgb, "WEBP", many | {"duration": 40}),
        "rgb.bmp": (rgb, "BMP", {}),
        "palette.bmp": (palette, "BMP", {}),
        "bits.bmp": (rgb.convert("1"), "BMP", {}),
        "rgba.bmp": (rgba, "BMP", {}),
    }


def _tiffs(rgb: Image.Image, rgba: Image.Image, deep: Image.Image) -> dict[str, Recipe]:
    palette, exif, many = rgb.quantize(16), camera_exif(), _several()
    real = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.float32) / 255)
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(rgb, *profiles, outputMode="LAB")
    return {
        "raw.tif": (rgb, "TIFF", {"exif": exif}),
        "two.tif": (rgb, "TIFF", many),
        "deflate.tif": (rgba, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "packbits.tif": (palette, "TIFF", {"compression": "packbits"}),
        "jpeg.tif": (rgb, "TIFF", {"compression": "jpeg"}),
        "ycbcr.tif": (rgb.convert("YCbCr"), "TIFF", {"compression": "tiff_lzw"}),
        "fax3.tif": (rgb.convert("1"), "TIFF", {"compression": "group3"}),
        "fax4.tif": (rgb.convert("1"), "TIFF", {"compression": "group4"}),
        "deep.tif": (deep, "TIFF", {}),
        "float.tif": (real, "TIFF", {"compression": "tiff_lzw"}),
        "cmyk.tif": (rgb.convert("CMYK"), "TIFF", {}),
        "lab.tif": (lab, "TIFF", {}),
        "big.tif": (rgb, "TIFF", {"big_tiff": True}),
    }


def _avifs(rgb: Image.Image, rgba: Image.Image) -> dict[str, Recipe]:
    exif, many = camera_exif(), _several()
    return {
        "lossy.avif": (rgb, "AVIF", {"exif": exif.tobytes(), "xmp": XMP, "quality": 60}),
        "alpha.avif": (rgba, "AVIF", {"quality": 40}),
        "animated.avif": (rgb, "AVIF", many),
    }


def _heif(rgb: Image.Image, rgba: Image.Image) -> dict[str, bytes]:
    from pillow_heif import from_pillow

    files = {}
    for name, image in (("rgb.heic", rgb), ("rgba.heic", rgba)):
        buffer = io.BytesIO()
        try:
            from_pillow(image).save(buffer, exif=camera_exif().tobytes(), quality=60)
        except (RuntimeError, OSError, ValueError):  # a build without an encoder
            continue
        files[name] = buffer.getvalue()
    return files


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name, data in seeds().items():
        (target / name).write_bytes(data)
    print(f"{len(seeds())} pictures in {target}")
