"""Meshes: Wavefront OBJ, Object File Format, STL, and binary glTF 2.0 (GLB).

Of a GLB the triangles and points of the scene are read, with the nodes' transforms applied.
"""

import json
import re
import struct
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

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
    for line in text_lines(data, name):
        kind, *cells = line.split()
        if kind == b"v":
            mesh.vertex(cells)
        elif kind == b"f":
            numbers = [int(cell.partition(b"/")[0]) for cell in cells]
            # numbers count from 1; negative ones backwards from the latest vertex
            mesh.polygon([mesh.count + number if number < 0 else number - 1 for number in numbers])
    return mesh.build()


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


_JSON, _BIN = 0x4E4F534A, 0x004E4942
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3}
_LONGEST_JSON = 32 * 1024 * 1024
_MOST_NODES = 20_000
"""Nodes visited; more means a cycle or a hierarchy built to explode."""


def read_glb(data: bytes, name: str, limits: Limits) -> Mesh:
    """Vertices and triangles of the default scene."""
    document, binary = _chunks(data, name)
    vertices: list[NDArray[np.float64]] = []
    faces: list[NDArray[np.int64]] = []
    total = size = 0
    for primitive, matrix in _primitives(document, name):
        points = _accessor(document, binary, primitive["attributes"]["POSITION"], "VEC3", name, limits)
        indices = (
            _accessor(document, binary, primitive["indices"], "SCALAR", name, limits)[:, 0].astype(np.int64)
            if "indices" in primitive
            else np.arange(len(points))
        )
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(points):
            raise MediaError(name, f"index {indices.max()}", f"0 to {len(points) - 1}", "export it anew")
        size += len(points) + len(indices)
        if size > 4 * limits.max_points:
            raise MediaError(
                name,
                f"over {size} points and indices",
                f"{4 * limits.max_points}",
                "thin it or raise Limits.max_points",
            )
        vertices.append(points.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3])
        faces.append(_triangles(indices, primitive.get("mode", 4)) + total)
        total += len(points)
    if not vertices:
        raise MediaError(name, "a scene without meshes", "at least one", "export it anew")
    return np.concatenate(vertices), np.concatenate(faces)


def _chunks(data: bytes, name: str) -> tuple[dict[str, Any], bytes]:
    _, version, length = struct.unpack_from("<4sII", data)
    if version != 2 or length > len(data):
        raise MediaError(
            name, f"glTF {version} of {length} bytes in {len(data)}", "complete glTF 2", "export it anew"
        )
    document, binary, place = None, b"", 12
    while place + 8 <= length:
        size, kind = struct.unpack_from("<II", data, place)
        chunk = data[place + 8 : place + 8 + size]
        if len(chunk) < size or (kind == _JSON and size > _LONGEST_JSON):
            raise MediaError(name, f"a chunk of {size} bytes", "a complete, reasonable one", "export it anew")
        if kind == _JSON and document is None:
            document = json.loads(chunk)
        elif kind == _BIN and not binary:
            binary = chunk
        place += 8 + size
    if not isinstance(document, dict):
        raise MediaError(name, "no scene description", "a JSON chunk", "export it anew")
    return document, binary


def _primitives(document: dict[str, Any], name: str) -> Iterator[tuple[dict[str, Any], NDArray[np.float64]]]:
    """Each primitive of the scene with the transform of its node."""
    nodes = document.get("nodes", [])
    scenes = document.get("scenes")
    if scenes:
        roots = scenes[document.get("scene", 0)].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [number for number in range(len(nodes)) if number not in children]
    pending = [(number, np.eye(4)) for number in roots]
    visited = 0
    while pending:
        number, parent = pending.pop()
        visited += 1
        if visited > _MOST_NODES or len(pending) > _MOST_NODES:
            raise MediaError(name, f"over {_MOST_NODES} nodes", "fewer, and no cycle", "flatten the scene")
        node = nodes[number]
        matrix = parent @ _transform(node)
        pending.extend((child, matrix) for child in node.get("children", []))
        if "mesh" in node:
            for primitive in document["meshes"][node["mesh"]]["primitives"]:
                yield primitive, matrix


def _transform(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T  # stored column by column
    matrix = np.eye(4)
    x, y, z, w = (float(part) for part in node.get("rotation", (0, 0, 0, 1)))
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = np.array(node.get("translation", (0, 0, 0)), np.float64)
    return matrix


def _accessor(
    document: dict[str, Any], binary: bytes, number: int, shape: str, name: str, limits: Limits
) -> NDArray[Any]:
    """The numbers of an accessor, ``[count, width]``, after checking that they lie inside the binary
    chunk."""
    accessor = document["accessors"][number]
    if "bufferView" not in accessor or "sparse" in accessor or accessor["type"] != shape:
        raise MediaError(
            name,
            "sparse or compressed geometry",
            "plain vertex and index data",
            "export it without compression",
        )
    view = document["bufferViews"][accessor["bufferView"]]
    if view.get("buffer", 0) != 0 or "uri" in document["buffers"][0]:
        raise MediaError(name, "geometry outside the file", "a self-contained GLB", "export it as one file")
    kind, width, count = (
        np.dtype(_COMPONENTS[accessor["componentType"]]),
        _WIDTHS[shape],
        int(accessor["count"]),
    )
    stride = int(view.get("byteStride", 0)) or kind.itemsize * width
    begin = int(view.get("byteOffset", 0)) + int(accessor.get("byteOffset", 0))
    if not 0 < count <= 4 * limits.max_points or begin < 0 or stride < kind.itemsize * width:
        raise MediaError(
            name, f"an accessor of {count} at {begin} by {stride}", "sound numbers", "export it anew"
        )
    if begin + stride * (count - 1) + kind.itemsize * width > len(binary):
        raise MediaError(
            name, f"{len(binary)} bytes of geometry", "as many as its accessors span", "export it anew"
        )
    return np.ndarray((count, width), kind, binary, begin, (stride, kind.itemsize))


def _triangles(indices: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    """Triangles of a list (4), strip (5) or fan (6); none for points and lines."""
    if mode == 4:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if mode == 5 and len(indices) >= 3:
        return np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1)
    if mode == 6 and len(indices) >= 3:
        first = np.broadcast_to(indices[:1], (len(indices) - 2,))
        return np.stack([first, indices[1:-1], indices[2:]], axis=1)
    return np.zeros((0, 3), np.int64)
