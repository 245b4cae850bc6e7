"""What ``imagebind-llm data embed`` wrote, as a source: dialogs whose media are embeddings.

Every stored view of the data set is a pass of its own: samples ``0 … rows-1`` are view 0, the next ``rows``
view 1, and so on, so that drawing at random also draws views.
"""

import json
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import TrainingDataError
from imagebind_llm.common.files import sha256
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.embed.store import read_manifest
from imagebind_llm.data.sources.base import Embedded, Record, SourceSettings, digest, replace_media
from imagebind_llm.data.sources.tables import RowFiles, lines

_OPEN = 64
"""Shards mapped into memory at once (each holds a file open)."""


class EmbeddedSource:
    """A :class:`~imagebind_llm.data.sources.base.Source` of precomputed embeddings.

    Attributes:
        encoder_fingerprint: of the encoder that made them; compare it with the model's.
        dim: ``D``.
        views: embeddings of each medium.
        rows: samples, without counting views.
    """

    def __init__(self, settings: SourceSettings, index_folder: Path | None) -> None:
        self.name = settings.label
        self._folder = Path(settings.path).expanduser()
        manifest = read_manifest(self._folder)
        self.encoder_fingerprint: str = manifest["encoder_fingerprint"]
        self.dim: int = manifest["dim"]
        self.views: int = manifest["views"]
        self.rows: int = manifest["rows"]
        self._shards = [shard for shard in manifest["shards"] if shard["rows"]]
        self._names = [f"shard-{shard['number']:06d}" for shard in self._shards]
        self.fingerprint = digest(
            "embedded", self.views, [[s["lines_sha256"], s["vectors_sha256"]] for s in self._shards]
        )
        for name in self._names:
            for suffix in (".jsonl", ".npy"):
                if not (self._folder / f"{name}{suffix}").is_file():
                    raise TrainingDataError(
                        f"{str(self._folder / name)!r}{suffix} is missing; embed the data again"
                    )
        self._rows = RowFiles([self._folder / f"{name}.jsonl" for name in self._names], lines, index_folder)
        for shard, found in zip(self._shards, self._rows.hashes, strict=True):
            if found != shard["lines_sha256"]:
                raise self._damaged(f"shard-{shard['number']:06d}.jsonl")
        self._vectors: OrderedDict[int, np.ndarray] = OrderedDict()
        self._checked: set[int] = set()

    def __len__(self) -> int:
        return self.rows * self.views

    def read(self, index: int) -> Record:
        """See :class:`~imagebind_llm.data.sources.base.Source`.

        Raises:
            TrainingDataError: a shard is damaged (its SHA-256 differs).
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        view, row = divmod(index, self.rows)
        shard, _ = self._rows.locate(row)
        vectors = self._open(shard)[view]
        item = self._item(row)
        messages = replace_media(item["messages"], lambda _, number: Embedded(_unit(vectors[number])))
        return Record(item["key"], messages, self.name)

    def pictures(self) -> Iterator[tuple[np.ndarray, str | None]]:
        """View 0 of each picture (unit float32 ``[D]``) and its caption: what the assistant says first."""
        for row in range(self.rows):
            shard, _ = self._rows.locate(row)
            messages = self._item(row)["messages"]
            numbers: list[int] = []

            def take(modality: Modality, number: int, numbers: list[int] = numbers) -> int:
                if modality is Modality.IMAGE:
                    numbers.append(number)
                return number

            replace_media(messages, take)
            answers = [message["content"] for message in messages if message["role"] == "assistant"]
            for number in numbers:
                yield _unit(self._open(shard)[0][number]), answers[0] if answers else None

    def _item(self, row: int) -> dict[str, Any]:
        item: dict[str, Any] = json.loads(self._rows.text(row))
        return item

    def _open(self, shard: int) -> np.ndarray:
        """``[views, media, D]``, checked when it is first opened."""
        if shard not in self._vectors:
            path = self._folder / f"{self._names[shard]}.npy"
            if shard not in self._checked:
                if sha256(path) != self._shards[shard]["vectors_sha256"]:
                    raise self._damaged(path.name)
                self._checked.add(shard)
            self._vectors[shard] = np.load(path, mmap_mode="r", allow_pickle=False)
            if len(self._vectors) > _OPEN:
                self._vectors.popitem(last=False)
        self._vectors.move_to_end(shard)
        return self._vectors[shard]

    def _damaged(self, name: str) -> TrainingDataError:
        return TrainingDataError(
            f"{str(self._folder / name)!r} is damaged (its SHA-256 differs); delete the folder, embed again"
        )


def open_source(settings: SourceSettings, index_folder: Path | None) -> EmbeddedSource:
    """See :func:`imagebind_llm.data.sources.open_source`."""
    return EmbeddedSource(settings, index_folder)


def _unit(vector: np.ndarray) -> np.ndarray:
    """Float32 of length 1: rounding to float16 has changed it a little."""
    exact = vector.astype(np.float32)
    return exact / np.linalg.norm(exact)
