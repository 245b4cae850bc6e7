"""Drawn pictures of things nano does not know: faces, printed words, small drawings, woven textures.

For training alone. The evaluation draws its own, another way (``evaluation.strange_pictures``).
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nano_lab.world.images import CANVAS

_SIDE = 96
"""Pixels of a drawing before it is scaled down, so that its edges are smooth."""
_LETTERS = "abcdefghijkmnpqrtuvwxyABCDEFGHJKLMNPQRTUVWXY"
"""Without the letters that may be read as digits."""
_Colour = tuple[int, int, int]


def drawings(rng: np.random.Generator, count: int) -> np.ndarray:
    """``count`` drawings, uint8 ``[count, 32, 32, 3]``."""
    kinds = (_face, _face, _words, _scene, _figure, _weave)
    out = np.empty((count, CANVAS, CANVAS, 3), np.uint8)
    for row in range(count):
        picture = kinds[int(rng.integers(len(kinds)))](rng)
        if rng.random() < 0.5:
            angle = float(rng.uniform(-25.0, 25.0))
            picture = picture.rotate(angle, Image.Resampling.BILINEAR, fillcolor=picture.getpixel((0, 0)))
        small = np.asarray(picture.resize((CANVAS, CANVAS), Image.Resampling.BOX), np.float32)
        if rng.random() < 0.5:
            small = small + rng.uniform(0.0, 12.0) * rng.standard_normal(small.shape, np.float32)
        out[row] = small.clip(0, 255).round().astype(np.uint8)
    return out


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> _Colour:
    red, green, blue = rng.integers(low, high, 3).tolist()
    return red, green, blue


def _sheet(rng: np.random.Generator) -> Image.Image:
    """A ground to draw on: white, black or any colour."""
    roll = rng.random()
    ground = (255, 255, 255) if roll < 0.25 else (0, 0, 0) if roll < 0.4 else _colour(rng)
    return Image.new("RGB", (_SIDE, _SIDE), ground)


def _face(rng: np.random.Generator) -> Image.Image:
    """A head with eyes, a mouth and perhaps hair, painted or in lines."""
    picture = _sheet(rng)
    draw = ImageDraw.Draw(picture)
    x, y = rng.uniform(38, 58, 2)
    wide, tall = rng.uniform(18, 36), rng.uniform(22, 44)
    shade = int(rng.integers(60, 245))
    skin = (shade, int(shade * rng.uniform(0.65, 0.9)), int(shade * rng.uniform(0.5, 0.8)))
    outline = rng.random() < 0.35
    ink = _colour(rng, 0, 110)
    line = int(rng.integers(2, 5))
    if not outline and rng.random() < 0.7:  # hair, behind the head
        top = rng.uniform(4, 14)
        draw.ellipse(
            (x - wide - 5, y - tall - top, x + wide + 5, y + tall * rng.uniform(0, 0.9)), _colour(rng)
        )
    draw.ellipse(
        (x - wide, y - tall, x + wide, y + tall), None if outline else skin, ink, line if outline else 0
    )
    eye_x, eye_y, size = wide * rng.uniform(0.3, 0.55), y - tall * rng.uniform(0.05, 0.35), rng.uniform(2, 6)
    for side in (-1, 1):
        cx = x + side * eye_x
        if rng.random() < 0.6:
            draw.ellipse((cx - size * 1.6, eye_y - size, cx + size * 1.6, eye_y + size), (250, 250, 250))
        draw.ellipse((cx - size * 0.7, eye_y - size * 0.7, cx + size * 0.7, eye_y + size * 0.7), ink)
        if rng.random() < 0.6:
            draw.line((cx - size * 1.6, eye_y - size * 2, cx + size * 1.6, eye_y - size * 2), ink, 2)
    if rng.random() < 0.8:
        draw.line((x, eye_y + 4, x - rng.uniform(0, 4), y + tall * 0.2), ink, 2)
    mouth, lip = y + tall * rng.uniform(0.4, 0.6), wide * rng.uniform(0.25, 0.55)
    bend = rng.uniform(2, 9)
    arc = (15, 165) if rng.random() < 0.7 else (195, 345)
    draw.arc((x - lip, mouth - bend, x + lip, mouth + bend), *arc, fill=ink, width=line)
    return picture


def _words(rng: np.random.Generator) -> Image.Image:
    """Lines of printed letters."""
    picture = _sheet(rng)
    draw = ImageDraw.Draw(picture)
    size = int(rng.integers(12, 42))
    font = ImageFont.load_default(size)
    red, green, blue = picture.getpixel((0, 0))  # type: ignore[misc]
    dark = red + green + blue > 380
    ink = _colour(rng, 0, 100) if dark else _colour(rng, 160, 256)
    for line in range(int(rng.integers(1, 1 + max(1, 90 // size)))):
        letters = "".join(_LETTERS[i] for i in rng.integers(0, len(_LETTERS), int(rng.integers(2, 9))))
        draw.text((float(rng.uniform(2, 14)), 4 + line * size * 1.1), letters, ink, font)
    return picture


def _scene(rng: np.random.Generator) -> Image.Image:
    """A house, a tree, a flower, a sun or a table, in plain colours."""
    picture = _sheet(rng)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, int(rng.integers(55, 80)), _SIDE, _SIDE), _colour(rng))
    for _ in range(int(rng.integers(1, 4))):
        x, y, size = rng.uniform(20, 76), rng.uniform(30, 70), rng.uniform(10, 26)
        kind = int(rng.integers(5))
        if kind == 0:
            draw.rectangle((x - size, y, x + size, y + size * 1.3), _colour(rng))
            draw.polygon([(x - size * 1.2, y), (x, y - size), (x + size * 1.2, y)], _colour(rng))
            draw.rectangle((x - size / 4, y + size / 2, x + size / 4, y + size * 1.3), _colour(rng))
        elif kind == 1:
            draw.rectangle((x - 3, y, x + 3, y + size * 1.5), (90, 60, 30))
            draw.ellipse((x - size, y - size, x + size, y + size * 0.5), _colour(rng, 20, 180))
        elif kind == 2:
            for turn in np.linspace(0.0, 2 * np.pi, int(rng.integers(5, 9)), endpoint=False):
                px, py = x + size * 0.6 * np.cos(turn), y + size * 0.6 * np.sin(turn)
                draw.ellipse((px - size / 3, py - size / 3, px + size / 3, py + size / 3), _colour(rng))
            draw.ellipse((x - size / 3, y - size / 3, x + size / 3, y + size / 3), _colour(rng))
        elif kind == 3:
            for turn in np.linspace(0.0, 2 * np.pi, 10, endpoint=False):
                draw.line((x, y, x + size * np.cos(turn), y + size * np.sin(turn)), (250, 210, 30), 2)
            draw.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), (250, 210, 30))
        else:
            draw.rectangle((x - size, y, x + size, y + 5), _colour(rng))
            for leg in (-0.9, 0.75):
                draw.rectangle((x + leg * size, y, x + leg * size + 4, y + size), _colour(rng))
    return picture


def _figure(rng: np.random.Generator) -> Image.Image:
    """Geometry: stars, polygons, arrows, hearts, crossing lines, filled or in outline."""
    picture = _sheet(rng)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 4))):
        x, y, size = rng.uniform(28, 68), rng.uniform(28, 68), rng.uniform(12, 38)
        corners = int(rng.integers(3, 9))
        turns = rng.uniform(0, 6.3) + np.linspace(0.0, 2 * np.pi, 2 * corners, endpoint=False)
        inner = 1.0 if rng.random() < 0.5 else rng.uniform(0.3, 0.7)
        reach = size * np.where(np.arange(2 * corners) % 2, inner * np.cos(np.pi / corners), 1.0)
        points = list(
            zip((x + reach * np.cos(turns)).tolist(), (y + reach * np.sin(turns)).tolist(), strict=True)
        )
        if rng.random() < 0.6:
            draw.polygon(points, _colour(rng))
        else:
            draw.line([*points, points[0]], _colour(rng), int(rng.integers(2, 6)), "curve")
    return picture


def _weave(rng: np.random.Generator) -> Image.Image:
    """A regular texture: bricks, dots, scales or cloth."""
    picture = _sheet(rng)
    draw = ImageDraw.Draw(picture)
    step, colours = int(rng.integers(6, 26)), [_colour(rng) for _ in range(3)]
    kind = int(rng.integers(3))
    for number, top in enumerate(range(0, _SIDE, step)):
        shift = step if kind == 0 and number % 2 else 0
        for place, left in enumerate(range(-shift, _SIDE, 2 * step if kind == 0 else step)):
            box = (left, top, left + (2 * step if kind == 0 else step) - 2, top + step - 2)
            colour = colours[(place + number) % (2 if kind == 2 else 3)] if kind else colours[0]
            (draw.rectangle if kind != 1 else draw.ellipse)(box, colour)
    return picture
