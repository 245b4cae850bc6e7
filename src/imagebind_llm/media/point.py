"""Point clouds and meshes → ``[count, 3]`` float32.

Reads PLY, OBJ, OFF, STL, GLB, XYZ, PTS, PCD, NPY and NPZ. Rows of numbers are x y z, and may go on with an
intensity, a colour, a normal (4, 6, 7 or 9 columns), which are left out. A mesh is sampled evenly over its
surface; a file that holds only points is taken as it is. More points than the encoder takes are drawn at
random (fixed seed), fewer are repeated in order. By default the result is centred and fits the unit sphere,
like the clouds Point-Bind shipped; the original loader itself does neither, which
``PointSettings.normalise=False`` gives.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import as_array, coordinates
from imagebind_llm.media.limits import Limits
from imagebind_llm.media.settings import PointSettings
from imagebind_llm.media.source import MediaSource, is_encoded, name_of, read_source


def load_point(source: MediaSource, settings: PointSettings, limits: Limits | None = None) -> torch.Tensor:
    """``[count, 3]`` of a path, bytes or array ``[n, 3]`` (or 4, 6, 7, 9 columns, x y z first).

    Raises:
        MediaError: not a known format, damaged, too many points, or no finite point.
    """
    limits = limits or Limits()
    name = name_of(source)
    if not is_encoded(source):
        return points_to_tensor(as_array(source, name), settings, name)
    from imagebind_llm.media.shapes import read_shape

    vertices, faces = read_shape(read_source(source, limits), name, limits)
    # a file whose faces leave out most of its vertices is a cloud with a few stray faces
    if settings.surface and 2 * len(np.unique(faces)) >= len(vertices):
        sampled = _sample_surface(vertices, faces, settings)
        if sampled is not None:
            vertices = sampled
    return points_to_tensor(vertices, settings, name)


def points_to_tensor(
    points: NDArray[np.floating] | torch.Tensor, settings: PointSettings, name: str = "points"
) -> torch.Tensor:
    """``[count, 3]`` of ``[n, 3]`` coordinates (others, and points that are not finite, are left out)."""
    values = coordinates(as_array(points, name), name).astype(np.float64)
    values = values[np.isfinite(values).all(axis=1)]
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


def _sample_surface(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], settings: PointSettings
) -> NDArray[np.float64] | None:
    """``count`` points spread evenly over the triangles, or None if they have no area."""
    scale = float(np.abs(vertices[np.isfinite(vertices)]).max(initial=0.0))
    if scale == 0.0:
        return None
    with np.errstate(all="ignore"):
        corners = (vertices / scale)[faces]
        edges = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        area = np.linalg.norm(np.cross(*edges), axis=1)
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
    first, second, third = (corners[chosen, corner] for corner in range(3))
    return (first + u * (second - first) + v * (third - first)) * scale
