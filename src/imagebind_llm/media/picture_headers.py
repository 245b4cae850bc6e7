"""What a picture file says of itself before it is decoded: whether decoding it stays within the limits.

Pixels alone do not tell it. A JPEG of 600 kB can hold thousands of passes over its pixels, a TIFF of
16 × 16 pixels a tile of gigabytes, a directory of tags can name the same bytes thousands of times, and some
formats are decoded by Pillow byte by byte in Python.
"""

import re
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.base import Limits

_MOST_CHUNKS = 100_000
"""Chunks of a PNG (of 100 Mpx in chunks of 8 KiB, as libpng writes them, it has 40,000), segments of a
JPEG."""
_MOST_PASSES = 12
"""Passes over each pixel of the largest picture, or as much work on a smaller one; libjpeg's progressive
files have 10 for colour."""
_SLOW_BYTES = 4 * 1024 * 1024
"""Of formats that are decoded in Python, some 0.2 µs a byte."""


def check_picture(data: bytes, name: str, limits: Limits) -> int:
    """Refuse what would take long, or much memory, although it has few pixels.

    Returns:
        Bytes that decoding takes in addition to the pixels.

    Raises:
        MediaError: that.
    """
    if data.startswith(b"\x89PNG"):
        _check_png(data, name)
    elif data.startswith(b"\xff\xd8"):
        return _check_jpeg(data, name, limits)
    elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _check_tiff(data, name)
    elif data.startswith(b"BM") and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0"):
        _check_slow(len(data), name, "run-length coded BMP")
        width, height = struct.unpack("<ii", data[18:26])
        return 2 * abs(width * height)
    elif re.match(rb"P[1-6f]\s", data):
        _check_ppm(data, name)
    return 0


def check_tags(data: bytes, name: str) -> "dict[int, Tag]":
    """The entries of the first directory of a TIFF, or of an EXIF block.

    Raises:
        MediaError: they name more bytes than there are, so that reading them would multiply the file.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return {}
    big = 43 in data[2:4]
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    head, layout = (8, "HHQ8s") if big else (2, "HHI4s")
    if start + head > len(data):
        return {}
    count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    each = struct.calcsize(order + layout)
    body = data[start + head : start + head + min(count, 1 << 16) * each]
    tags, named = {}, 0
    for number, kind, values, place in struct.iter_unpack(order + layout, body[: len(body) // each * each]):
        size = values * _SIZES.get(kind, 0)
        named += size
        away = size > len(place)
        where = struct.unpack(order + ("Q" if big else "I"), place)[0] if away else place
        tags[number] = Tag(kind, values, where, order)
    if named > len(data) or count > 1 << 16:
        raise MediaError(
            name, f"{count} tags of {named} bytes in {len(data)}", "tags that are there", "save it anew"
        )
    return tags


class Tag(NamedTuple):
    """One entry of a directory: its type, number of values, and them or where they are."""

    kind: int
    values: int
    place: bytes | int
    order: str

    def numbers(self, data: bytes) -> NDArray[Any]:
        """Its values, if they are whole numbers and there."""
        dtype = np.dtype(self.order + _WHOLE.get(self.kind, "V0"))
        raw, start = (self.place, 0) if isinstance(self.place, bytes) else (data, self.place)
        if dtype.itemsize == 0 or start + self.values * dtype.itemsize > len(raw):
            return np.zeros(0, np.int64)
        return np.frombuffer(raw, dtype, self.values, start)


_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Bytes of a value of each of TIFF's types."""
_WHOLE = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _PLANAR = 256, 257, 258, 259, 277, 284
_ROWS, _TILE_WIDTH, _TILE_HEIGHT = 278, 322, 323
_PARTS, _PART_SIZES = ((273, 324), (279, 325))
"""Offsets and byte counts, of strips and of tiles."""
_LZMA = 34925
_MOST_VALUES = 1 << 20
"""Of a tag that is no list of strips or tiles; a colour map of 16 bits has 196,608."""


