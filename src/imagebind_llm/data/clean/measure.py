"""Samples → measured shards, each sample once. Goes on behind the last shard that is there."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from imagebind_llm.common.errors import BadSample, CleanError, TrainingDataError
from imagebind_llm.data.clean import pictures
from imagebind_llm.data.clean.encode import Encoder
from imagebind_llm.data.clean.measured import THUMBNAIL_SIDE, Measured
from imagebind_llm.data.clean.sample import Sample, sample_of, storable
from imagebind_llm.data.mixture import samples
from imagebind_llm.data.sources.base import Record, Source, StreamingSource

_Row = dict[str, Any]
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object was in memory: part of some decoders' messages, and different in every run."""
_BAD_FIRST = 20
"""Unreadable samples met before their share is judged on the way: one among the first ten says little."""


class _Readable:
    """Counts unreadable samples, whether measured now or by an earlier run; holds little but two numbers."""

    def __init__(self, source: str, max_unreadable: float) -> None:
        self._source, self._most = source, max_unreadable
        self._tried = self._bad = 0
        self._last = ""

    def count(self, key: str, error: str | None) -> None:
        """One sample, readable without an ``error``.

        Raises:
            TrainingDataError: too many are not.
        """
        self._tried += 1
        if error is None:
            return
        self._bad += 1
        self._last = f"{key}: {error}"
        if self._bad >= _BAD_FIRST:
            self._judge("the first ")

    def finish(self) -> None:
        """All samples were counted, so the share is judged however few they are.

        Raises:
            TrainingDataError: too many are not readable.
        """
        self._judge("")

    def _judge(self, which: str) -> None:
        if self._bad > self._most * self._tried:
            raise TrainingDataError(
                f"{self._source}: {self._bad} of {which}{self._tried} samples are bad, more than the "
                f"allowed share {self._most:g}; the last: {self._last}; mend the data or raise "
                "max_unreadable=…"
            )


def measure(
    source: Source | StreamingSource,
    measured: Measured,
    encoder: Encoder | None,
    shard_rows: int,
    max_unreadable: float,
    progress: bool = False,
) -> int:
    """Measure what is not measured yet.

    Args:
        encoder: None = no embeddings.
        shard_rows: samples in a shard; memory holds one shard of rows, and pictures one batch at a time.
        max_unreadable: the run stops when a larger share of the samples cannot be read.

    Returns:
        Samples taken over from an earlier run.

    Raises:
        TrainingDataError: too many samples cannot be read.
    """
    from tqdm import tqdm

    sizes = measured.sizes()
    taken = sum(sizes)
    readable = _Readable(source.name, max_unreadable)
    for table in measured.tables(["key", "error"]):
        for key, error in zip(table["key"].to_pylist(), table["error"].to_pylist(), strict=True):
            readable.count(key, error)
    if measured.complete:
        readable.finish()
        return taken
    total = len(source) if isinstance(source, Source) else None
    items = samples(source, taken)
    with tqdm(total=total, initial=taken, unit="sample", desc="measure", disable=not progress) as bar:
        while chunk := _measure_shard(islice(items, shard_rows), encoder, bar.update):
            for row in chunk:
                readable.count(row["key"], row.get("error"))
            measured.append(chunk)
            if len(chunk) < shard_rows:
                break
    measured.finish()
    readable.finish()
    return taken


def _measure_shard(
    items: Iterable[Record | BadSample], encoder: Encoder | None, advance: Callable[[int], Any]
) -> list[_Row]:
    rows: list[_Row] = []
    for batch in _batches(items, encoder.batch_size if encoder else 64):
        waiting: list[tuple[_Row, Any]] = []
        for item in batch:
            try:
                if isinstance(item, BadSample):
                    raise item
                sample = sample_of(item)
            except BadSample as bad:
                rows.append({"key": storable(bad.key), "error": _ADDRESS.sub("", storable(bad.reason))})
            else:
                rows.append(_measure_one(sample))
                if encoder is not None and sample.image is not None:
                    waiting.append((rows[-1], encoder.prepare(sample.image)))
                elif encoder is not None and sample.embedding is not None:
                    waiting.append((rows[-1], np.asarray(sample.embedding, np.float32)))
            advance(1)
        if encoder is not None and waiting:
            _embed(waiting, encoder)
    return rows


def _measure_one(sample: Sample) -> _Row:
    row: _Row = {
        "key": storable(sample.key),
        "caption": storable(sample.caption),
        "text_hash": hashlib.sha256(sample.dialog.encode("utf-8", "surrogatepass")).digest()[:16],
        "width": 0,
        "height": 0,
    }
    if sample.image is not None:
        row |= {
            "width": sample.image.width,
            "height": sample.image.height,
            "contrast": pictures.contrast(sample.image),
            "pixel_hash": pictures.content_hash(sample.image),
            "near_hash": pictures.perceptual_hash(sample.image),
            "signature": pictures.signature(sample.image),
            "thumbnail": pictures.thumbnail(sample.image, THUMBNAIL_SIDE),
        }
    elif sample.embedding is not None:
        vector = np.ascontiguousarray(sample.embedding, np.float32)
        row["pixel_hash"] = hashlib.sha256(vector.tobytes()).digest()[:16]
    return row


def _embed(waiting: list[tuple[_Row, Any]], encoder: Encoder) -> None:
    """Fill in ``agreement`` and ``embedding`` of one batch: rows with a prepared picture or a vector each."""
    texts = encoder.texts([row["caption"] for row, _ in waiting])
    prepared = [given for _, given in waiting if not isinstance(given, np.ndarray)]
    encoded = iter(encoder.images(prepared)) if prepared else iter(())
    for (row, given), text in zip(waiting, texts, strict=True):
        vector = given if isinstance(given, np.ndarray) else next(encoded)
        if vector.shape != text.shape:
            raise CleanError(
                f"{row['key']}: an embedding of {len(vector)} numbers, the text encoder gives {len(text)}; "
                "name the model that embedded the source with encoder.model=…"
            )
        row["agreement"] = float(vector @ text)
        row["embedding"] = vector.astype(np.float16).tobytes()


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
