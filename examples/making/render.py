"""A small ray marcher: solids described by distance functions, lit by one sun, under a sky, on a ground."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

Distance = Callable[[np.ndarray], np.ndarray]
"""Points ``[n, 3]`` (x right, y up, z towards the viewer) → distance to a surface ``[n]``, < 0 inside."""

Colour = tuple[float, float, float]

_REACH = 2.3
"""Everything lies this near to the origin."""


@dataclass(frozen=True)
class Solid:
    """One part of a thing.

    Attributes:
        distance: where its surface is.
        colour: RGB in 0..1.
        shine: strength of the sun's reflection.
        mottle: how much the colour varies from place to place.
        blend: radius over which it melts into the parts before it.
    """

    distance: Distance
    colour: Colour
    shine: float = 0.15
    mottle: float = 0.06
    blend: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Solids, and what is around them.

    Attributes:
        solids: parts, all within a few units of the origin.
        ground: RGB of the ground at ``level``, or None: nothing but sky.
        level: height of the ground.
        rough: unevenness of the ground's colour; ``water`` makes it waves that mirror the sky instead.
        sky_high, sky_low: RGB of the sky overhead and at the horizon.
        clouds: 0 none … 1 many.
        eye, look: where the camera is and what it looks at; ``view`` is its field of view in degrees.
        sun: direction to the sun.
    """

    solids: Sequence[Solid]
    ground: Colour | None = (0.35, 0.42, 0.2)
    level: float = -1.0
    rough: float = 0.25
    water: bool = False
    sky_high: Colour = (0.3, 0.5, 0.85)
    sky_low: Colour = (0.75, 0.85, 0.95)
    clouds: float = 0.3
    eye: tuple[float, float, float] = (0.0, 0.4, 5.0)
    look: tuple[float, float, float] = (0.0, 0.0, 0.0)
    view: float = 36.0
    sun: tuple[float, float, float] = field(default=(-0.5, 0.8, 0.6))


def photograph(scene: Scene, rng: np.random.Generator, size: int = 256, blur: float = 0.9) -> Image.Image:
    """A picture of the scene with a slightly soft lens and grain."""
    origin, rays = _camera(scene, size)
    sun = _unit(np.array(scene.sun, np.float32))
    noise = _Noise(rng)
    colour, far = _surroundings(scene, origin, rays, sun, noise)
    hit, distance = _march(scene.solids, origin, rays, far)
    points = origin + rays[hit] * distance[hit, None]
    if len(points):
        colour[hit] = _shade(scene, points, rays[hit], sun, noise)
    picture = colour.reshape(size, size, 3).clip(0, 1) ** (1 / 1.8)
    picture = gaussian_filter(picture, (blur, blur, 0))
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    picture *= (1.0 - 0.08 * (rows**2 + columns**2))[..., None]
    grain = gaussian_filter(rng.normal(0.0, 1.0, (size, size, 3)), (0.7, 0.7, 0))
    picture += 0.02 * grain
    return Image.fromarray((picture.clip(0, 1) * 255).round().astype(np.uint8))


# --- distance functions


def ellipsoid(centre: Sequence[float], radii: Sequence[float], tilt: float = 0.0) -> Distance:
    """An ellipsoid, turned by ``tilt`` degrees in the x-y plane."""
    c, r = _row(centre), _row(radii)
    turn = _tilt(tilt)

    def distance(p: np.ndarray) -> np.ndarray:
        q = (p - c) @ turn
        k0, k1 = np.linalg.norm(q / r, axis=1), np.linalg.norm(q / r**2, axis=1)
        return k0 * (k0 - 1.0) / np.maximum(k1, 1e-9)

    return distance


