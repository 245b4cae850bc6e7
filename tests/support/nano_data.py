"""Nano's data sets with the schema of the real ones: drawn digits, plain colour photos, tones, boxes."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image, ImageDraw

from nano_lab.world.concepts import DIGITS, OBJECTS

STROKES = {
    "zero": [(9, 5), (6, 10), (6, 18), (10, 23), (16, 23), (20, 17), (20, 9), (16, 5), (9, 5)],
    "one": [(14, 4), (14, 24)],
    "two": [(7, 8), (12, 4), (19, 7), (18, 13), (7, 23), (21, 23)],
    "seven": [(6, 5), (21, 5), (12, 24)],
}


def draw_digit(name: str) -> np.ndarray:
    picture = Image.new("L", (28, 28))
    ImageDraw.Draw(picture).line(STROKES.get(name, STROKES["two"]), fill=255, width=3, joint="curve")
    return np.asarray(picture)


def encoded(picture: np.ndarray, kind: str) -> dict[str, object]:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format=kind)
    return {"bytes": buffer.getvalue(), "path": f"x.{kind.lower()}"}


def sound(wave: np.ndarray, rate: int) -> dict[str, object]:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format="FLAC", subtype="PCM_16")
    return {"bytes": buffer.getvalue(), "path": "x.flac"}


def write(root, dataset: str, split: str, columns: dict[str, list]) -> None:
    (root / dataset).mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), root / dataset / f"{split}.parquet")


def build(root, split: str, copies: int) -> None:
    rng = np.random.default_rng(len(split))
    names = [digit.name for digit in DIGITS] * copies
    write(
        root,
        "mnist",
        split,
        {
            "image": [encoded(draw_digit(name), "PNG") for name in names],
            "label": names,
            "index": list(range(100, 100 + len(names))),
        },
    )
    names = [thing.name for thing in OBJECTS] * copies
    photos = [np.full((32, 32, 3), 10 + 20 * i, np.uint8) for i, _ in enumerate(OBJECTS)] * copies
    write(
        root,
        "cifar10",
        split,
        {
            "image": [encoded(photo, "PNG") for photo in photos],
            "label": names,
            "index": list(range(len(names))),
        },
    )
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)
    spoken = [digit.name for digit in DIGITS]
    write(
        root,
        "fsdd",
        split,
        {"audio": [sound(tone, 8000)] * 10, "label": spoken, "speaker": ["a", "b"] * 5},
    )
    call = rng.normal(0.0, 0.1, 48_000)
    write(
        root,
        "animals",
        split,
        {"audio": [sound(call, 16_000)] * 2, "label": ["cat", "dog"], "group": [1, 2]},
    )
    write(
        root,
        "animals_extra",
        split,
        {"audio": [sound(call[:8000], 16_000)], "label": ["cow"], "group": [1]},
    )
    clouds = [rng.uniform(-0.5, 0.5, (1024, 3)).astype("<f2").tobytes() for _ in range(2)]
    write(root, "shapes", split, {"points": clouds, "label": ["airplane", "ship"], "group": [4, 5]})
