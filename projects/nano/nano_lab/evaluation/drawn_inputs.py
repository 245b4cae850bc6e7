"""Pictures as users have them: turned, small and off-centre digits, other papers, transparent grounds, large
photographs."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagebind_llm.common.modality import Modality
from imagebind_llm.evaluation.metrics import Score
from imagebind_llm.evaluation.report import percent, table
from imagebind_llm.media import MediaSettings, load_media
from nano_lab.evaluation.imagenet import inside
from nano_lab.evaluation.model import AssistantUnderTest
from nano_lab.evaluation.sets import RawSet, embed_set, settings_of
from nano_lab.evaluation.variants import HEADLINE, about, naming_turns
from nano_lab.grammar import is_doubt, judge
from nano_lab.world.copies import copied
from nano_lab.world.senses import World
from nano_lab.world.tables import label_ids, read_columns

Make = Callable[[Image.Image, np.random.Generator], Image.Image]
_INK, _PAPER = (25, 25, 30), (250, 248, 240)


def _inked(
    ink: Image.Image, pen: tuple[int, int, int], paper: tuple[int, int, int], side: int
) -> Image.Image:
    """A digit (its ink as brightness) in colours, scaled to ``side`` pixels."""
    mask = ink.resize((side, side), Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", mask.size, pen), Image.new("RGB", mask.size, paper), mask)


def _placed(ink: Image.Image, rng: np.random.Generator, share: float, centred: bool) -> Image.Image:
    """A digit that takes ``share`` of a sheet of 128 pixels."""
    side = round(128 * share)
    corner = (128 - side) // 2 if centred else None
    left, top = (corner, corner) if corner is not None else rng.integers(0, 128 - side + 1, 2).tolist()
    sheet = Image.new("RGB", (128, 128), _PAPER)
    sheet.paste(_inked(ink, _INK, _PAPER, side), (left, top))
    return sheet


def _transparent(ink: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Dark ink on nothing, as a drawing program exports it."""
    side = 112
    picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    picture.putalpha(ink.resize((side, side), Image.Resampling.BICUBIC))
    return picture


def _turned(degrees: float) -> Make:
    def make(ink: Image.Image, rng: np.random.Generator) -> Image.Image:
        angle = degrees if rng.random() < 0.5 else -degrees
        return _inked(ink.rotate(angle, Image.Resampling.BICUBIC), _INK, _PAPER, 112)

    return make


DIGITS: dict[str, Make] = {
    "white on black": lambda ink, rng: _inked(ink, (255, 255, 255), (0, 0, 0), 112),
    "black on white": lambda ink, rng: _inked(ink, (0, 0, 0), (255, 255, 255), 112),
    "dark on paper": lambda ink, rng: _inked(ink, _INK, _PAPER, 112),
    "blue on yellow": lambda ink, rng: _inked(ink, (30, 40, 170), (250, 230, 90), 112),
    "dark on transparent": _transparent,
    "turned by 15 degrees": _turned(15.0),
    "turned by 30 degrees": _turned(30.0),
    "turned by 45 degrees": _turned(45.0),
    "half as large": lambda ink, rng: _placed(ink, rng, 0.5, True),
    "a third as large": lambda ink, rng: _placed(ink, rng, 0.35, True),
    "off centre, two thirds as large": lambda ink, rng: _placed(ink, rng, 0.66, False),
    "off centre, half as large": lambda ink, rng: _placed(ink, rng, 0.5, False),
}
"""Ways a handwritten digit arrives, of its ink on 28 × 28 pixels."""


def _whole(picture: Image.Image) -> Image.Image:
    """The whole photograph on a square, its borders filled with its own mean colour."""
    side = max(picture.size)
    mean = picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    square = Image.new("RGB", (side, side), mean)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def _middle(picture: Image.Image) -> Image.Image:
    """The middle of a photograph, 70 % of its shorter side."""
    side = round(0.7 * min(picture.size))
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


PHOTOGRAPHS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as read (centre square)": lambda picture: picture,
    "whole, filled up to a square": _whole,
    "middle cut out first": _middle,
    "made small, stored as CIFAR-10's copies are": copied,
}
"""Ways a large photograph arrives."""


def evaluate_inputs(model: AssistantUnderTest, data: Path, seed: int, items: int) -> dict[str, Any]:
    """Name digits drawn and photographs taken in these ways; at most ``items`` of each."""
    settings = settings_of(model.bot.processor.media)
    world = World(data, "test", settings)
    columns = read_columns(world.root, "mnist", "test", ("image", "label"))
    inks = [Image.open(io.BytesIO(file)).convert("L") for file in columns["image"][:items]]
    labels = label_ids(columns["label"][:items])
    found: dict[str, Any] = {"digits": {}, "photographs": {}}
    for number, (name, make) in enumerate(DIGITS.items()):
        rng = np.random.default_rng((seed, 400 + number))
        tensors = [load_media(Modality.IMAGE, _png(make(ink, rng)), settings) for ink in inks]
        found["digits"][name] = _named(model, RawSet(f"digit: {name}", Modality.IMAGE, labels, tensors), seed)
    photographs = known_photographs(data, items)
    if photographs:
        things = np.array([concept for concept, _ in photographs], np.int64)
        for name, change in PHOTOGRAPHS.items():
            tensors = [load_media(Modality.IMAGE, change(picture), settings) for _, picture in photographs]
            raw = RawSet(f"photograph: {name}", Modality.IMAGE, things, tensors)
            found["photographs"][name] = _named(model, raw, seed)
    return found


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def known_photographs(data: Path, items: int) -> list[tuple[int, Image.Image]]:
    """ImageNet's photographs of nano's things, where they are at hand. Most of them show dogs and birds."""
    if not (data / "imagenet_sample" / "test.parquet").is_file():
        return []
    columns = read_columns(data, "imagenet_sample", "test", ("image", "class_index"))
    rows = [
        (concept, Image.open(io.BytesIO(file)).convert("RGB"))
        for file, index in zip(columns["image"], columns["class_index"], strict=True)
        if (concept := inside(int(index))) is not None
    ]
    return rows[:items]


def large_photographs(data: Path, settings: MediaSettings, items: int) -> list[RawSet]:
    """ImageNet's photographs of nano's things, as they are read; none where they are not at hand."""
    found = known_photographs(data, items)
    if not found:
        return []
    tensors = [load_media(Modality.IMAGE, picture, settings) for _, picture in found]
    labels = np.array([concept for concept, _ in found], np.int64)
    return [RawSet("large photographs (ImageNet)", Modality.IMAGE, labels, tensors)]


def _named(model: AssistantUnderTest, raw: RawSet, seed: int) -> dict[str, Any]:
    found = embed_set(model, raw)
    answers = model.answer(about(naming_turns(seed, raw.name, raw.labels, *HEADLINE), found.conditions()))
    right = [judge(text, (int(label),)) for text, label in zip(answers, raw.labels, strict=True)]
    return {
        "right": Score(sum(right), len(right)).to_dict(),
        "doubts": Score(sum(is_doubt(text) for text in answers), len(right)).to_dict(),
    }


def input_tables(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    parts = ["## Inputs as users have them\n"]
    for title, key in (("handwritten digit", "digits"), ("large photograph (ImageNet)", "photographs")):
        rows = [
            [name, row["right"]["n"], percent(row["right"]), percent(row["doubts"])]
            for name, row in results[key].items()
        ]
        if rows:
            parts.append(table([title, "n", "named rightly", "doubts"], rows))
    return "\n".join(parts)
