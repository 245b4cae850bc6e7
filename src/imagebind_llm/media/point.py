"""Point clouds and meshes → ``[count, 3]`` float32.

Reads PLY, OBJ, OFF, STL, GLB, XYZ, PTS, PCD, NPY and NPZ; the content says which. Rows of numbers are x y z,
and may go on with an intensity, a colour, a normal (4, 6, 7 or 9 columns), which are left out. A mesh is
sampled evenly over its surface. A file that holds only points is taken as it is. More points than the encoder
takes are drawn at random (fixed seed), fewer are repeated in order. By default the result is centred and fits
the unit sphere, like the clouds Point-Bind shipped. The original loader does neither, which
``PointSettings.normalise=False`` gives.
"""

import codecs
import re
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import (
    as_array,
    axes_by_name,
    coordinates,
    has_plain_header,
    is_array_file,
    plain_text,
    read_array,
    read_header,
    read_table,
    tells_nothing,
)
from imagebind_llm.media.base import Limits, MediaSource, is_encoded, name_of, read_source
from imagebind_llm.media.budget import check_time, reserve
from imagebind_llm.media.settings import PointSettings

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
    data = data.removeprefix(codecs.BOM_UTF8)
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
    data = data.removeprefix(codecs.BOM_UTF8)
    head = data[:512]
    if is_array_file(head):
        return "array"
    if head.startswith(b"ply") and head[3:4] in b"\r\n":
        return "ply"
    if head.startswith(b"glTF"):
        return "glb"
    head = plain_text(head)
    if re.search(rb"(?m)^(# \.PCD|VERSION |FIELDS )", head):
        return "pcd"
    if re.match(rb"[NC]*OFF\b|OFF\d", head.lstrip()):
        return "off"
    if _is_binary_stl(data) or re.match(rb"\s*solid\b", head):
        return "stl"
    suffix = PurePath(name).suffix.lower()
    if suffix in (".stl", ".obj"):
        return suffix[1:]
    return "obj" if re.search(rb"(?m)^[ \t]*v[ \t]+[-+.\dni]", plain_text(data[: 1 << 20])) else "table"


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
        reserve(values.nbytes + 2 * 8 * values.size, name, limits)
        return Shape(values.astype(np.float64, copy=False))
    if kind == "table":
        table = read_table(data, name, limits, pts_header=True)
        header = read_header(data, name)
        axes = axes_by_name(header) if len(header) == table.shape[1] else None
        named = len(header) == table.shape[1] and has_plain_header(data, name)
        if axes is None and named and not all(map(tells_nothing, header)):
            raise MediaError(
                name,
                f"columns called {', '.join(header)}",
                "x, y and z among them",
                "rename them, or leave the names out",
            )
        return Shape(coordinates(table, name) if axes is None else table[:, axes])
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


def load_point(source: MediaSource, settings: PointSettings, limits: Limits | None = None) -> torch.Tensor:
    """``[count, 3]`` of a path, bytes or array ``[n, 3]`` (or 4, 6, 7, 9 columns, x y z first).

    Raises:
        MediaError: not a known format, damaged, too many points, or no finite point.
    """
    limits = limits or Limits()
    name = name_of(source)
    if not is_encoded(source):
        values = coordinates(as_array(source, name), name)
        check_count(len(values), name, limits)
        reserve(2 * 8 * values.size, name, limits)
        return points_to_tensor(values, settings, name)

    vertices, faces = read_shape(read_source(source, limits), name, limits)
    # a file whose faces leave out most of its vertices is a cloud with a few stray faces
    if settings.surface and 2 * _used(faces, len(vertices)) >= len(vertices):
        sampled = _sample_surface(vertices, faces, settings)
        if sampled is not None:
            vertices = sampled
    return points_to_tensor(vertices, settings, name)


def _used(faces: NDArray[np.int64], vertices: int) -> int:
    """How many of the vertices belong to a face."""
    used = np.zeros(vertices, np.bool_)
    used[faces.reshape(-1)] = True
    return int(used.sum())


def points_to_tensor(
    points: NDArray[np.floating] | torch.Tensor, settings: PointSettings, name: str = "points"
) -> torch.Tensor:
    """``[count, 3]`` of ``[n, 3]`` coordinates (others, and points that are not finite, are left out)."""
    values = coordinates(as_array(points, name), name).astype(np.float64, copy=False)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        values = values[finite]
    if not len(values):
        raise MediaError(name, "no point with finite coordinates", "at least one", "clean the data")
    values = _take(values, settings)
    if settings.normalise:
        values = _to_unit_sphere(values)
    elif np.abs(values).max() > np.finfo(np.float32).max:
        raise MediaError(
            name, f"a coordinate of {np.abs(values).max():.3g}", "float32 range", "rescale the cloud"
        )
    return torch.from_numpy(values.astype(np.float32))


def _take(points: NDArray[np.float64], settings: PointSettings) -> NDArray[np.float64]:
    """Exactly ``count`` points: a random choice in the file's order, or all of them repeated."""
    if len(points) > settings.count:
        chosen = np.random.default_rng(settings.seed).choice(len(points), settings.count, replace=False)
        return points[np.sort(chosen)]
    return points[np.arange(settings.count) % len(points)]


def _to_unit_sphere(points: NDArray[np.float64]) -> NDArray[np.float64]:
    # brought to 1 first, so that neither a sum nor a square can overflow or vanish
    points = points / max(float(np.abs(points).max()), np.finfo(np.float64).tiny)
    points = points - points.mean(axis=0)
    radius = float(np.sqrt((points**2).sum(axis=1)).max())
    return points / radius if radius > 1e-12 else np.zeros_like(points)


_FACES_AT_ONCE = 1 << 18


def _sample_surface(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], settings: PointSettings
) -> NDArray[np.float64] | None:
    """``count`` points spread evenly over the triangles, or None if they have no area."""
    scale = float(np.abs(vertices[np.isfinite(vertices)]).max(initial=0.0))
    if scale == 0.0:
        return None
    area = np.empty(len(faces))
    with np.errstate(all="ignore"):
        for start in range(0, len(faces), _FACES_AT_ONCE):
            check_time()
            some = slice(start, start + _FACES_AT_ONCE)
            corners = vertices[faces[some]] / scale
            edges = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
            area[some] = np.linalg.norm(np.cross(*edges), axis=1)
    area[~np.isfinite(area)] = 0.0
    total = float(area.sum())
    if total <= 0.0:
        return None
    rng = np.random.default_rng(settings.seed)
    cumulative = np.cumsum(area) / total
    chosen = np.minimum(np.searchsorted(cumulative, rng.random(settings.count)), len(faces) - 1)
    u, v = rng.random((2, settings.count, 1))
    outside = (u + v) > 1  # fold the other half of the parallelogram back into the triangle
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    with np.errstate(all="ignore"):
        corners = vertices[faces[chosen]] / scale
    first, second, third = (corners[:, corner] for corner in range(3))
    return (first + u * (second - first) + v * (third - first)) * scale
