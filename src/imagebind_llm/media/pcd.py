"""PCD, the Point Cloud Library's format: points as text, binary, or compressed field by field."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import line_end, read_table
from imagebind_llm.media.base import Limits
from imagebind_llm.media.budget import reserve
from imagebind_llm.media.lzf import lzf_decompress
from imagebind_llm.media.meshes import Mesh

_LONGEST_HEADER = 1 << 16
_KINDS = {"I": "i", "U": "u", "F": "f"}
_SIZES = struct.Struct("<II")
"""Bytes of compressed data, compressed and not, in front of them."""
_PADDING = "_"


def read_pcd(data: bytes, name: str, limits: Limits) -> Mesh:
    """The x, y, z fields of all points, whatever other fields there are, in any order and type.

    Invalid points (NaN) stay in and are dropped later.
    """
    header, place = _header(data, name)
    fields, form = [field.lower() for field in header["FIELDS"]], header["DATA"][0].lower()
    if any(fields.count(axis) != 1 for axis in "xyz"):
        raise MediaError(
            name, f"the fields {', '.join(fields)}", "x, y and z, each once", "save it with them"
        )
    if "POINTS" in header:
        count = int(header["POINTS"][0])
    else:
        count = int(header["WIDTH"][0]) * int(header["HEIGHT"][0])
    if not 0 <= count <= limits.max_points:
        raise MediaError(
            name,
            f"{count} points in the header",
            f"0 to {limits.max_points}",
            "thin it or raise Limits.max_points",
        )
    repeats = [int(number) for number in header.get("COUNT", ["1"] * len(fields))]
    if form == "ascii":
        return _no_faces(_text_points(data[place:], fields, repeats, count, name, limits))
    kinds = [f"<{_KINDS[kind]}{int(size)}" for kind, size in zip(header["TYPE"], header["SIZE"], strict=True)]
    layout = [
        (field, np.dtype(kind), repeat) for field, kind, repeat in zip(fields, kinds, repeats, strict=True)
    ]
    if form == "binary":
        return _no_faces(_binary_points(data, place, layout, count, name))
    if form == "binary_compressed":
        return _no_faces(_compressed_points(data, place, layout, count, name, limits))
    raise MediaError(
        name,
        f"PCD data {form[:40]!r}",
        "ascii, binary or binary_compressed",
        "convert it with pcl_convert_pcd_ascii_binary",
    )


_Layout = list[tuple[str, np.dtype[Any], int]]


def _header(data: bytes, name: str) -> tuple[dict[str, list[str]], int]:
    """The lines up to DATA, by their first word, and where the data begin."""
    header: dict[str, list[str]] = {}
    place, break_ = 0, line_end(data[:_LONGEST_HEADER])
    while "DATA" not in header:
        end = data.find(break_, place, _LONGEST_HEADER)
        if end < 0:
            raise MediaError(name, "no DATA line in the PCD header", "one", "copy or save it anew")
        words = data[place:end].decode("latin-1").split()
        place = end + len(break_)
        if words and not words[0].startswith("#"):
            header[words[0].upper()] = words[1:]
    return header, place


def _text_points(
    body: bytes, fields: list[str], repeats: list[int], count: int, name: str, limits: Limits
) -> NDArray[np.float64]:
    table = read_table(body, name, limits)
    if len(table) < count or table.shape[1] != sum(repeats):
        raise MediaError(
            name,
            f"{len(table)} points of {table.shape[1]} numbers",
            f"{count} of {sum(repeats)} as the header says",
            "copy it anew",
        )
    starts = np.cumsum([0, *repeats])
    return table[:count, [starts[fields.index(axis)] for axis in "xyz"]]


def _binary_points(data: bytes, place: int, layout: _Layout, count: int, name: str) -> NDArray[np.float64]:
    kind = np.dtype([(str(n), kind, (repeat,)) for n, (_, kind, repeat) in enumerate(layout)])
    if count * kind.itemsize > len(data) - place:
        raise MediaError(
            name, f"{len(data) - place} bytes of data", f"{count * kind.itemsize}", "copy or save it anew"
        )
    table = np.frombuffer(data, kind, count, place)
    fields = [field for field, _, _ in layout]
    return np.stack([table[str(fields.index(axis))][:, 0].astype(np.float64) for axis in "xyz"], axis=1)


def _compressed_points(
    data: bytes, place: int, layout: _Layout, count: int, name: str, limits: Limits
) -> NDArray[np.float64]:
    """Of compressed data, in which all of the first field stand before all of the second, and so on."""
    if len(data) - place < _SIZES.size:
        raise MediaError(
            name, f"{len(data) - place} bytes of binary_compressed data", "two sizes and more", "copy it anew"
        )
    compressed, size = _SIZES.unpack_from(data, place)
    place += _SIZES.size
    kept = [entry for entry in layout if entry[0] != _PADDING]  # the library leaves padding out
    wanted = {count * _bytes(fields): fields for fields in (kept, layout)}
    if size not in wanted or size > limits.max_bytes or compressed > len(data) - place:
        raise MediaError(
            name,
            f"{len(data) - place} bytes that hold {compressed}, which unpack to {size}",
            f"{' or '.join(map(str, wanted))} bytes as the header says, at most {limits.max_bytes}",
            "copy or save it anew",
        )
    reserve(len(data) + 3 * size + 24 * count, name, limits)
    values = lzf_decompress(data[place : place + compressed], size)
    columns, start = {}, 0
    for field, kind, repeat in wanted[size]:
        if field in ("x", "y", "z"):
            columns[field] = np.frombuffer(values, kind, count * repeat, start)[::repeat].astype(np.float64)
        start += count * repeat * kind.itemsize
    return np.stack([columns[axis] for axis in "xyz"], axis=1)


def _bytes(layout: _Layout) -> int:
    return sum(kind.itemsize * repeat for _, kind, repeat in layout)


def _no_faces(points: NDArray[np.float64]) -> Mesh:
    return points, np.zeros((0, 3), np.int64)
