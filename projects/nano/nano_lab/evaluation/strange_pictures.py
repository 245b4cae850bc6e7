"""Pictures from outside nano's world that no training saw: other photographs, heat, faces, print, stamps."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imagebind_llm.common.errors import UserError, require
from imagebind_llm.common.modality import Modality
from imagebind_llm.media import MediaSettings, load_media
from nano_lab.evaluation.imagenet import outside
from nano_lab.evaluation.sets import RawSet
from nano_lab.world.concepts import UNCLEAR
from nano_lab.world.copies import copied
from nano_lab.world.photographs import shows_known
from nano_lab.world.tables import FLICKR8K, read_columns

FLICKR = "photographs of people and places (Flickr8k, test)"
IMAGENET_CHOOSING = "photographs of other things (ImageNet, first half of the classes)"
IMAGENET = "photographs of other things (ImageNet, second half)"
IMAGENET_SMALL = "the same, made small and stored as CIFAR-10's copies are"
THERMAL = "infrared cut-outs, as pictures (HIT-UAV)"
FACES = "faces, shaded"
PRINT = "printed words"
STAMPS = "Tux Paint stamps"
_MADE = 100
_SIDE = 96
_SMALLEST = 16  # pixels of a cut-out's shorter side


def strange_pictures(data: Path, settings: MediaSettings, seed: int, cap: int) -> Iterator[RawSet]:
    """The sets whose data are at hand, each of at most ``cap`` pictures."""
    makers: dict[str, Any] = {
        FLICKR: lambda rng: _flickr(data),
        IMAGENET_CHOOSING: lambda rng: _imagenet(data, 0),
        IMAGENET: lambda rng: _imagenet(data, 1),
        IMAGENET_SMALL: lambda rng: [
            copied(Image.open(io.BytesIO(file))) for file in _imagenet(data, 1)[:cap]
        ],
        THERMAL: lambda rng: _thermal(data),
        FACES: lambda rng: [_face(rng) for _ in range(min(cap, _MADE))],
        PRINT: lambda rng: [_words(rng) for _ in range(min(cap, _MADE))],
        STAMPS: lambda rng: _stamps(data / "tux-paint"),
    }
    for number, (name, make) in enumerate(makers.items()):
        found = make(np.random.default_rng((seed, 300 + number)))[:cap]
        if found:
            tensors = [load_media(Modality.IMAGE, picture, settings) for picture in found]
            yield RawSet(name, Modality.IMAGE, np.full(len(tensors), UNCLEAR, np.int64), tensors)


def _flickr(data: Path) -> list[bytes]:
    if not (data / FLICKR8K / "test.parquet").is_file():
        return []
    columns = read_columns(data, FLICKR8K, "test", ("image", "captions"))
    rows = zip(columns["image"], columns["captions"], strict=True)
    return [picture for picture, captions in rows if not shows_known(captions)]


def _imagenet(data: Path, half: int) -> list[bytes]:
    if not (data / "imagenet_sample" / "test.parquet").is_file():
        return []
    columns = read_columns(data, "imagenet_sample", "test", ("image", "class_index"))
    rows = sorted(zip(columns["class_index"], columns["image"], strict=True), key=lambda row: int(row[0]))
    return [picture for index, picture in rows if outside(int(index))][half::2]


def _thermal(data: Path) -> list[Image.Image]:
    """People and bicycles; cars are things nano knows."""
    if not (data / "hit_uav_thermal" / "test.parquet").is_file():
        return []
    columns = read_columns(data, "hit_uav_thermal", "test", ("image", "boxes", "labels"))
    found = []
    for file, boxes, labels in zip(columns["image"], columns["boxes"], columns["labels"], strict=True):
        picture = None
        for (left, top, width, height), label in zip(boxes, labels, strict=True):
            if label not in ("person", "bicycle") or min(width, height) < _SMALLEST:
                continue
            if picture is None:
                with Image.open(io.BytesIO(file)) as opened:
                    picture = opened.convert("RGB")
            half = 0.7 * max(width, height)
            x, y = left + width / 2, top + height / 2
            found.append(picture.crop((round(x - half), round(y - half), round(x + half), round(y + half))))
    return found


def _face(rng: np.random.Generator) -> np.ndarray:
    """A head as a shaded solid under a lamp, computed pixel by pixel: no line is drawn."""
    y, x = np.mgrid[-1.0 : 1.0 : _SIDE * 1j, -1.0 : 1.0 : _SIDE * 1j]
    x, y = x - rng.uniform(-0.1, 0.1), y - rng.uniform(-0.1, 0.1)
    wide, tall = rng.uniform(0.45, 0.65), rng.uniform(0.6, 0.85)
    reach = (x / wide) ** 2 + (y / tall) ** 2
    depth = np.sqrt(np.clip(1.0 - reach, 0.0, None))
    nose = 0.35 * np.exp(-((x / 0.07) ** 2) - ((y - 0.08) / 0.16) ** 2)
    slope_y, slope_x = np.gradient(depth + nose, 2.0 / _SIDE)
    lamp = rng.uniform(-0.7, 0.7, 2)
    light = (1.0 - slope_x * lamp[0] - slope_y * lamp[1]) / np.sqrt(1.0 + slope_x**2 + slope_y**2)
    skin = np.array([1.0, rng.uniform(0.7, 0.85), rng.uniform(0.55, 0.75)]) * rng.uniform(0.35, 0.9)
    ground = rng.uniform(0.0, 1.0, 3)
    inside = (reach < 1.0)[..., None]
    picture = np.where(inside, light.clip(0.1, 1.3)[..., None] * skin, ground * (1.0 - 0.2 * y[..., None]))
    hair = inside & ((y < -0.45 * tall + rng.uniform(-0.1, 0.1)) | (reach > 0.9))[..., None]
    picture = np.where(hair, rng.uniform(0.0, 0.5) * np.array([1.0, 0.8, 0.6]), picture)
    for side in (-1.0, 1.0):
        eye = ((x - side * 0.4 * wide) / 0.11) ** 2 + ((y + 0.15) / 0.055) ** 2
        white, pupil = np.exp(-(eye**2))[..., None], np.exp(-((2.2 * eye) ** 2))[..., None]
        picture = picture * (1 - white) + 0.95 * white
        picture = picture * (1 - pupil) + 0.05 * pupil
    lips = np.exp(-((x / 0.2) ** 4) - ((y - 0.42 - 0.3 * x**2) / 0.045) ** 2)[..., None]
    picture = picture * (1 - lips) + np.array([0.7, 0.2, 0.2]) * lips
    return np.round(picture.clip(0.0, 1.0) * 255.0).astype(np.uint8)


_TEXTS = ("EXIT", "Open", "SALE", "Hello", "Menu", "bread", "STOP", "Taxi", "street", "Push", "CAFE", "Hotel")


def _words(rng: np.random.Generator) -> Image.Image:
    """A sign in one of the fonts that come with matplotlib; training printed in another."""
    fonts = Path(require("matplotlib", "train", "printing words").get_data_path()) / "fonts" / "ttf"
    names = ("DejaVuSans.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono.ttf", "STIXGeneralItalic.ttf")
    shade = int(rng.integers(0, 2)) * 215
    ground = (shade + 20, shade + int(rng.integers(10, 40)), shade + int(rng.integers(10, 40)))
    picture = Image.new("RGB", (_SIDE, _SIDE), ground)
    font = ImageFont.truetype(str(fonts / names[int(rng.integers(len(names)))]), int(rng.integers(18, 34)))
    ink = (255 - ground[0],) * 3
    text = "\n".join(_TEXTS[i] for i in rng.integers(0, len(_TEXTS), int(rng.integers(1, 4))))
    ImageDraw.Draw(picture).text((4, int(rng.integers(4, 30))), text, ink, font)
    return picture


def _stamps(folder: Path) -> list[bytes]:
    """Drawings and photographs of things, if ``imagebind-llm data fetch tux-paint`` has brought them."""
    listing = folder / "dataset.json"
    if not listing.is_file():
        return []
    try:
        images = json.loads(listing.read_text(encoding="utf-8"))["images"]
        told = [
            (folder / item.get("filepath", "") / item["filename"], [s["raw"] for s in item["sentences"]])
            for item in images
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{str(listing)!r} is no list of captions ({error!r}); fetch it again") from None
    return [path.read_bytes() for path, captions in told if path.is_file() and not shows_known(captions)]
