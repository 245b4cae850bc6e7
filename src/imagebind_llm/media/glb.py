"""Meshes in binary glTF 2.0 (GLB): the triangles and points of the default scene, as it stands still.

Node transforms, ``EXT_mesh_gpu_instancing``, the default weights of morph targets and the pose that skins are
stored in are applied; animations are not. Quantised meshes (``KHR_mesh_quantization``) are read, compressed
ones (Draco, meshopt) are refused.
"""

import json
import re
import struct
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.base import Limits
from imagebind_llm.media.budget import check_time, reserve_growing
from imagebind_llm.media.gltf_numbers import Numbers
from imagebind_llm.media.meshes import Mesh

_JSON, _BIN = 0x4E4F534A, 0x004E4942
_LONGEST_JSON = 8 * 1024 * 1024
"""Bytes; parsed, they take some 25 times as much."""
_MOST_NODES = 20_000
"""Nodes and instances visited; more means a cycle or a hierarchy built to explode."""
_INSTANCING = "EXT_mesh_gpu_instancing"
_NO_GEOMETRY = re.compile(
    r"KHR_mesh_quantization|EXT_mesh_gpu_instancing|KHR_xmp|KHR_animation|VRM|FB_ngon|"
    r"\w*(material|texture|light|webgl|metadata|audio|physics|interactivity|features|outline)"
)
"""Required extensions that are read, or that say nothing about where vertices are."""
_BLOCK = 65_536
"""Vertices that are skinned at a time."""


def read_glb(data: bytes, name: str, limits: Limits) -> Mesh:
    """Vertices and triangles of the default scene.

    Raises:
        MediaError: damaged, compressed, spread over files, or more than ``limits.max_points``.
    """
    document, binary = _chunks(data, name)
    numbers = Numbers(document, binary, name, limits.max_points)
    _check_required(document, numbers)
    vertices: list[NDArray[np.float64]] = []
    faces: list[NDArray[np.int64]] = []
    total = triangles = 0
    for primitive, points, matrix in _placed(numbers):
        check_time()
        if "indices" in primitive:
            indices = numbers.whole(primitive["indices"])[:, 0]
        else:
            indices = np.arange(len(points))
        if not 0 <= indices.min() <= indices.max() < len(points):
            raise MediaError(name, f"index {indices.max()}", f"0 to {len(points) - 1}", "export it anew")
        faces.append(_triangles(indices, primitive.get("mode", 4)) + total)
        vertices.append(points @ matrix[:3, :3].T + matrix[:3, 3])
        total += len(points)
        triangles += len(faces[-1])
        reserve_growing(2 * 3 * 8 * (total + triangles), name, limits)
        if max(total, triangles) > limits.max_points:
            raise MediaError(
                name,
                f"over {limits.max_points} points or faces",
                "at most that many",
                "thin it or raise Limits.max_points",
            )
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


def _check_required(document: dict[str, Any], numbers: Numbers) -> None:
    """Refuse extensions without which the geometry would be another."""
    required = document.get("extensionsRequired", [])
    numbers.compressed({"extensions": required})
    for extension in required:
        if not _NO_GEOMETRY.match(extension):
            raise MediaError(
                numbers.name,
                f"the glTF extension {extension}, which is not known",
                "plain glTF 2.0",
                "export it without",
            )


def _placed(numbers: Numbers) -> Iterator[tuple[dict[str, Any], NDArray[np.float64], NDArray[np.float64]]]:
    """Each primitive of the scene, its points ``[n, 3]``, and the transform that places them."""
    document = numbers.document
    nodes = document.get("nodes", [])
    order = list(_world(document, numbers.name))
    world = dict(order)
    left = _MOST_NODES
    for number, matrix in order:
        node = nodes[number]
        if "mesh" not in node:
            continue
        mesh = document["meshes"][node["mesh"]]
        weights = node.get("weights", mesh.get("weights", []))
        placements = _instances(node, numbers)
        left -= len(placements)
        if left < 0:
            raise MediaError(numbers.name, f"over {_MOST_NODES} instances", "fewer", "thin the scene")
        for primitive in mesh["primitives"]:
            points = _points(primitive, weights, numbers)
            if "skin" in node:  # joints place the mesh; the node does not
                yield (
                    primitive,
                    _skinned(points, primitive, document["skins"][node["skin"]], world, numbers),
                    np.eye(4),
                )
                continue
            for placement in placements:
                yield primitive, points, matrix @ placement


