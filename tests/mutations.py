"""Mutations of image files."""

from __future__ import annotations

import random
import struct
import zlib

ODD = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 200, 250, 254, 255)
WIDE = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def place(rng: random.Random, size: int) -> int:
    """Return a position; half of the time in the first 400 bytes, where the headers are."""
    return rng.randrange(min(size, 400) if rng.random() < 0.5 else size)


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Make one to eight changes: bits, bytes, numbers, cuts, insertions, repeated and foreign pieces."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        if not out:
            return bytes(out)
        at, kind = place(rng, len(out)), rng.randrange(11)
        length = min(len(out) - at, rng.choice((1, 2, 4, 8, 16, 64, 256)))
        if kind <= 1:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at] = rng.choice(ODD)
        elif kind == 3:
            out[at] = rng.randrange(256)
        elif kind in (4, 5):
            code = rng.choice("<H >H <I >I".split())
            mask = (1 << 8 * struct.calcsize(code)) - 1
            out[at : at + struct.calcsize(code)] = struct.pack(code, rng.choice(WIDE) & mask)
        elif kind == 6:
            del out[at : at + length]
        elif kind == 7:
            out[at:at] = out[at : at + length] * rng.choice((1, 1, 2, 20))
        elif kind == 8:
            out[at:at] = bytes(rng.randrange(256) for _ in range(length))
        elif kind == 9:
            other = rng.choice(others)
            start = place(rng, len(other))
            out[at : at + length] = other[start : start + length]
        elif rng.random() < 0.4:
            del out[at:]
    return bytes(out)


def mend_png(data: bytes, rng: random.Random, unpack: bool) -> bytes:
    """Restore the checksums of a PNG, so that code behind them is reached; `unpack` also mutates unpacked data."""
    at, parts = 8, [data[:8]]
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if at + 12 + length > len(data):
            break
        if unpack and name in (b"IDAT", b"zTXt", b"fdAT"):
            head, packed = (
                (b"", body) if name == b"IDAT" else (body[: body.find(b"\0") + 2], body[body.find(b"\0") + 2 :])
            )
            try:
                plain = zlib.decompressobj().decompress(packed, 1 << 20)
                body = head + zlib.compress(mutate(plain, [plain or b"\0"], rng), 1)
            except zlib.error:
                pass
        parts += [struct.pack(">I", len(body)), name, body, struct.pack(">I", zlib.crc32(name + body))]
        at += 12 + length
    return b"".join(parts) + data[at:]


def next_input(seeds: list[bytes], rng: random.Random) -> bytes:
    """Return a mutated seed."""
    data = mutate(rng.choice(seeds), seeds, rng)
    if data[:4] == b"\x89PNG" and rng.random() < 0.8:
        data = mend_png(data, rng, rng.random() < 0.3)
    return data
