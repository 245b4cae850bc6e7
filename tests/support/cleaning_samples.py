"""Made-up data for the tests of cleaning: pictures, sources and an encoder that need nobody's weights."""

import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagebind_llm.common.errors import BadSample
from imagebind_llm.data.sources.base import Record, SourceSettings
from imagebind_llm.data.sources.captions import caption_record

THINGS = ("dog", "cat", "ship", "truck", "bird", "horse", "frog", "plane", "house", "tree", "boat", "lamp")
PLACES = ("garden", "street", "harbour", "field", "kitchen", "forest", "desert", "station", "valley", "room")
COLOURS = ("red", "green", "blue", "yellow", "white", "black", "brown", "grey", "orange", "purple")


@lru_cache(maxsize=512)
def picture(seed: int, side: int = 64) -> Image.Image:
    """A smooth pattern with some texture; other seeds give other pictures."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    fine = rng.normal(0, 6, (side, side, 3))
    values = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float64) + fine
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def caption(seed: int) -> str:
    """A caption that hardly any other seed has."""
    rng = np.random.default_rng((seed, 1))
    words = [rng.choice(part) for part in (COLOURS, THINGS, COLOURS, PLACES)]
    return f"a {words[0]} {words[1]} in front of a {words[2]} {words[3]}, number {seed}"


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


class MadeUpSource:
    """Numbered samples that exist only when they are read."""

    def __init__(self, count: int, side: int = 64, bad_every: int = 0, repeat: int = 0) -> None:
        self.name = "made up"
        self.fingerprint = f"{count}-{side}-{bad_every}-{repeat}"
        self._count, self._side, self._bad_every, self._repeat = count, side, bad_every, repeat

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> Record:
        """Some are broken, some show what was shown before."""
        key = f"made-up:{index}"
        if self._bad_every and index % self._bad_every == 7:
            raise BadSample(key, "broken on purpose")
        seed = index // 2 if self._repeat and index % self._repeat == 1 else index
        return caption_record(
            key, self.name, encoded(picture(seed, self._side)), caption(index), "Describe it"
        )


class MadeUpStream:
    """The same, one after the other."""

    def __init__(self, count: int) -> None:
        self._source = MadeUpSource(count, bad_every=25)
        self.name, self.fingerprint = "stream", self._source.fingerprint

    def stream(self, start: int = 0) -> Iterator[Record | BadSample]:
        """From ``start`` on."""
        for index in range(start, len(self._source)):
            try:
                yield self._source.read(index)
            except BadSample as bad:
                yield bad


class MadeUpEncoder:
    """A fixed random projection of pixels (of a picture and its mirror image) and of letters."""

    batch_size = 16
    fingerprint = "made-up"

    def __init__(self) -> None:
        self._pixels = np.random.default_rng(0).normal(size=(12 * 12 * 3, 24)).astype(np.float32)
        self._letters = np.random.default_rng(1).normal(size=(256, 24)).astype(np.float32)

    def prepare(self, image: Image.Image) -> list[float]:
        """Few pixels; not an array, which would stand for an embedding."""
        return np.asarray(image.resize((12, 12), Image.Resampling.BOX), np.float32).ravel().tolist()

    def images(self, tensors: Sequence[list[float]]) -> np.ndarray:
        """``[n, 24]`` unit rows."""
        values = np.array(tensors, np.float32)
        squares = values.reshape(-1, 12, 12, 3)
        even = (squares + squares[:, :, ::-1]).reshape(len(values), -1)
        return _unit((even - even.mean(1, keepdims=True)) @ self._pixels)

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """``[n, 24]`` unit rows."""
        counts = [np.bincount(np.frombuffer(c.encode(), np.uint8), minlength=256) for c in captions]
        return _unit(np.array(counts, np.float32) @ self._letters)


def settings_of(path: Path | str = "nowhere", kind: Any = "parquet") -> SourceSettings:
    """Settings to go with a made-up source."""
    return SourceSettings(kind, str(path))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
