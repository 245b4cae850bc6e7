"""Tiny data sets in the shape of the shared ones, and the words of five classes, for measuring a tiny
mini."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image
from support.tiny_bundle import TinyBundle, write_tiny_bundle

CLASSES = ("tench", "goldfish", "white shark", "tiger shark", "hammerhead")
"""Of the tiny EfficientNet's five."""
CAPTIONS = ["A dog runs .", "The dog is running on grass .", "A brown dog .", "Dog outside .", "a dog plays"]


@dataclass(frozen=True)
class MiniWorld:
    """A tiny mini and what it is measured on.

    Attributes:
        bundle: the model and its parts.
        data: in the shape of the shared data.
        words: of the classes.
        work: what a build would leave.
    """

    bundle: TinyBundle
    data: Path
    words: Path
    work: Path


def jpeg(number):
    """A picture of its own colour."""
    stream = io.BytesIO()
    random = np.random.default_rng(number)
    pixels = random.integers(0, 255, (3, 3, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((40, 40)).save(stream, "JPEG")
    return {"bytes": stream.getvalue(), "path": f"{number}.jpg"}


def flac(number):
    """Half a second of its own tone."""
    stream = io.BytesIO()
    wave = np.sin(np.arange(8000) * 0.02 * (number + 3)) * 0.3
    soundfile.write(stream, wave, 16_000, format="FLAC")
    return {"bytes": stream.getvalue(), "path": f"{number}.flac"}


def write_table(folder, split, rows):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")


def sounds(labels):
    return [
        {"audio": flac(number), "label": label, "group": number // 2} for number, label in enumerate(labels)
    ]


def write_data(data):
    pictures = [{"image": jpeg(n), "captions": CAPTIONS, "file": f"{n}.jpg"} for n in range(6)]
    write_table(data / "flickr8k", "test", pictures)
    write_table(
        data / "imagenet_sample",
        "test",
        [
            {"image": jpeg(n), "label": name, "wnid": f"n{n}", "class_index": n}
            for n, name in enumerate(CLASSES)
        ],
    )
    write_table(
        data / "cifar10", "test", [{"image": jpeg(n), "label": ("cat", "dog")[n % 2]} for n in range(8)]
    )
    for split, count in (("train", 4), ("test", 12)):
        write_table(data / "animals", split, sounds(["cat", "dog", "bird", "frog"] * (count // 4)))
        write_table(data / "animals_extra", split, sounds(["cow", "donkey"] * (count // 2)))


def write_words(words):
    words.mkdir(parents=True)
    lines = [
        {
            "index": number,
            "wnid": f"n{number}",
            "names": [name],
            "gloss": "a fish",
            "more_general": [
                {"wnid": "n01482330", "steps": 1, "names": ["shark"]},
                {"wnid": "n00015388", "steps": 2, "names": ["animal"]},
            ],
        }
        for number, name in enumerate(CLASSES)
    ]
    (words / "classes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_work(work):
    """Held-out furniture."""
    (work / "furniture").mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = ["image,point,label,split,category"]
    for number in range(8):
        cloud = random.normal(size=(64, 3)).astype(np.float32) + number % 2
        np.save(work / "furniture" / f"{number}.npy", cloud)
        (work / "furniture" / f"{number}.jpg").write_bytes(jpeg(number)["bytes"])
        label = ("Office chair", "Bed 2", "Lamp", "Lamp")[number % 4]
        category = ("Office", "Bedroom", "Bedroom", "Lights")[number % 4]
        split = "train" if number < 4 else "test"
        lines.append(f"{number}.jpg,{number}.npy,{label},{split},{category}")
    (work / "furniture" / "pairs.csv").write_text("\n".join(lines) + "\n")


def write_world(root):
    world = MiniWorld(
        write_tiny_bundle(root / "bundle", cache_rows=30), root / "data", root / "words", root / "work"
    )
    write_data(world.data)
    write_words(world.words)
    write_work(world.work)
    return world