def limb(a: Sequence[float], b: Sequence[float], ra: float, rb: float) -> Distance:
    """A rod from ``a`` to ``b`` with round ends, as thick as ``ra`` and ``rb``."""
    start, way = _row(a), _row(b) - _row(a)

    def distance(p: np.ndarray) -> np.ndarray:
        q = p - start
        share = (q @ way / (way @ way)).clip(0, 1)
        return np.linalg.norm(q - share[:, None] * way, axis=1) - (ra + (rb - ra) * share)

    return distance


def slab(
    outline: Sequence[tuple[float, float]],
    half: float,
    along: str = "z",
    centre: float = 0.0,
    round_: float = 0.03,
    taper: float = 0.0,
) -> Distance:
    """A plate: a polygon, ``half`` thick to either side along an axis, with rounded edges.

    The polygon lies in the x-y plane (``along="z"``), the x-z plane (``"y"``) or the z-y plane (``"x"``).
    ``taper`` narrows a plate along z towards the top (cars).
    """
    corners = np.array(outline, np.float32)
    plane, axis = {"z": ((0, 1), 2), "y": ((0, 2), 1), "x": ((2, 1), 0)}[along]

    def distance(p: np.ndarray) -> np.ndarray:
        flat = _polygon(p[:, plane], corners) + round_
        width = half - taper * (p[:, 1] - corners[:, 1].min()) if taper else half
        depth = np.abs(p[:, axis] - centre) - width + round_
        outside = np.hypot(np.maximum(flat, 0), np.maximum(depth, 0))
        return outside + np.minimum(np.maximum(flat, depth), 0) - round_

    return distance


def wheel(centre: Sequence[float], radius: float, half: float) -> Distance:
    """A disc standing upright, its axle along z."""
    c = _row(centre)

    def distance(p: np.ndarray) -> np.ndarray:
        q = p - c
        flat, depth = np.hypot(q[:, 0], q[:, 1]) - radius, np.abs(q[:, 2]) - half
        return np.minimum(np.maximum(flat, depth), 0) + np.hypot(np.maximum(flat, 0), np.maximum(depth, 0))

    return distance


def turned(distance: Distance, degrees: float, tilt: float = 0.0) -> Distance:
    """Turned about the upright axis, and tilted in the x-y plane before that."""
    angle = np.radians(degrees)
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32) @ _tilt(tilt)
    return lambda p: distance(p @ matrix)


def pose(solids: Sequence[Solid], degrees: float, tilt: float = 0.0) -> list[Solid]:
    """All parts of a thing turned together."""
    return [
        Solid(turned(part.distance, degrees, tilt), part.colour, part.shine, part.mottle, part.blend)
        for part in solids
    ]


def _tilt(degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]], np.float32)


def _row(values: Sequence[float]) -> np.ndarray:
    return np.array(values, np.float32)


