"""From a picture of a digit back to the path of the pen.

The ink is thinned to a line (Zhang and Suen 1984), whose pixels are put in order by a walk that prefers to go
straight on, and the path is resampled evenly. Lifts of the pen become straight moves.
"""

from __future__ import annotations

import numpy as np

KNOTS = 96
"""Points of a path."""

_MOST_PIXELS = 120  # of a thinned digit; a 20 pixel high "8" has about 60
_TOUCHING = 1.45  # pixels: direct and diagonal neighbours
_STRAIGHTNESS = 0.8  # pixels a full turn of direction costs


def pen_paths(ink: np.ndarray, chunk: int = 512) -> np.ndarray:
    """Pen paths ``[B, KNOTS, 2]`` of ink ``[B, H, W]`` (0..1): x right, y up, -1..1 over the picture.

    A picture without ink gives a path that rests in the middle.
    """
    out = np.zeros((len(ink), KNOTS, 2), np.float32)
    for first in range(0, len(ink), chunk):
        part = slice(first, first + chunk)
        line = thin(ink[part] > 0.4)
        walked, lengths = _walk(line)
        for row, length in enumerate(lengths):
            if length:
                out[first + row] = _resample(walked[row, :length], ink.shape[1:])
    return out


def thin(ink: np.ndarray) -> np.ndarray:
    """Thin boolean pictures ``[B, H, W]`` to lines one pixel wide, all at once."""
    line = np.pad(ink, ((0, 0), (1, 1), (1, 1))).astype(np.uint8)
    core = line[:, 1:-1, 1:-1]
    active = np.arange(len(line))
    while len(active):
        before = core[active].sum((1, 2), dtype=np.int64)
        for table in _REMOVABLE:
            part = line[active]
            gone = table[_neighbour_code(part)] & part[:, 1:-1, 1:-1]
            part[:, 1:-1, 1:-1] -= gone
            line[active] = part
        active = active[core[active].sum((1, 2), dtype=np.int64) < before]
    return core.astype(bool)


def _neighbour_code(padded: np.ndarray) -> np.ndarray:
    """The eight neighbours of each inner pixel as bits: north first, then clockwise."""
    rows, columns = padded.shape[1], padded.shape[2]
    code = np.zeros((len(padded), rows - 2, columns - 2), np.uint8)
    for bit, (down, right) in enumerate(_AROUND):
        view = padded[:, 1 + down : rows - 1 + down, 1 + right : columns - 1 + right]
        code |= view << bit
    return code


_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def _removal_tables() -> tuple[np.ndarray, np.ndarray]:
    """For each neighbour code, whether Zhang and Suen's first and second pass remove the pixel."""
    first, second = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
    for code in range(256):
        p = [code >> bit & 1 for bit in range(8)]
        changes = sum(p[k] == 0 and p[(k + 1) % 8] == 1 for k in range(8))
        if not 2 <= sum(p) <= 6 or changes != 1:
            continue
        north, east, south, west = p[0], p[2], p[4], p[6]
        first[code] = north * east * south == 0 and east * south * west == 0
        second[code] = north * east * west == 0 and north * south * west == 0
    return first, second


_REMOVABLE = _removal_tables()


def _walk(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order the pixels of lines ``[B, H, W]``: (x, y) ``[B, P, 2]``, valid up to the lengths ``[B]``."""
    count = len(line)
    pixels, present = _pixel_lists(line)
    batch = np.arange(count)
    x, y = (np.where(present, pixels[..., axis], -9.0).astype(np.int8) for axis in (0, 1))
    touching = np.abs(x[:, :, None] - x[:, None, :]) <= 1
    touching &= np.abs(y[:, :, None] - y[:, None, :]) <= 1
    touching &= present[:, None, :]
    ends = present & (touching.sum(2) <= 2)  # itself and one neighbour
    current = _first_pixels(pixels, present, ends)
    free = present.copy()
    free[batch, current] = False
    # Closed lines are drawn anticlockwise from the top.
    loops = ~ends[batch, current]
    heading = np.where(loops[:, None], np.array([-1.0, 0.0]), 0.0).astype(np.float32)
    walked = np.zeros((count, pixels.shape[1], 2), np.float32)
    walked[:, 0] = pixels[batch, current]
    lengths = present.sum(1).clip(None, 1)
    for step in range(1, pixels.shape[1]):
        going = np.asarray(free.any(1))
        if not going.any():
            break
        here = pixels[batch, current]
        way = pixels - here[:, None]
        right, down = way[..., 0], way[..., 1]
        far = np.sqrt(right * right + down * down) + np.float32(1e-6)
        bend = 1.0 - (right * heading[:, :1] + down * heading[:, 1:]) / far
        following = np.where(free, far + _STRAIGHTNESS * bend, np.inf).argmin(1)
        beside = (far <= _TOUCHING) & touching[batch, following]  # corner pixels the walk cuts off
        free &= ~(beside & going[:, None])
        free[batch, following] = False
        move = way[batch, following] / far[batch, following, None]
        heading = 0.6 * heading + 0.4 * move
        heading /= np.linalg.norm(heading, axis=1, keepdims=True) + 1e-6
        current = np.where(going, following, current)
        walked[:, step] = pixels[batch, current]
        lengths += going
    return walked, lengths


def _pixel_lists(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Set pixels as (x, y) ``[B, P, 2]`` with a mask of those present ``[B, P]``."""
    most = min(_MOST_PIXELS, max(int(line.sum((1, 2)).max(initial=0)), 1))
    pixels = np.zeros((len(line), most, 2), np.float32)
    present = np.zeros((len(line), most), bool)
    picture, y, x = np.nonzero(line)
    place = np.arange(len(picture)) - np.searchsorted(picture, picture)
    kept = place < most
    pixels[picture[kept], place[kept], 0], pixels[picture[kept], place[kept], 1] = x[kept], y[kept]
    present[picture[kept], place[kept]] = True
    return pixels, present


def _first_pixels(pixels: np.ndarray, present: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Where the pen starts: the line's end nearest to the top left, or the top of a line closed there."""
    height = np.where(present, pixels[:, :, 1], np.inf)
    top, bottom = height.min(1), np.where(present, pixels[:, :, 1], 0.0).max(1)
    top = np.minimum(top, bottom)  # also where there is no ink at all
    # The tail of a "9" is where the pen leaves, not where it starts.
    upper = ends & (height <= (top + 0.6 * (bottom - top))[:, None])
    place = pixels[:, :, 1] + 0.35 * pixels[:, :, 0]
    from_end = np.where(upper, place, np.inf).argmin(1)
    return np.where(upper.any(1), from_end, height.argmin(1))


def _resample(path: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Even spacing along the path, smoothed over about two pixels, in units of half the picture."""
    step = np.sqrt((np.diff(path, axis=0) ** 2).sum(1))
    along = np.concatenate([[0.0], np.cumsum(step)])
    wanted = np.linspace(0.0, along[-1], KNOTS)
    even = np.stack([np.interp(wanted, along, path[:, axis]) for axis in (0, 1)], 1)
    width = min(max(1.2 * KNOTS / max(along[-1], 1.0), 0.5), 6.0)
    offset = np.arange(-12, 13)
    taps = np.exp(-0.5 * (offset / width) ** 2)
    padded = np.concatenate([even[:1].repeat(12, 0), even, even[-1:].repeat(12, 0)])
    smooth = np.stack([np.convolve(padded[:, axis], taps / taps.sum(), "valid") for axis in (0, 1)], 1)
    half = np.array([shape[1], shape[0]]) / 2.0
    return (smooth + 0.5 - half) / half * np.array([1.0, -1.0])
