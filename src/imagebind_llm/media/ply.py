"""PLY, text and binary: point clouds and meshes."""

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import line_end
from imagebind_llm.media.base import Limits
from imagebind_llm.media.budget import check_time
from imagebind_llm.media.meshes import Mesh, MeshBuilder, Rows, add_faces, add_vertices, read_rows

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
    break_ = line_end(data[:_LONGEST_HEADER])
    end = data.find(break_ + b"end_header", 0, _LONGEST_HEADER)
    newline = data.find(break_, end + 1)
    if end < 0 or newline < 0:
        raise MediaError(name, "no end of the PLY header", "end_header", "copy or save it anew")
    form, elements = _parse_header([line.decode("latin-1") for line in data[:end].split(break_)])
    for element in elements:
        if element.rows < 0 or element.rows > limits.max_points:
            raise MediaError(
                name,
                f"{element.rows} of {element.name} in the header",
                f"0 to {limits.max_points}",
                "thin it or raise Limits.max_points",
            )
    body = data[newline + len(break_) :]
    if form == "ascii":
        return _read_text(body, elements, name, limits)
    if form not in ("binary_little_endian", "binary_big_endian"):
        raise MediaError(name, f"PLY format {form[:40]!r}", "ascii or binary", "save it anew")
    return _read_binary(body, elements, "<" if form.endswith("little_endian") else ">", name, limits)


def _parse_header(header: list[str]) -> tuple[str, list[_Element]]:
    form, elements = "", []
    for line in header:
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
    mesh = MeshBuilder(name, limits)
    kinds = [_rows_of(element, mesh) for element in elements if element.properties]
    found, wanted = read_rows(body, name, kinds), sum(kind.lines for kind in kinds)
    if found < wanted:
        raise MediaError(name, f"{found} lines of elements", f"{wanted}", "copy it anew")
    return mesh.build()


def _rows_of(element: _Element, mesh: MeshBuilder) -> Rows:
    """How the lines of an element are read."""
    if element.name == "vertex":
        axes = _axes(element)
        return Rows(
            element.rows,
            lambda numbers, counts: add_vertices(mesh, numbers, counts, axes),
            lambda cells: mesh.vertex([cells[place] for place in axes]),
        )
    corners = [item.name in _CORNERS for item in element.properties]
    if element.name != "face" or not any(corners):
        return Rows(element.rows, lambda *_: True, lambda _: None)

    def line(cells: list[bytes]) -> None:
        place = 0
        for item, wanted in zip(element.properties, corners, strict=True):
            length = int(cells[place]) if item.length_kind else 0
            if wanted:
                mesh.polygon([int(cell) for cell in cells[place + 1 : place + 1 + length]])
            place += 1 + length

    def block(numbers: NDArray[np.float64], counts: NDArray[np.int64]) -> bool:
        return corners[0] and add_faces(mesh, numbers, counts)

    return Rows(element.rows, block, line)


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
    if len(element.properties) == 1:
        return _read_one_list(body, place, element, order, mesh if wanted is not None else None)
    for number in range(element.rows):
        if not number % 1024:
            check_time()
        lengths, end = _list_lengths(body, place, element, order)
        if wanted is not None:
            row = np.frombuffer(body, _layout(element, order, lengths), 1, place)[0]
            mesh.polygon([int(corner) for corner in row[f"p{wanted}"]])
        place = end
    return mesh.build()[1], place


def _read_one_list(
    body: bytes, place: int, element: _Element, order: str, mesh: MeshBuilder | None
) -> tuple[NDArray[np.int64], int]:
    """:func:`_read_lists` for rows that hold nothing but one list, of any lengths."""
    item = element.properties[0]
    kind = np.dtype(order + item.kind)
    head = struct.Struct(order + np.dtype(item.length_kind).char)
    starts, sizes = np.empty(element.rows, np.int64), np.empty(element.rows, np.int64)
    for row in range(element.rows):
        if not row % 65536:
            check_time()
        (size,) = head.unpack_from(body, place)
        starts[row] = place = place + head.size
        sizes[row] = size
        place += size * kind.itemsize
        if size < 0 or place > len(body):
            raise ValueError(f"a list of {size} entries")
    if mesh is None:
        return np.zeros((0, 3), np.int64), place
    raw = np.frombuffer(body, np.uint8)
    for first in range(0, element.rows, _ROWS_AT_ONCE):
        some, counts = starts[first : first + _ROWS_AT_ONCE], sizes[first : first + _ROWS_AT_ONCE]
        ends = np.cumsum(counts)
        corners = np.repeat(some - (ends - counts) * kind.itemsize, counts)
        corners += np.arange(len(corners)) * kind.itemsize
        cells = raw[corners[:, None] + np.arange(kind.itemsize)].view(kind)[:, 0]
        mesh.polygons(cells.astype(np.int64), counts)
    return mesh.build()[1], place


_ROWS_AT_ONCE = 1 << 16


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
