"""Point clouds of two formats, text and binary: PLY (also meshes) and PCD (Point Cloud Library)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import read_table, text_lines
from imagebind_llm.media.base import Limits
from imagebind_llm.media.meshes import Mesh, MeshBuilder

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_LONGEST_HEADER = 1 << 16
_CORNERS = ("vertex_indices", "vertex_index")


class _Property(NamedTuple):
    name: str
    kind: str
    length_kind: str | None
    """Type of the length that precedes a list; None for a single number."""


class _Element(NamedTuple):
    name: str
    rows: int
    properties: list[_Property]


def read_ply(data: bytes, name: str, limits: Limits) -> Mesh:
    """Vertices and faces; other elements and properties are passed over."""
    end = data.find(b"end_header", 0, _LONGEST_HEADER)
    newline = data.find(b"\n", end)
    if end < 0 or newline < 0:
        raise MediaError(name, "no end of the PLY header", "end_header", "copy or save it anew")
    form, elements = _parse_header(data[:end].decode("latin-1"))
    for element in elements:
        if element.rows < 0 or element.rows > limits.max_points:
            raise MediaError(
                name,
                f"{element.rows} of {element.name} in the header",
                f"0 to {limits.max_points}",
                "thin it or raise Limits.max_points",
            )
    body = data[newline + 1 :]
    if form == "ascii":
        return _read_text(body, elements, name, limits)
    if form not in ("binary_little_endian", "binary_big_endian"):
        raise MediaError(name, f"PLY format {form[:40]!r}", "ascii or binary", "save it anew")
    return _read_binary(body, elements, "<" if form.endswith("little_endian") else ">", name, limits)


def _parse_header(header: str) -> tuple[str, list[_Element]]:
    form, elements = "", []
    for line in header.splitlines():
        match line.split():
            case ["format", kind, *_]:
                form = kind
            case ["element", element, count]:
                elements.append(_Element(element, int(count), []))
            case ["property", "list", length, kind, name]:
                elements[-1].properties.append(_Property(name, _TYPES[kind], _TYPES[length]))
            case ["property", kind, name]:
                elements[-1].properties.append(_Property(name, _TYPES[kind], None))
    return form, elements


def _axes(element: _Element) -> list[int]:
    """Where x, y and z stand among the properties of a vertex."""
    names = [item.name for item in element.properties]
    if any(item.length_kind for item in element.properties):
        raise ValueError("vertices with lists")
    return [names.index(axis) for axis in "xyz"]


def _read_text(body: bytes, elements: list[_Element], name: str, limits: Limits) -> Mesh:
    mesh, lines = MeshBuilder(name, limits), text_lines(body, name)
    for element in elements:
        if not element.properties:
            continue
        corners = [item.name in _CORNERS for item in element.properties]
        axes = _axes(element) if element.name == "vertex" else None
        for _ in range(element.rows):
            line = next(lines, None)
            if line is None:
                raise MediaError(
                    name, f"fewer lines than {element.rows} of {element.name}", "all", "copy it anew"
                )
            cells = line.split()
            if axes:
                mesh.vertex([cells[place] for place in axes])
            elif element.name == "face" and any(corners):
                place = 0
                for item, wanted in zip(element.properties, corners, strict=True):
                    length = int(cells[place]) if item.length_kind else 0
                    if wanted:
                        mesh.polygon([int(cell) for cell in cells[place + 1 : place + 1 + length]])
                    place += 1 + length
    return mesh.build()


def _read_binary(body: bytes, elements: list[_Element], order: str, name: str, limits: Limits) -> Mesh:
    vertices: NDArray[np.float64] = np.zeros((0, 3))
    faces: NDArray[np.int64] = np.zeros((0, 3), np.int64)
    place = 0
    for element in elements:
        if not element.properties or not element.rows:
            continue
        if any(item.length_kind for item in element.properties):
            found, place = _read_lists(body, place, element, order, name, limits)
            if element.name == "face":
                faces = found
            continue
        table, place = _records(body, place, _layout(element, order), element.rows, name)
        if element.name == "vertex":
            columns = [table[f"p{axis}"].astype(np.float64) for axis in _axes(element)]
            vertices = np.stack(columns, axis=1)
    return vertices, faces


def _layout(element: _Element, order: str, lengths: dict[int, int] | None = None) -> np.dtype[Any]:
    """Record type of an element; ``lengths`` gives the length assumed for each list."""
    fields: list[Any] = []
    for number, item in enumerate(element.properties):
        if item.length_kind is None:
            fields.append((f"p{number}", order + item.kind))
        else:
            fields.append((f"n{number}", order + item.length_kind))
            fields.append((f"p{number}", order + item.kind, ((lengths or {})[number],)))
    return np.dtype(fields)


def _records(
    body: bytes, place: int, layout: np.dtype[Any], count: int, name: str
) -> tuple[NDArray[Any], int]:
    end = place + layout.itemsize * count
    if end > len(body):
        raise MediaError(name, f"{len(body)} bytes of data", f"{end} or more", "copy or save it anew")
    return np.frombuffer(body, layout, count, place), end


def _read_lists(
    body: bytes, place: int, element: _Element, order: str, name: str, limits: Limits
) -> tuple[NDArray[np.int64], int]:
    """Triangles of an element with lists, and where it ends.

    Most files hold only triangles: if all rows are as long as the first, they are read at once.
    """
    wanted = next((n for n, item in enumerate(element.properties) if item.name in _CORNERS), None)
    lengths, _ = _list_lengths(body, place, element, order)
    try:
        layout = _layout(element, order, lengths)
        table, end = _records(body, place, layout, element.rows, name)
        if all((table[f"n{number}"] == length).all() for number, length in lengths.items()):
            if wanted is None or lengths.get(wanted, 0) < 3:
                return np.zeros((0, 3), np.int64), end
            corners = table[f"p{wanted}"].astype(np.int64)
            if corners.shape[1] == 3:
                return corners, end
    except MediaError:
        pass  # rows after the first may be shorter
    mesh = MeshBuilder(name, limits)
    for _ in range(element.rows):
        lengths, end = _list_lengths(body, place, element, order)
        if wanted is not None:
            row = np.frombuffer(body, _layout(element, order, lengths), 1, place)[0]
            mesh.polygon([int(corner) for corner in row[f"p{wanted}"]])
        place = end
    return mesh.build()[1], place


def _list_lengths(body: bytes, place: int, element: _Element, order: str) -> tuple[dict[int, int], int]:
    """Lengths of the lists in the row at ``place``, and where the row ends."""
    lengths = {}
    for number, item in enumerate(element.properties):
        size = np.dtype(item.kind).itemsize
        if item.length_kind is not None:
            kind = np.dtype(order + item.length_kind)
            length = int(np.frombuffer(body, kind, 1, place)[0])
            if length < 0 or place + kind.itemsize + length * size > len(body):
                raise ValueError(f"a list of {length} entries")
            lengths[number] = length
            place += kind.itemsize + length * size
        else:
            place += size
    return lengths, place


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
