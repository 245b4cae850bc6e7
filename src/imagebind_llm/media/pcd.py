"""PCD point clouds (Point Cloud Library): text and binary."""

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.limits import Limits
from imagebind_llm.media.meshes import Mesh
from imagebind_llm.media.tables import read_table

_LONGEST_HEADER = 1 << 16
_KINDS = {"I": "i", "U": "u", "F": "f"}


def read_pcd(data: bytes, name: str, limits: Limits) -> Mesh:
    """The x, y, z fields of all points; invalid ones (NaN) stay in and are dropped later."""
    header: dict[str, list[str]] = {}
    place = 0
    while "DATA" not in header:
        end = data.find(b"\n", place, _LONGEST_HEADER)
        if end < 0:
            raise MediaError(name, "no DATA line in the PCD header", "one", "copy or save it anew")
        words = data[place:end].decode("latin-1").split()
        place = end + 1
        if words and not words[0].startswith("#"):
            header[words[0].upper()] = words[1:]
    fields, form = [field.lower() for field in header["FIELDS"]], header["DATA"][0].lower()
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
    if form != "binary":
        raise MediaError(
            name, f"PCD data {form!r}", "ascii or binary", "convert it with pcl_convert_pcd_ascii_binary"
        )
    kinds = [f"<{_KINDS[kind]}{int(size)}" for kind, size in zip(header["TYPE"], header["SIZE"], strict=True)]
    layout = np.dtype(
        [
            (f"{number}", kind, (repeat,))
            for number, (kind, repeat) in enumerate(zip(kinds, repeats, strict=True))
        ]
    )
    if count * layout.itemsize > len(data) - place:
        raise MediaError(
            name, f"{len(data) - place} bytes of data", f"{count * layout.itemsize}", "copy or save it anew"
        )
    table = np.frombuffer(data, layout, count, place)
    columns = [table[str(fields.index(axis))][:, 0].astype(np.float64) for axis in "xyz"]
    return _no_faces(np.stack(columns, axis=1))


def _text_points(
    body: bytes, fields: list[str], repeats: list[int], count: int, name: str, limits: Limits
) -> NDArray[np.float64]:
    table = read_table(body, name, limits)
    if len(table) < count:
        raise MediaError(name, f"{len(table)} points", f"{count} as the header says", "copy it anew")
    starts = np.cumsum([0, *repeats])
    return table[:count, [starts[fields.index(axis)] for axis in "xyz"]]


def _no_faces(points: NDArray[np.float64]) -> Mesh:
    return points, np.zeros((0, 3), np.int64)