def _world(document: Mapping[str, Any], name: str) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Number and world transform of each node of the scene."""
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
        matrix = parent @ _transform(nodes[number])
        pending.extend((child, matrix) for child in nodes[number].get("children", []))
        yield number, matrix


def _transform(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T  # stored column by column
    return _compose(
        np.array(node.get("translation", (0, 0, 0)), np.float64),
        np.array(node.get("rotation", (0, 0, 0, 1)), np.float64),
        np.array(node.get("scale", (1, 1, 1)), np.float64),
    )


def _compose(
    translation: NDArray[np.float64], rotation: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The matrix ``[4, 4]`` of a translation, a quaternion x y z w and a scale."""
    matrix = np.eye(4)
    x, y, z, w = rotation
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= scale
    matrix[:3, 3] = translation
    return matrix


def _instances(node: dict[str, Any], numbers: Numbers) -> list[NDArray[np.float64]]:
    """The transforms of a node's instances within it; one that changes nothing if it has none."""
    instancing = node.get("extensions", {}).get(_INSTANCING)
    if instancing is None:
        return [np.eye(4)]
    given = instancing["attributes"]
    parts = {
        key: numbers.floats(given[key], shape)
        for key, shape in (("TRANSLATION", "VEC3"), ("ROTATION", "VEC4"), ("SCALE", "VEC3"))
        if key in given
    }
    lengths = {len(part) for part in parts.values()}
    if len(lengths) != 1 or max(lengths) > _MOST_NODES:
        raise MediaError(
            numbers.name,
            f"instances of {sorted(lengths)} transforms",
            f"as many of each, at most {_MOST_NODES}",
            "export it without instancing",
        )
    length = lengths.pop()
    plain = {"TRANSLATION": (0.0, 0, 0), "ROTATION": (0.0, 0, 0, 1), "SCALE": (1.0, 1, 1)}
    columns = [parts.get(key, np.tile(values, (length, 1))) for key, values in plain.items()]
    return [_compose(*rows) for rows in zip(*columns, strict=True)]


def _points(primitive: dict[str, Any], weights: list[float], numbers: Numbers) -> NDArray[np.float64]:
    """The positions ``[n, 3]`` of a primitive, with its morph targets applied as much as ``weights`` say."""
    position = primitive["attributes"]["POSITION"]
    if "bufferView" not in numbers.document["accessors"][position]:
        numbers.compressed(primitive)
    points = numbers.floats(position, "VEC3")
    targets = primitive.get("targets", [])
    if any(weights[len(targets) :]):
        raise MediaError(
            numbers.name,
            f"{len(weights)} morph weights for {len(targets)} targets",
            "a target for each weight",
            "export it without morph targets",
        )
    for weight, target in zip(weights, targets, strict=False):  # weights that are left out are 0
        if weight and "POSITION" in target:
            points = points + float(weight) * numbers.floats(target["POSITION"], "VEC3")
    return points


def _skinned(
    points: NDArray[np.float64],
    primitive: dict[str, Any],
    skin: dict[str, Any],
    world: dict[int, NDArray[np.float64]],
    numbers: Numbers,
) -> NDArray[np.float64]:
    """Points where the joints put them: the weighted mean of what each joint's matrix makes of a point."""
    if not all(joint in world for joint in skin["joints"]):
        raise MediaError(numbers.name, "joints outside the scene", "joints in it", "export it without a skin")
    matrices = np.stack([world[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        inverse = numbers.floats(skin["inverseBindMatrices"], "MAT4").reshape(-1, 4, 4).transpose(0, 2, 1)
        matrices = matrices @ inverse[: len(matrices)]
    moved, total = np.zeros_like(points), np.zeros((len(points), 1))
    attributes = primitive["attributes"]
    for number in count():
        if f"JOINTS_{number}" not in attributes:
            break
        joints = numbers.whole(attributes[f"JOINTS_{number}"], "VEC4")
        weights = numbers.floats(attributes[f"WEIGHTS_{number}"], "VEC4")
        total += weights.sum(axis=1, keepdims=True)
        for begin in range(0, len(points), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            for joint, weight in zip(joints[block].T, weights[block].T, strict=True):
                matrix = matrices[joint]
                placed = np.einsum("nij,nj->ni", matrix[:, :3, :3], points[block]) + matrix[:, :3, 3]
                moved[block] += weight[:, None] * placed
    if not (total > 0).all():
        raise MediaError(
            numbers.name, "vertices that no joint moves", "weights above 0", "export it without a skin"
        )
    return moved / total


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