def _check_tiff(data: bytes, name: str) -> int:
    """Bytes of a strip or tile, all of which must be there."""
    tags = check_tags(data, name)

    def number(tag: int, default: int) -> int:
        values = tags[tag].numbers(data)[:1].tolist() if tag in tags else []
        return int(values[0]) if values else default

    width, height, samples = number(_WIDTH, 0), number(_HEIGHT, 0), number(_SAMPLES, 1)
    if min(width, height, samples) < 1:
        return 0  # Pillow says what is wrong
    tiled = _PARTS[1] in tags
    across = number(_TILE_WIDTH, width) if tiled else width
    down = number(_TILE_HEIGHT, height) if tiled else min(number(_ROWS, height), height)
    across, down = across or width, down or height
    planes = samples if number(_PLANAR, 1) == 2 else 1
    parts = planes * -(-width // across) * -(-height // down)
    for tag, entry in tags.items():
        most = parts if tag in _PARTS + _PART_SIZES else _MOST_VALUES
        if entry.values > most and entry.kind in _WHOLE:
            raise MediaError(name, f"tag {tag} with {entry.values} values", "fewer", "save it anew")
    what = "tiles" if tiled else "strips"
    for kinds in (_PARTS, _PART_SIZES):
        if kinds[int(tiled)] in tags:
            found = int(np.count_nonzero(tags[kinds[int(tiled)]].numbers(data)))
            if found < parts:
                raise MediaError(name, f"{found} of {parts} {what}", "all of them", "copy or save it anew")
    if number(_COMPRESSION, 1) == _LZMA:
        raise MediaError(name, "LZMA compression", "LZW or Deflate", "save it with one of these")
    return across * down * (samples // planes) * max(number(_BITS, 1), 8) // 8


def _check_png(data: bytes, name: str) -> None:
    place, count = 8, 0
    while place + 8 <= len(data) and count <= _MOST_CHUNKS:
        place += 12 + int.from_bytes(data[place : place + 4], "big")
        count += 1
    if count > _MOST_CHUNKS:
        raise MediaError(name, f"over {_MOST_CHUNKS} chunks", "fewer", "save it anew")


_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header; those left out are tables."""
_SCAN, _END, _EXIF, _EMPTY = 0xDA, 0xD9, 0xE1, (0x01, 0xD8)
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)


def _check_jpeg(data: bytes, name: str, limits: Limits) -> int:
    """Bytes of the coefficients, which are kept where a picture comes in several scans."""
    place, segments, scans, work, pixels, components = 2, 0, 0, 0, 0, 0
    progressive, exif = False, []
    while found := _MARKER.search(data, place):
        kind, place, segments = found[1][0], found.end(), segments + 1
        if segments > _MOST_CHUNKS or len(found[0]) > _MOST_CHUNKS:
            raise MediaError(name, f"over {_MOST_CHUNKS} segments", "fewer", "save it anew")
        if kind == _END:
            break
        if kind in _EMPTY:
            continue
        body = place + 2
        if kind in _FRAMES:
            height, width, components = struct.unpack(">HHB", data[body + 1 : body + 6].ljust(5, b"\0"))
            pixels, progressive = height * width, kind in _PROGRESSIVE
        elif kind == _SCAN:
            scans += 1
            work += pixels * min(data[body] if body < len(data) else 1, components)
        place += max(int.from_bytes(data[place:body], "big"), 2)
        if kind == _EXIF and data[body : body + 6] == b"Exif\0\0":
            exif.append(data[body + 6 : place])
    check_tags(b"".join(exif), name)
    if work > _MOST_PASSES * limits.max_pixels:
        raise MediaError(
            name,
            f"{scans} scans over {pixels} pixels",
            f"scans over {_MOST_PASSES * limits.max_pixels} in all",
            "save it as a baseline JPEG",
        )
    return 2 * components * pixels if progressive or scans > 1 else 0


def _check_ppm(data: bytes, name: str) -> None:
    head = re.match(
        rb"P([1-6f])(?:\s|#[^\r\n]*[\r\n])+\S+\s(?:\s|#[^\r\n]*[\r\n])*\S+\s"
        rb"(?:(?:\s|#[^\r\n]*[\r\n])*(\S+))?",
        data[:4096],
    )
    if head is None:
        raise MediaError(name, "no header in its first 4096 bytes", "a short one", "save it anew")
    if head[1] in b"123":
        _check_slow(len(data), name, "PPM written as text")
    elif head[1] in b"56" and head[2] not in (b"255", b"65535"):
        _check_slow(len(data), name, f"PPM with {head[2]!r} as its largest value")


def _check_slow(size: int, name: str, what: str) -> None:
    if size > _SLOW_BYTES:
        raise MediaError(name, f"{what} of {size} bytes", f"at most {_SLOW_BYTES}", "convert it to PNG")
