"""Samples side by side: a row for each task, with its name, what was asked for, and what the judge saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imagebind_llm.common.files import atomic_write
from nano_lab.world.concepts import CONCEPTS

EACH = 10
"""Drawings in a row."""
_SIDE = 96
"""Of a drawing on the sheet, pixels: three times its own."""
_GAP, _FRAME, _LINE, _TEXT = 16, 4, 18, 14
_WHITE, _INK, _RIGHT, _WRONG = "white", "#222222", "#228833", "#ee6677"


@dataclass(frozen=True)
class Row:
    """Drawings ``pixels [n, H, W, 3]`` of a task, the ``labels [n, k]`` that were right, and what the judge
    has ``seen [n]``."""

    name: str
    pixels: np.ndarray
    labels: np.ndarray
    seen: np.ndarray


def draw_sheet(rows: Sequence[Row], path: Path, each: int = EACH) -> None:
    """Write ``each`` drawings of every row, evenly spread over it, as a PNG.

    A drawing has a green frame where the judge sees what was asked for, else a red one. Below it stands what
    was asked for, and in brackets what the judge sees instead.
    """
    font = ImageFont.load_default(_TEXT)
    step = _SIDE + 2 * _FRAME + _GAP
    tall = _LINE + step - _GAP + _LINE + _GAP
    sheet = Image.new("RGB", (_GAP + each * step, _GAP + len(rows) * tall), _WHITE)
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        top = _GAP + number * tall
        pen.text((_GAP, top), row.name, _INK, font)
        for place, one in enumerate(_spread(len(row.seen), each)):
            pixels, labels, seen = row.pixels[one], row.labels[one], row.seen[one]
            left, below = _GAP + place * step, top + _LINE
            right = int(seen) in labels.tolist()
            edge = (left, below, left + _SIDE + 2 * _FRAME - 1, below + _SIDE + 2 * _FRAME - 1)
            pen.rectangle(edge, _RIGHT if right else _WRONG)
            drawing = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
            sheet.paste(drawing, (left + _FRAME, below + _FRAME))
            words = _words(labels, int(seen))
            pen.text((left, edge[3] + 2), words, _RIGHT if right else _WRONG, _fitting(words, font, step))
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")


def _spread(count: int, each: int) -> list[int]:
    """At most ``each`` numbers below ``count``, in equal steps; nothing here chooses nice ones."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(each, count))})


def _words(labels: np.ndarray, seen: int) -> str:
    asked = "+".join(CONCEPTS[label].name for label in dict.fromkeys(labels.tolist()))
    return asked if seen in labels.tolist() else f"{asked} ({CONCEPTS[seen].name})"


def _fitting(
    words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int
) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font, smaller where the words would run into the next ones."""
    wide = font.getlength(words)
    if wide <= room - 2:
        return font
    return ImageFont.load_default(max(7, int(_TEXT * (room - 2) / wide)))
