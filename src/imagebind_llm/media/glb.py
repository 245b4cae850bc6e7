"""Binary glTF 2.0: the triangles and points of the scene, with the nodes' transforms applied."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.limits import Limits
from imagebind_llm.media.meshes import Mesh

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
