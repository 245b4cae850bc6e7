"""PCD: every form of data, fields in any order and type, and LZF against what its definition says."""

# ruff: noqa: E501
import struct

import numpy as np
import pytest
from support.media_samples import SMALL

from imagebind_llm.media import Limits, MediaError, load_media
from imagebind_llm.media.lzf import lzf_decompress
from imagebind_llm.media.point import read_shape


def lzf_compress(data: bytes) -> bytes:
    """Greedy, with a table of three-byte pieces; a second implementation, from LibLZF's description."""
    out, waiting, seen, place = bytearray(), bytearray(), {}, 0

    def flush():
        for start in range(0, len(waiting), 32):
            piece = waiting[start : start + 32]
            out.append(len(piece) - 1)
            out.extend(piece)
        waiting.clear()

    while place < len(data):
        key = data[place : place + 3]
        before = seen.get(key, -1)
        seen[key] = place
        length = 0
        if before >= 0 and place - before <= 8192:
            while (
                length < 264 and place + length < len(data) and data[before + length] == data[place + length]
            ):
                length += 1
        if length < 3:
            waiting.append(data[place])
            place += 1
            continue
        flush()
        back, more = place - before - 1, length - 2
        out.append(min(more, 7) << 5 | back >> 8)
        if more >= 7:
            out.append(more - 7)
        out.append(back & 255)
        place += length
    flush()
    return bytes(out)


def test_lzf_by_hand():
    assert lzf_decompress(b"\x02abc", 3) == b"abc"
    assert lzf_decompress(b"\x02abc\x20\x02", 6) == b"abcabc"  # 1 + 2 bytes from 2 + 1 back
    assert lzf_decompress(b"\x00a\xe0\x05\x00", 15) == b"a" * 15  # 7 + 5 + 2 bytes, over itself
    assert lzf_decompress(b"\x01ab\x60\x01\x00c", 8) == b"abababa" + b"c"
    assert lzf_decompress(b"", 0) == b""


@pytest.mark.parametrize("seed", range(6))
def test_lzf_gives_back_what_was_compressed(seed):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 2 + 40 * seed, 20_000, dtype=np.uint8).tobytes() + bytes(9000) + b"end"
    packed = lzf_compress(data)
    assert lzf_decompress(packed, len(data)) == data
    for wrong in (len(data) - 1, len(data) + 1):
        with pytest.raises(ValueError, match="compressed data of"):
            lzf_decompress(packed, wrong)


@pytest.mark.parametrize(
    "data", [b"\x05abc", b"\x20\x00", b"\x00a\x20", b"\x00a\xe0\x01", b"\x00a\x3f\xff", b"\x1f"]
)
def test_lzf_that_is_damaged(data):
    with pytest.raises(ValueError, match="compressed data"):
        lzf_decompress(data, 32)


POINTS = np.random.default_rng(1).normal(size=(500, 3)).round(2)
LAYOUTS = {
    "plain": [("x", "F", 4, 1), ("y", "F", 4, 1), ("z", "F", 4, 1)],
    "colour": [("x", "F", 4, 1), ("y", "F", 4, 1), ("z", "F", 4, 1), ("rgb", "U", 4, 1)],
    "turned": [("intensity", "U", 1, 1), ("z", "F", 8, 1), ("ring", "U", 2, 1), ("y", "F", 4, 1), ("X", "F", 8, 1)],
    "arrays": [("fpfh", "F", 4, 33), ("x", "F", 4, 1), ("y", "F", 4, 1), ("z", "F", 4, 1)],
    "padded": [("x", "F", 4, 1), ("y", "F", 4, 1), ("z", "F", 4, 1), ("_", "U", 1, 4), ("i", "F", 4, 1), ("_", "U", 1, 12)],
}  # fmt: skip


def pcd(layout, form: str, points=POINTS, padding: bool = True) -> bytes:
    header = {
        "VERSION": ["0.7"],
        "FIELDS": [field for field, *_ in layout],
        "SIZE": [size for _, _, size, _ in layout],
        "TYPE": [kind for _, kind, _, _ in layout],
        "COUNT": [repeat for *_, repeat in layout],
        "WIDTH": [len(points)],
        "HEIGHT": [1],
        "VIEWPOINT": [0, 0, 0, 1, 0, 0, 0],
        "POINTS": [len(points)],
        "DATA": [form],
    }
    text = "# .PCD v0.7 - Point Cloud Data file format\n"
    text += "".join(f"{word} {' '.join(map(str, values))}\n" for word, values in header.items())
    kinds = {"F": "f", "U": "u", "I": "i"}
    record = np.dtype(
        [(str(n), f"<{kinds[kind]}{size}", (repeat,)) for n, (_, kind, size, repeat) in enumerate(layout)]
    )
    table = np.zeros(len(points), record)
    for number, (field, *_) in enumerate(layout):
        column = "xyz".find(field.lower())
        table[str(number)] = (
            np.arange(len(points))[:, None] % 200 if column < 0 else points[:, column : column + 1]
        )
    if form == "ascii":
        return (
            text + "\n".join(" ".join(str(float(v)) for part in row for v in part) for row in table)
        ).encode()
    if form == "binary":
        return text.encode() + table.tobytes()
    parts = [table[str(n)].tobytes() for n, (field, *_) in enumerate(layout) if padding or field != "_"]
    body = b"".join(parts)
    packed = lzf_compress(body)
    return text.encode() + struct.pack("<II", len(packed), len(body)) + packed


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "form", ["ascii", "binary", "binary_compressed", "binary_compressed without padding"]
)
def test_every_form_gives_the_points(layout, form):
    word, _, without = form.partition(" ")
    data = pcd(LAYOUTS[layout], word, padding=not without)
    shape = read_shape(data, "a.pcd", Limits())
    np.testing.assert_allclose(shape.vertices, POINTS, atol=1e-6)
    assert load_media("point", data, SMALL).shape == (512, 3)


def test_what_is_damaged_or_missing_is_refused():
    plain, data = LAYOUTS["plain"], pcd(LAYOUTS["plain"], "binary_compressed")
    cases = [
        (data[:-5], "copy or save it anew"),
        (data[: data.index(b"compressed\n") + 13], "2 bytes of binary_compressed data"),
        (
            data.replace(b"WIDTH 500", b"WIDTH 501").replace(b"POINTS 500", b"POINTS 501"),
            "which unpack to 6000",
        ),
        (data[:-40] + bytes([255]) * 40, "a damaged pcd file"),
        (pcd(plain[:2], "binary"), "the fields x, y; expected x, y and z"),
        (pcd([*plain, ("x", "F", 4, 1)], "ascii"), "the fields x, y, z, x"),
        (pcd(plain, "ascii").replace(b"COUNT 1 1 1", b"COUNT 1 1 2"), "500 of 4 as the header says"),
        (
            pcd(plain, "binary").replace(b"DATA binary", b"DATA gzip"),
            "PCD data 'gzip'; expected ascii, binary",
        ),
    ]
    for damaged, reason in cases:
        with pytest.raises(MediaError, match=reason):
            read_shape(damaged, "a.pcd", Limits())


def test_a_size_over_the_limit_is_refused_before_it_is_unpacked():
    wide = [("x", "F", 4, 1), ("y", "F", 4, 1), ("z", "F", 4, 1), ("d", "F", 8, 1000)]
    data = pcd(wide, "binary_compressed", np.zeros((300, 3)))
    with pytest.raises(MediaError, match=r"which unpack to 2403600; .* at most 1000000"):
        read_shape(data, "a.pcd", Limits(max_bytes=1_000_000))
