"""Which reader a point cloud or mesh needs, by its content."""

import re
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import coordinates, is_array_file, read_array
from imagebind_llm.media.limits import Limits
from imagebind_llm.media.tables import read_table

_NO_FACES = np.zeros((0, 3), np.int64)


class Shape(NamedTuple):
    """``vertices [n, 3]`` float64 and ``faces [m, 3]`` int64 (none for a cloud)."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64] = _NO_FACES


def read_shape(data: bytes, name: str, limits: Limits) -> Shape:
    """The points, and triangles if any, of a file.

    Raises:
        MediaError: no known format, damaged, or more than ``limits.max_points`` vertices or faces.
    """
    kind = shape_kind(data, name)
    try:
        shape = _read(kind, data, name, limits)
    except MediaError:
        raise
    except Exception as error:  # whatever a torn or forged file makes a parser stumble over
        raise MediaError(
            name, f"a damaged {kind} file ({type(error).__name__}: {error})", "a complete one", "save it anew"
        ) from error
    check_count(max(len(shape.vertices), len(shape.faces)), name, limits)
    if len(shape.faces) and not 0 <= shape.faces.min() <= shape.faces.max() < len(shape.vertices):
        raise MediaError(
            name,
            f"a face that names vertex {shape.faces.max()} or {shape.faces.min()}",
            f"0 to {len(shape.vertices) - 1}",
            "save it anew",
        )
    return shape


def shape_kind(data: bytes, name: str) -> str:
    """``array``, ``ply``, ``glb``, ``pcd``, ``off``, ``stl``, ``obj``, or ``table`` for everything else."""
    head = data[:512]
    if is_array_file(head):
        return "array"
    if head.startswith(b"ply") and head[3:4] in b"\r\n":
        return "ply"
    if head.startswith(b"glTF"):
        return "glb"
    if re.search(rb"(?m)^(# \.PCD|VERSION |FIELDS )", head):
        return "pcd"
    if re.match(rb"[NC]*OFF\b|OFF\d", head.lstrip()):
        return "off"
    if _is_binary_stl(data) or re.match(rb"\s*solid\b", head):
        return "stl"
    suffix = PurePath(name).suffix.lower()
    if suffix in (".stl", ".obj"):
        return suffix[1:]
    return "obj" if re.search(rb"(?m)^[ \t]*v[ \t]+[-+.\dni]", data[: 1 << 20]) else "table"


def check_count(count: int, name: str, limits: Limits) -> None:
    """Refuse more points or faces than allowed."""
    if count > limits.max_points:
        raise MediaError(
            name,
            f"{count} points or faces",
            f"at most {limits.max_points}",
            "thin it or raise Limits.max_points",
        )


def _read(kind: str, data: bytes, name: str, limits: Limits) -> Shape:
    if kind == "array":
        values = read_array(data, name, limits, ("points", "xyz", "vertices", "pc", "data"))
        values = coordinates(values, name)
        check_count(len(values), name, limits)
        return Shape(values.astype(np.float64))
    if kind == "table":
        return Shape(coordinates(read_table(data, name, limits, pts_header=True), name))
    from imagebind_llm.media import glb, meshes, pcd, ply

    readers = {
        "ply": ply.read_ply,
        "glb": glb.read_glb,
        "pcd": pcd.read_pcd,
        "off": meshes.read_off,
        "stl": meshes.read_stl,
        "obj": meshes.read_obj,
    }
    with np.errstate(all="ignore"):
        return Shape(*readers[kind](data, name, limits))


def _is_binary_stl(data: bytes) -> bool:
    return len(data) > 84 and len(data) == 84 + 50 * int.from_bytes(data[80:84], "little")
