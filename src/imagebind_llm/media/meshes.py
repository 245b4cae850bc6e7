"""Meshes: Wavefront OBJ, Object File Format and STL."""

import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import text_lines
from imagebind_llm.media.base import Limits

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


class MeshBuilder:
    """Collects vertices and polygons compactly; polygons become fans of triangles."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._vertices, self._faces = array("d"), array("q")
        self._name, self._most = name, 3 * limits.max_points

    @property
    def count(self) -> int:
        """Vertices so far."""
        return len(self._vertices) // 3

    def vertex(self, coordinates: Sequence[bytes]) -> None:
        """Add a vertex from its first three numbers."""
        x, y, z = coordinates[:3]
        self._vertices.extend((float(x), float(y), float(z)))
        self._check(self._vertices)

    def polygon(self, corners: Sequence[int]) -> None:
        """Add a polygon of three or more vertex numbers (from 0)."""
        for second, third in pairwise(corners[1:]):
            self._faces.extend((corners[0], second, third))
        self._check(self._faces)

    def build(self) -> Mesh:
        """Vertices ``[n, 3]`` and triangles ``[m, 3]``."""
        return np.array(self._vertices).reshape(-1, 3), np.array(self._faces, np.int64).reshape(-1, 3)

    def _check(self, values: Sequence[float]) -> None:
        if len(values) > self._most:
            raise MediaError(
                self._name,
                f"more than {self._most // 3} points or faces",
                "at most that many",
                "thin it or raise Limits.max_points",
            )


def read_obj(data: bytes, name: str, limits: Limits) -> Mesh:
    """Vertices and faces; materials, normals and texture coordinates are ignored, as are files it refers
    to."""
    mesh = MeshBuilder(name, limits)
    for line in _obj_lines(data, name):
        kind, *cells = line.split()
        if kind == b"v":
            mesh.vertex(cells)
        elif kind == b"f":
            numbers = [int(cell.partition(b"/")[0]) for cell in cells]
            # numbers count from 1; negative ones backwards from the latest vertex
            mesh.polygon([mesh.count + number if number < 0 else number - 1 for number in numbers])
    return mesh.build()


def _obj_lines(data: bytes, name: str) -> Iterator[bytes]:
    """Lines of vertices and faces, whole and without remarks; a backslash at the end joins the next one on.

    Other lines are not joined: a remark may end in a folder's name.
    """
    waiting = b""
    for line in text_lines(data, name):
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
    mesh = MeshBuilder(name, limits)
    lines = (line for line in text_lines(data, name) if not line.startswith(b"#"))
    rest = re.sub(rb"^[A-Z4]*?OFF", b"", next(lines)).split() or next(lines).split()
    vertices, faces = int(rest[0]), int(rest[1])
    for number, line in enumerate(lines):
        cells = line.split()
        if number < vertices:
            mesh.vertex(cells)
        elif number < vertices + faces:
            size = int(cells[0])
            if not 0 <= size < len(cells):
                raise MediaError(
                    name, f"a face of {size} corners in {len(cells)} cells", "all of them", "save it anew"
                )
            mesh.polygon([int(cell) for cell in cells[1 : 1 + size]])
    if mesh.count < vertices:
        raise MediaError(name, f"{mesh.count} vertices", f"{vertices} as the header says", "copy it anew")
    return mesh.build()


def read_stl(data: bytes, name: str, limits: Limits) -> Mesh:
    """STL, binary or text."""
    if data.lstrip().startswith(b"solid") and b"vertex" in data[:4096]:
        mesh = MeshBuilder(name, limits)
        for line in text_lines(data, name):
            if line.startswith(b"vertex"):
                mesh.vertex(line.split()[1:4])
        vertices = mesh.build()[0][: mesh.count // 3 * 3]
    else:
        count = int.from_bytes(data[80:84], "little")
        if len(data) < 84 or 84 + 50 * count > len(data):
            raise MediaError(
                name, f"{len(data)} bytes", f"{84 + 50 * count} for {count} triangles", "copy or save it anew"
            )
        vertices = np.frombuffer(data, _TRIANGLE, count, 84)["corners"].reshape(-1, 3).astype(np.float64)
    return vertices, np.arange(len(vertices), dtype=np.int64).reshape(-1, 3)
