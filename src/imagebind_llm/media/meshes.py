"""Meshes: Wavefront OBJ, Object File Format and STL."""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import flat_numbers, plain_text, text_lines, text_spans
from imagebind_llm.media.base import Limits
from imagebind_llm.media.budget import reserve_growing

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


class MeshBuilder:
    """Collects vertices and polygons compactly; polygons become fans of triangles."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._vertices, self._faces = array("d"), array("q")
        self._name, self._limits = name, limits

    @property
    def count(self) -> int:
        """Vertices so far."""
        return len(self._vertices) // 3

    def vertex(self, coordinates: Sequence[bytes]) -> None:
        """Add a vertex from its first three numbers."""
        x, y, z = coordinates[:3]
        self._vertices.extend((float(x), float(y), float(z)))
        self._check()

    def vertices(self, coordinates: NDArray[np.float64]) -> None:
        """Add vertices ``[n, 3]``."""
        self._vertices.frombytes(coordinates.tobytes())
        self._check()

    def polygon(self, corners: Sequence[int]) -> None:
        """Add a polygon of three or more vertex numbers (from 0)."""
        for second, third in pairwise(corners[1:]):
            self._faces.extend((corners[0], second, third))
        self._check()

    def polygons(self, corners: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """Add polygons: the corners of all of them, one after another, and how many each has."""
        triangles = np.maximum(sizes - 2, 0)
        self._check(3 * int(triangles.sum()))
        first = np.repeat(np.cumsum(sizes) - sizes, triangles)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
        fans = np.stack([corners[first], corners[second], corners[second + 1]], axis=1)
        self._faces.frombytes(fans.astype(np.int64).tobytes())

    def build(self) -> Mesh:
        """Vertices ``[n, 3]`` and triangles ``[m, 3]``."""
        vertices = np.frombuffer(self._vertices, np.float64) if self._vertices else np.zeros(0)
        faces = np.frombuffer(self._faces, np.int64) if self._faces else np.zeros(0, np.int64)
        return vertices.reshape(-1, 3), faces.reshape(-1, 3)

    def _check(self, more: int = 0) -> None:
        most = self._limits.max_points
        if max(len(self._vertices), len(self._faces) + more) > 3 * most:
            raise MediaError(
                self._name,
                f"more than {most} points or faces",
                "at most that many",
                "thin it or raise Limits.max_points",
            )
        size = 8 * (len(self._vertices) + len(self._faces) + more)
        reserve_growing(2 * size, self._name, self._limits)


def read_obj(data: bytes, name: str, limits: Limits) -> Mesh:
    """Vertices and faces; materials, normals and texture coordinates are ignored, as are files it refers
    to."""
    mesh = MeshBuilder(name, limits)
    data = plain_text(data)
    # a line that goes on must not be cut in two
    spans = [(0, len(data))] if _CONTINUED.search(data) else text_spans(data)
    for start, end in spans:
        if _add_obj(mesh, data[start:end]):
            continue
        for line in _obj_lines(data, name, start, end):
            kind, *cells = line.split()
            if kind == b"v":
                mesh.vertex(cells)
            elif kind == b"f":
                numbers = [int(cell.partition(b"/")[0]) for cell in cells]
                # numbers count from 1; negative ones backwards from the latest vertex
                mesh.polygon([mesh.count + number if number < 0 else number - 1 for number in numbers])
    return mesh.build()


_CONTINUED = re.compile(rb"\\[ \t]*\n")
_OBJ_VERTEX = re.compile(rb"(?m)^[ \t]*v[ \t]+([^\n]*)")
_OBJ_FACE = re.compile(rb"(?m)^[ \t]*f[ \t]+([^\n]*)")
_OBJ_REST = re.compile(rb"/[^ \t\r\n]*")
"""Numbers of the texture coordinate and the normal."""


def _add_obj(mesh: MeshBuilder, text: bytes) -> bool:
    """Add the vertices and faces of whole lines at once, if none is out of the ordinary."""
    vertices = _OBJ_VERTEX.findall(text)
    faces = _OBJ_FACE.findall(text)
    points = flat_numbers(b"\n".join(vertices))
    corners = flat_numbers(_OBJ_REST.sub(b"", b"\n".join(faces)))
    if points is None or corners is None or len(points[1]) < len(vertices) or len(corners[1]) < len(faces):
        return False
    whole = corners[0].astype(np.int64)
    if (points[1] < 3).any() or (whole != corners[0]).any() or (whole < 1).any():
        return False
    mesh.vertices(points[0][(np.cumsum(points[1]) - points[1])[:, None] + np.arange(3)])
    mesh.polygons(whole - 1, corners[1])
    return True


def _obj_lines(data: bytes, name: str, start: int, end: int) -> Iterator[bytes]:
    """Lines of vertices and faces, whole and without remarks; a backslash at the end joins the next one on.

    Other lines are not joined: a remark may end in a folder's name.
    """
    waiting = b""
    for line in text_lines(data, name, start, end):
        whole = waiting + line.partition(b"#")[0]
        waiting = b""
        if not re.match(rb"[vf][ \t\\]", whole):
            continue
        if whole.rstrip().endswith(b"\\"):
            waiting = whole.rstrip()[:-1] + b" "
        else:
            yield whole
    if waiting:
        yield waiting


def read_off(data: bytes, name: str, limits: Limits) -> Mesh:
    """OFF with its variants (COFF, NOFF), also with the counts glued to the first word, as ModelNet has
    it."""
    mesh, data = MeshBuilder(name, limits), plain_text(data)
    lines = (line for line in text_lines(data, name) if not line.startswith(b"#"))
    head = re.sub(rb"^[A-Z4]*?OFF", b"", next(lines)).split()
    glued = bool(head)
    head = head or next(lines).split()
    vertices, faces = int(head[0]), int(head[1])
    if max(vertices, faces) > limits.max_points:
        raise MediaError(
            name,
            f"{vertices} vertices and {faces} faces in the header",
            f"at most {limits.max_points}",
            "thin it or raise Limits.max_points",
        )
    rows = [Rows(vertices, lambda *block: add_vertices(mesh, *block), mesh.vertex)]
    rows.append(
        Rows(faces, lambda *block: add_faces(mesh, *block), lambda cells: _add_face(mesh, cells, name))
    )
    read_rows(data, name, rows, skip=1 if glued else 2)
    if mesh.count < vertices:
        raise MediaError(name, f"{mesh.count} vertices", f"{vertices} as the header says", "copy it anew")
    return mesh.build()


def _add_face(mesh: MeshBuilder, cells: list[bytes], name: str) -> None:
    size = int(cells[0])
    if not 0 <= size < len(cells):
        raise MediaError(
            name, f"a face of {size} corners in {len(cells)} cells", "all of them", "save it anew"
        )
    mesh.polygon([int(cell) for cell in cells[1 : 1 + size]])


def add_vertices(
    mesh: MeshBuilder,
    numbers: NDArray[np.float64],
    counts: NDArray[np.int64],
    axes: Sequence[int] = (0, 1, 2),
) -> bool:
    """Add rows that begin with a vertex, unless one is too short."""
    if (counts <= max(axes)).any():
        return False
    mesh.vertices(numbers[(np.cumsum(counts) - counts)[:, None] + np.array(axes)])
    return True


def add_faces(mesh: MeshBuilder, numbers: NDArray[np.float64], counts: NDArray[np.int64]) -> bool:
    """Add rows that hold a number of corners, the corners, and perhaps more; unless one is damaged."""
    starts = np.cumsum(counts) - counts
    sizes = numbers[starts].astype(np.int64)
    if (sizes != numbers[starts]).any() or (sizes < 0).any() or (sizes >= counts).any():
        return False
    total = int(sizes.sum())
    places = np.repeat(starts + 1 - (np.cumsum(sizes) - sizes), sizes) + np.arange(total)
    corners = numbers[places].astype(np.int64)
    if (corners != numbers[places]).any():
        return False
    mesh.polygons(corners, sizes)
    return True


_NONE, _NONE_EACH = np.zeros(0), np.zeros(0, np.int64)


class Rows(NamedTuple):
    """A number of lines of the same kind."""

    lines: int
    block: Callable[[NDArray[np.float64], NDArray[np.int64]], bool]
    """Takes the numbers of several lines, and how many each has, or says that it cannot."""
    line: Callable[[list[bytes]], None]
    """Takes the cells of one."""


def read_rows(data: bytes, name: str, kinds: Sequence[Rows], skip: int = 0) -> int:
    """Hand the lines of a text, but blank ones and comments (``#``), to ``kinds``, one after another.

    Args:
        data: the text; its lines may end in any way.
        name: how errors call it.
        kinds: of lines, in the order of the text.
        skip: lines before them.

    Returns:
        Lines that were handed over.
    """
    data = plain_text(data)
    todo = Rows(skip, lambda *_: True, lambda _: None), *kinds
    kind = done = total = 0
    for start, end in text_spans(data):
        found = flat_numbers(data[start:end])
        numbers, counts = found or (_NONE, _NONE_EACH)
        place = row = 0
        lines: list[bytes] | None = None
        if found is None:
            lines = [line for line in text_lines(data, name, start, end) if not line.startswith(b"#")]
        here = len(lines) if lines is not None else len(counts)
        while row < here:
            while kind < len(todo) and done == todo[kind].lines:
                kind, done = kind + 1, 0
            if kind == len(todo):
                return total
            count = min(todo[kind].lines - done, here - row)
            some = counts[row : row + count]
            size = int(some.sum())
            if found is None or not todo[kind].block(numbers[place : place + size], some):
                if lines is None:
                    lines = list(text_lines(data, name, start, end))
                for line in lines[row : row + count]:
                    todo[kind].line(line.split())
            place, row, done, total = place + size, row + count, done + count, total + count * bool(kind)
    return total


_STL_VERTEX = re.compile(rb"(?m)^[ \t]*vertex[ \t]+([^\n]*)")


def read_stl(data: bytes, name: str, limits: Limits) -> Mesh:
    """STL, binary or text."""
    if data.lstrip().startswith(b"solid") and b"vertex" in data[:4096]:
        mesh, data = MeshBuilder(name, limits), plain_text(data)
        for start, end in text_spans(data):
            corners = _STL_VERTEX.findall(data, start, end)
            found = flat_numbers(b"\n".join(corners))
            if found and len(found[1]) == len(corners) and add_vertices(mesh, *found):
                continue
            for line in corners:
                mesh.vertex(line.split())
        vertices = mesh.build()[0][: mesh.count // 3 * 3]
    else:
        count = int.from_bytes(data[80:84], "little")
        if len(data) < 84 or 84 + 50 * count > len(data):
            raise MediaError(
                name, f"{len(data)} bytes", f"{84 + 50 * count} for {count} triangles", "copy or save it anew"
            )
        if 3 * count > limits.max_points:
            raise MediaError(
                name,
                f"{count} triangles",
                f"at most {limits.max_points // 3}",
                "thin it or raise Limits.max_points",
            )
        vertices = np.frombuffer(data, _TRIANGLE, count, 84)["corners"].reshape(-1, 3).astype(np.float64)
    return vertices, np.arange(len(vertices), dtype=np.int64).reshape(-1, 3)
