"""Handwritten digits: pen strokes of our own, and their ink on paper."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Stroke = list[tuple[float, float]]

STROKES: dict[str, list[Stroke]] = {
    "zero": [[(0.55, 0.03), (0.25, 0.16), (0.12, 0.5), (0.25, 0.87), (0.5, 0.97), (0.77, 0.84), (0.88, 0.5),
              (0.76, 0.14), (0.52, 0.03)]],
    "one": [[(0.34, 0.2), (0.54, 0.03), (0.53, 0.5), (0.5, 0.98)]],
    "two": [[(0.16, 0.24), (0.3, 0.06), (0.58, 0.04), (0.76, 0.22), (0.68, 0.48), (0.4, 0.76), (0.14, 0.96),
             (0.14, 0.96), (0.5, 0.93), (0.88, 0.95)]],
    "three": [[(0.18, 0.12), (0.46, 0.02), (0.76, 0.12), (0.74, 0.34), (0.42, 0.47), (0.42, 0.47),
               (0.74, 0.54), (0.84, 0.76), (0.6, 0.96), (0.3, 0.97), (0.12, 0.86)]],
    "four": [[(0.46, 0.03), (0.28, 0.34), (0.1, 0.62), (0.1, 0.62), (0.5, 0.62), (0.92, 0.6)],
             [(0.68, 0.3), (0.67, 0.65), (0.64, 0.99)]],
    "five": [[(0.28, 0.04), (0.25, 0.24), (0.22, 0.44), (0.22, 0.44), (0.52, 0.37), (0.8, 0.52), (0.82, 0.78),
              (0.58, 0.97), (0.3, 0.97), (0.12, 0.86)],
             [(0.28, 0.05), (0.55, 0.04), (0.84, 0.03)]],
    "six": [[(0.7, 0.04), (0.42, 0.18), (0.2, 0.5), (0.16, 0.78), (0.36, 0.97), (0.66, 0.95), (0.82, 0.76),
             (0.7, 0.55), (0.44, 0.54), (0.2, 0.72)]],
    "seven": [[(0.12, 0.08), (0.5, 0.06), (0.88, 0.05), (0.88, 0.05), (0.66, 0.45), (0.4, 0.98)]],
    "eight": [[(0.76, 0.18), (0.5, 0.03), (0.26, 0.18), (0.38, 0.4), (0.62, 0.54), (0.8, 0.76), (0.56, 0.97),
               (0.24, 0.86), (0.26, 0.66), (0.52, 0.46), (0.74, 0.28), (0.76, 0.18)]],
    "nine": [[(0.76, 0.22), (0.54, 0.04), (0.28, 0.14), (0.2, 0.36), (0.4, 0.5), (0.66, 0.4), (0.77, 0.2),
              (0.77, 0.2), (0.74, 0.58), (0.64, 0.98)]],
}  # fmt: skip
"""Points that the pen passes, x right, y down, in a box of height 1. A doubled point is a sharp corner."""

_WIDTH = 0.72  # of a digit, for height 1


def pen_lines(digit: str, rng: np.random.Generator, wobble: float = 0.012) -> list[np.ndarray]:
    """Smooth lines ``[n, 2]`` of a digit, x and y (down) within about ±0.5; each call writes a little
    differently."""
    slant, turn = rng.uniform(-0.12, 0.12), np.radians(rng.uniform(-5.0, 5.0))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [
        [1.0, slant],
        [0.0, 1.0],
    ]
    lines = []
    for stroke in STROKES[digit]:
        points = (np.array(stroke) - 0.5) * [_WIDTH, 1.0]
        moved = points + rng.normal(0.0, wobble, points.shape)
        for i in range(1, len(points)):  # both copies of a corner stay together
            if np.array_equal(points[i], points[i - 1]):
                moved[i] = moved[i - 1]
        lines.append(_spline(moved) @ matrix.T)
    return lines


def _spline(points: np.ndarray, steps: int = 24) -> np.ndarray:
    """A curve through all points (centripetal Catmull-Rom; doubled points are corners)."""
    pieces, start = [], 0
    for i in range(1, len(points) + 1):
        if i == len(points) or np.array_equal(points[i], points[i - 1]):
            part = points[start:i]
            start = i
            if len(part) > 1:
                pieces.append(_smooth(part, steps))
    return np.concatenate(pieces)


def _smooth(points: np.ndarray, steps: int) -> np.ndarray:
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0.0, 1.0, steps)[:, None]
    curve = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        curve.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
    return np.concatenate(curve)


def ink_of(lines: list[np.ndarray], size: int, height: float, width: float) -> np.ndarray:
    """Ink coverage ``[size, size]`` (0..1); digit ``height`` and pen ``width`` are shares of ``size``."""
    fine = 4 * size
    canvas = Image.new("L", (fine, fine))
    draw = ImageDraw.Draw(canvas)
    for line in lines:
        places = (line * height + 0.5) * fine
        # The pen presses harder in the middle of a stroke than where it lands and lifts.
        along = np.linspace(0.0, np.pi, len(places))
        for (x, y), press in zip(places, 0.86 + 0.14 * np.sin(along), strict=True):
            radius = width * fine / 2 * press
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX), np.float32) / 255.0


def pen_path(lines: list[np.ndarray], knots: int) -> np.ndarray:
    """One path ``[knots, 2]`` through all lines, evenly spaced, y up; lifts are straight moves."""
    path = np.concatenate(lines) * [1.0, -1.0]
    path = path[np.concatenate([[True], np.linalg.norm(np.diff(path, axis=0), axis=1) > 1e-9])]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    wanted = np.linspace(0.0, along[-1], knots)
    return np.stack([np.interp(wanted, along, path[:, axis]) for axis in (0, 1)], 1)


def on_paper(ink: np.ndarray, style: str, rng: np.random.Generator) -> Image.Image:
    """Ink on ``white`` (black pen), ``squared``, ``yellow`` or ``blue`` (marker on a whiteboard) paper, or
    chalk on a ``board``."""
    size = len(ink)
    pens = {"white": (17, 17, 20), "squared": (28, 42, 120), "yellow": (60, 36, 30), "board": (236, 236, 228),
            "marker": (24, 60, 190)}  # fmt: skip
    papers = {"white": (255, 255, 255), "squared": (244, 244, 238), "yellow": (250, 226, 110),
              "board": (38, 62, 50), "marker": (236, 238, 240)}  # fmt: skip
    paper = np.ones((size, size, 3)) * papers[style]
    if style == "squared":
        paper[:: size // 20] = paper[:, :: size // 20] = (206, 216, 228)
    coverage = ink.copy()
    if style == "board":
        grain = rng.random((size, size))
        coverage *= 0.72 + 0.28 * (grain > 0.25)
        smear = Image.fromarray((grain * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(size / 24))
        paper = paper + (np.asarray(smear, float)[..., None] - 127) * 0.8
    picture = paper + (np.array(pens[style]) - paper) * coverage[..., None]
    if style != "white":  # a photograph of the paper: uneven light, grain, a lens that is not perfect
        rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        light = (
            1.0
            + rng.uniform(-0.1, 0.1) * rows
            + rng.uniform(-0.1, 0.1) * columns
            - 0.05 * (rows**2 + columns**2)
        )
        picture = picture * light[..., None] + rng.normal(0.0, 3.0, picture.shape)
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    return image if style == "white" else image.filter(ImageFilter.GaussianBlur(0.8))