def _polygon(p: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Signed distance to a polygon."""
    nearest = np.full(len(p), np.inf, np.float32)
    inside = np.zeros(len(p), bool)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        way, q = b - a, p - a
        share = (q @ way / (way @ way)).clip(0, 1)
        nearest = np.minimum(nearest, ((q - share[:, None] * way) ** 2).sum(1))
        crosses = (p[:, 1] >= a[1]) != (p[:, 1] >= b[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            at = a[0] + (p[:, 1] - a[1]) / (b[1] - a[1]) * way[0]
        inside ^= crosses & (p[:, 0] < at)
    return np.sqrt(nearest) * np.where(inside, -1.0, 1.0)


# --- light


class _Noise:
    """Smooth random fields over a plane and in space, from a few octaves of one random lattice."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._lattice = gaussian_filter(zoom(rng.normal(size=(128, 128)), 4, order=1, mode="grid-wrap"), 1.5)
        self._lattice /= self._lattice.std()

    def flat(self, x: np.ndarray, y: np.ndarray, scale: float, octaves: int = 4) -> np.ndarray:
        total = np.zeros(len(x))
        for octave in range(octaves):
            factor = scale * 2.0**octave * 4
            places = np.stack([y * factor + 71 * octave, x * factor + 17 * octave])
            total += map_coordinates(self._lattice, places, order=1, mode="grid-wrap") * 0.55**octave
        return total / 1.9

    def solid(self, p: np.ndarray, scale: float) -> np.ndarray:
        return (self.flat(p[:, 0] + 0.7 * p[:, 2] + 40, p[:, 1] + 40, scale) +
                self.flat(p[:, 2] + 80, p[:, 0] + p[:, 1] + 80, scale)) / 1.5  # fmt: skip


def _camera(scene: Scene, size: int) -> tuple[np.ndarray, np.ndarray]:
    eye = np.array(scene.eye, np.float32)
    ahead = _unit(np.array(scene.look) - eye)
    right = _unit(np.cross(ahead, [0.0, 1.0, 0.0]))
    up = np.cross(right, ahead)
    reach = np.tan(np.radians(scene.view / 2))
    rows, columns = np.mgrid[reach : -reach : size * 1j, -reach : reach : size * 1j]
    rays = ahead + columns.reshape(-1, 1) * right + rows.reshape(-1, 1) * up
    return eye, (rays / np.linalg.norm(rays, axis=1, keepdims=True)).astype(np.float32)


def _sky(scene: Scene, rays: np.ndarray, noise: _Noise) -> np.ndarray:
    height = rays[:, 1].clip(0, 1)[:, None]
    colour = np.array(scene.sky_low) + (np.array(scene.sky_high) - scene.sky_low) * np.sqrt(height).clip(0, 1)
    if scene.clouds:
        puff = noise.flat(rays[:, 0] * 1.2 + 9, rays[:, 1] * 2.0 + 9, 2.0, 5)
        cover = ((puff - 1.0 + 1.6 * scene.clouds) * 0.9).clip(0, 1)[:, None] * scene.clouds**0.5
        colour = colour + (0.93 - colour) * cover
    return colour


def _surroundings(
    scene: Scene, origin: np.ndarray, rays: np.ndarray, sun: np.ndarray, noise: _Noise
) -> tuple[np.ndarray, np.ndarray]:
    """Colour of what is seen where no solid is ``[n, 3]``, and how far away that is ``[n]``."""
    colour = _sky(scene, rays, noise)
    far = np.full(len(rays), 14.0)
    if scene.ground is None:
        return colour, far
    down = rays[:, 1] < -1e-4
    reach = (scene.level - origin[1]) / rays[down, 1]
    points = origin + rays[down] * reach[:, None]
    haze = (1.0 - np.exp(-reach / 40.0))[:, None]
    detail = np.exp(-reach / 14.0)
    if scene.water:
        slope = 0.11 * noise.flat(points[:, 0], points[:, 2] * 2.2, 0.9) * detail + 0.03 * detail
        mirrored = rays[down] * [1, -1, 1] + np.stack([slope, np.abs(slope), slope], 1)
        facing = (1.0 - (-rays[down, 1]).clip(0, 1)) ** 4
        own = np.array(scene.ground) * (1.0 + 1.6 * slope)[:, None]
        seen = own + (_sky(scene, _unit(mirrored), noise) - own) * (0.12 + 0.55 * facing)[:, None]
    else:
        spot = noise.flat(points[:, 0], points[:, 2] * 0.6, 1.1) * (0.3 + 0.7 * detail)
        seen = np.array(scene.ground) * (1.0 + scene.rough * spot)[:, None]
    near = np.hypot(points[:, 0], points[:, 2]) < 1.7 * _REACH
    dark = np.ones(len(points))
    dark[near] = _shadow(scene.solids, points[near] + _row((0, 2e-3, 0)), sun)
    strength = 0.35 if scene.water else 0.6
    seen = seen * (1.0 - strength * (1.0 - dark))[:, None]
    colour[down] = seen + (np.array(scene.sky_low) * 0.9 - seen) * haze
    far[down] = np.minimum(far[down], reach)
    return colour, far


def _nearest(solids: Sequence[Solid], p: np.ndarray) -> np.ndarray:
    total = np.full(len(p), np.inf, np.float32)
    for part in solids:
        total = _join(total, part.distance(p), part.blend)
    return total


def _join(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    if not blend:
        return np.minimum(a, b)
    overlap = np.maximum(blend - np.abs(a - b), 0.0) / blend
    return np.minimum(a, b) - np.where(np.isfinite(a), overlap**2 * blend / 4, 0.0)


def _march(
    solids: Sequence[Solid], origin: np.ndarray, rays: np.ndarray, far: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which rays hit a solid ``[n]``, and where ``[n]``."""
    # Only what passes through the ball that holds everything need be looked at, from where it enters.
    along = -(rays @ origin)
    inside = _REACH**2 - (origin @ origin - along**2)
    half = np.sqrt(np.maximum(inside, 0.0))
    distance, far = np.maximum(along - half, 0.1), np.minimum(far, along + half)
    hit = np.zeros(len(rays), bool)
    active = np.flatnonzero((inside > 0) & (distance < far))
    for _ in range(110):
        step = _nearest(solids, origin + rays[active] * distance[active, None])
        close = step < 2e-3
        hit[active[close]] = True
        distance[active] += np.where(close, 0.0, 0.8 * step)
        active = active[~close & (distance[active] < far[active])]
        if not len(active):
            break
    return hit, distance


def _shadow(solids: Sequence[Solid], points: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """Share of sunlight that reaches each point, with soft edges."""
    light, along = np.ones(len(points)), np.full(len(points), 0.03)
    active = np.arange(len(points))
    for _ in range(40):
        if not len(active):
            break
        gap = _nearest(solids, points[active] + sun * along[active, None])
        light[active] = np.minimum(light[active], (9.0 * gap / along[active]).clip(0, 1))
        along[active] += gap.clip(0.02, 0.4)
        active = active[(light[active] > 0.01) & (along[active] < 4.0)]
    return light


def _shade(scene: Scene, points: np.ndarray, rays: np.ndarray, sun: np.ndarray, noise: _Noise) -> np.ndarray:
    solids = scene.solids
    normal = np.empty_like(points)
    for axis in range(3):
        offset = np.zeros(3, np.float32)
        offset[axis] = 4e-3
        normal[:, axis] = _nearest(solids, points + offset) - _nearest(solids, points - offset)
    normal = _unit(normal)
    gaps = np.stack([part.distance(points) for part in solids], 1)
    weight = np.exp(-(gaps - gaps.min(1, keepdims=True)) / 0.012)
    weight /= weight.sum(1, keepdims=True)
    colour = weight @ np.array([part.colour for part in solids])
    shine = weight @ np.array([part.shine for part in solids])
    mottle = weight @ np.array([part.mottle for part in solids])
    colour = colour * (1.0 + mottle * noise.solid(points, 1.6))[:, None].clip(0.1, 2.0)
    direct = (normal @ sun).clip(0, 1) * _shadow(solids, points + normal * 0.02, sun)
    crevice = (_nearest(solids, points + normal * 0.12) / 0.12).clip(0.25, 1)
    above = 0.5 + 0.5 * normal[:, 1]
    below = np.array(scene.ground or scene.sky_low)
    ambient = below * 0.35 + (np.array(scene.sky_high) * 0.35 + 0.35 - below * 0.35) * above[:, None]
    half = _unit(sun - rays)
    gloss = shine * (normal * half).sum(1).clip(0, 1) ** 40 * (direct > 0)
    rim = shine * 0.6 * (1 - (-(normal * rays).sum(1)).clip(0, 1)) ** 3
    lit = colour * (direct[:, None] * [0.95, 0.9, 0.8] + ambient * crevice[:, None] * 0.75)
    return lit + gloss[:, None] + rim[:, None] * np.array(scene.sky_low)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)
