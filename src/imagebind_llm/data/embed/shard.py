"""The work on one stretch of samples: a pure function of the job and the stretch, wherever it runs."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagebind_llm.common.errors import BadSample, TrainingDataError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.augment import random_resized_crop
from imagebind_llm.data.sources import open_source
from imagebind_llm.data.sources.base import (
    Embedded,
    Record,
    Source,
    SourceSettings,
    StreamingSource,
    digest,
    read_sample,
    replace_media,
)
from imagebind_llm.media.reading import load_medium

if TYPE_CHECKING:
    import torch

DTYPE = np.float16
"""Of stored embeddings: half the space, and a cosine to the exact vector of 1 - 1e-7."""


@dataclass(frozen=True)
class Job:
    """What is embedded, by what, and how; the same in every process.

    Attributes:
        sources: in order.
        encoder: an encoder's or a model's folder, ``nano`` or a hub id.
        views: augmented views of each picture; 0 = one view, as at inference.
        seed: of the augmentation.
        shard_rows: samples in a shard.
        batch_size: media encoded at once.
        device: ``auto``, ``cpu``, ``cuda:0``, ….
        dtype: ``auto``, ``float32``, ….
        index_folder: see :func:`imagebind_llm.data.sources.open_source`.
    """

    sources: tuple[SourceSettings, ...]
    encoder: str
    views: int = 0
    seed: int = 0
    shard_rows: int = 4096
    batch_size: int = 32
    device: str = "auto"
    dtype: str = "auto"
    index_folder: str | None = None

    @property
    def stored_views(self) -> int:
        """Embeddings kept of each medium."""
        return max(1, self.views)

    @cached_property
    def key(self) -> str:
        """Tells jobs apart."""
        return digest(asdict(self))

    def open(self, number: int) -> Source | StreamingSource:
        """Source ``number``."""
        folder = None if self.index_folder is None else Path(self.index_folder)
        return open_source(self.sources[number], folder)


@dataclass(frozen=True)
class Task:
    """Samples ``start … stop-1`` of a source; ``records`` brings them along where they come as a stream."""

    number: int
    source: int
    start: int
    stop: int
    records: tuple[Record | BadSample, ...] | None = None


@dataclass(frozen=True, eq=False)
class ShardResult:
    """What came of a task.

    Attributes:
        source: name.
        lines: one JSON object a good sample; its media are row numbers of ``vectors``.
        vectors: ``[views, media, D]`` float16.
        bad: key and reason of each bad sample.
    """

    task: Task
    source: str
    rows: int
    lines: bytes
    vectors: np.ndarray
    bad: list[tuple[str, str]]


class ShardWorker:
    """Does tasks of one job; the encoder and the sources are opened when first needed, then kept."""

    def __init__(self, job: Job) -> None:
        import torch

        from imagebind_llm.encoders import load_encoder, media_of_encoder
        from imagebind_llm.inference.loading import choose_device, choose_dtype

        self._job = job
        self._sources: dict[int, Source | StreamingSource] = {}
        device = choose_device(job.device)
        if device.type == "cpu":
            torch.set_num_threads(
                1
            )  # the work is shared out by processes, and sums must not depend on threads
        encoder: Any = load_encoder(job.encoder, device, choose_dtype(job.dtype, device))
        self._encoder = encoder.eval()
        self._reader = media_of_encoder(job.encoder, encoder)
        image = getattr(self._reader, "image", None)
        self._side: int | None = getattr(image, "size", None)

    def __call__(self, task: Task) -> ShardResult:
        """See :class:`ShardResult`.

        Raises:
            TrainingDataError: the encoder makes something that is no embedding.
        """
        if task.source not in self._sources:
            self._sources[task.source] = self._job.open(task.source)
        name = self._sources[task.source].name
        lines: list[bytes] = []
        bad: list[tuple[str, str]] = []
        encoding = _Encoding(self._encoder, self._job.batch_size, self._job.stored_views)
        for index, item in self._items(task):
            try:
                if isinstance(item, BadSample):
                    raise item
                record = item.load()
                media = self._media(record, task.source, index)
            except BadSample as problem:
                bad.append((problem.key, problem.reason))
                continue
            first = encoding.count
            for modality, views in media:
                encoding.add(modality, views, record.key)
            lines.append(_line(record, first))
        return ShardResult(task, name, len(lines), b"".join(lines), encoding.finish(), bad)

    def _items(self, task: Task) -> Iterator[tuple[int, Record | BadSample]]:
        if task.records is not None:
            yield from enumerate(task.records, start=task.start)
            return
        source = self._sources[task.source]
        assert isinstance(source, Source), "samples of a stream come with the task"
        for index in range(task.start, task.stop):
            try:
                yield index, read_sample(source, index)
            except BadSample as bad:
                yield index, bad

    def _media(self, record: Record, source: int, index: int) -> list[tuple[Modality, "torch.Tensor"]]:
        """Each medium with its views ``[V, …]``."""
        found: list[tuple[Modality, torch.Tensor]] = []

        def take(modality: Modality, medium: Any) -> Any:
            if isinstance(medium, Embedded):
                raise BadSample(record.key, "it is embedded already")
            if modality not in self._encoder.modalities:
                raise BadSample(record.key, f"the encoder has no {modality.value}")
            found.append((modality, self._views(modality, medium, (source, index, len(found)))))
            return medium

        try:
            replace_media(record.messages, take)
        except BadSample:
            raise
        except UserError as error:
            raise BadSample(record.key, str(error)) from error
        return found

    def _views(self, modality: Modality, medium: Any, place: tuple[int, ...]) -> "torch.Tensor":
        import torch

        count = self._job.stored_views
        if modality is not Modality.IMAGE or not self._job.views:
            tensor = load_medium(self._reader, modality, medium)
            return tensor[None].expand(count, *tensor.shape)
        views = []
        side = self._side or min(medium.size)
        for view in range(count):
            rng = np.random.default_rng((self._job.seed, *place, view))
            views.append(load_medium(self._reader, modality, random_resized_crop(medium, rng, side)))
        return torch.stack(views)


class _Encoding:
    """Collects media and encodes them in batches whose make-up depends on their order only."""

    def __init__(self, encoder: Any, batch_size: int, views: int) -> None:
        self._encoder = encoder
        self._batch_size = batch_size
        self._views = views
        self._waiting: list[tuple[Modality, torch.Tensor, str]] = []
        self._rows: list[np.ndarray] = []
        self.count = 0

    def add(self, modality: Modality, views: "torch.Tensor", key: str) -> None:
        """One more medium."""
        self._waiting.append((modality, views, key))
        self.count += 1
        if len(self._waiting) * self._views >= self._batch_size:
            self._encode()

    def finish(self) -> np.ndarray:
        """All embeddings, ``[views, media, D]``."""
        self._encode()
        if not self._rows:
            return np.empty((self._views, 0, self._encoder.embedding_dim), DTYPE)
        return np.concatenate(self._rows, axis=1)

    def _encode(self) -> None:
        import torch

        from imagebind_llm.encoders.repeats import once_each

        groups: dict[tuple[Modality, tuple[int, ...]], list[int]] = {}
        for place, (modality, views, _) in enumerate(self._waiting):
            groups.setdefault((modality, tuple(views.shape[1:])), []).append(place)
        if not groups:
            return
        out = np.empty((self._views, len(self._waiting), self._encoder.embedding_dim), np.float32)
        with torch.inference_mode():
            for (modality, _), places in groups.items():
                batch = torch.cat([self._waiting[place][1] for place in places])
                # pictures with several captions come one after another
                rows = once_each(batch, partial(self._encoder.encode, modality)).float().cpu().numpy()
                out[:, places] = rows.reshape(len(places), self._views, -1).transpose(1, 0, 2)
        broken = np.flatnonzero(~np.isfinite(out).all(axis=(0, 2)))
        if len(broken):
            raise TrainingDataError(
                f"{self._waiting[broken[0]][2]}: the encoder gives no finite embedding; try --dtype float32"
            )
        self._rows.append(out.astype(DTYPE))
        self._waiting.clear()


def _line(record: Record, first: int) -> bytes:
    """The record as a line of JSON; each medium is the number of its row, from ``first`` on."""
    numbers = iter(range(first, first + 1_000_000))
    messages = replace_media(record.messages, lambda modality, medium: next(numbers))
    text = json.dumps({"key": record.key, "messages": messages}, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"  # half characters of file names become \udcxx
