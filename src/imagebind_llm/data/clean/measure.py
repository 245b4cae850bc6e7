"""Samples → measured shards, each sample once: the numbers of one sample, before any rule.

A folder of shards belongs to one source, one encoder and one way of measuring (``job.json``). Thresholds do
not matter here, so they can be changed without measuring again. ``complete.json`` says that the source ended.
A sample's embedding depends on its batch alone, so a run that was interrupted computes the same bits.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from imagebind_llm.common.errors import (
    BadSample,
    CleanError,
    ConfigError,
    MissingExtraError,
    TrainingDataError,
    UserError,
    reason_of,
)
from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.work_folder import WorkFolder
from imagebind_llm.data.clean import rules
from imagebind_llm.data.clean.rules import content_hash
from imagebind_llm.data.clean.settings import EncoderSettings
from imagebind_llm.data.mixture import samples
from imagebind_llm.data.sources.base import Embedded, Record, Source, StreamingSource
from imagebind_llm.media.reading import load_medium
from imagebind_llm.model.messages import read_messages

if TYPE_CHECKING:
    import torch

    from imagebind_llm.encoders.base import JointEncoder
    from imagebind_llm.media.base import MediaReader


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample to judge.

    Attributes:
        key: where it is, unique in its source.
        caption: what the model is to say: the assistant's words (all words, if it says none).
        dialog: all words, and which other media there are. Two samples with the same picture and the same
            dialog are the same.
        image: the first picture, RGB; None for text-only samples.
        embedding: ``[D]`` unit vector that stands in the picture's place, if it was embedded before.
    """

    key: str
    caption: str
    dialog: str
    image: Image.Image | None = None
    embedding: np.ndarray | None = None


def sample_of(record: Record) -> Sample:
    """Read a record and open its picture.

    Raises:
        BadSample: a malformed dialog, no words, or a picture that cannot be opened.
    """
    opened = record.load()
    try:
        turns = read_messages(opened.messages)
    except UserError as error:
        raise BadSample(record.key, str(error)) from error
    said = [turn.text.strip() for turn in turns if turn.role == "assistant"]
    words = [turn.text.strip() for turn in turns if turn.text.strip()]
    caption = "\n".join(said or words)
    if not caption:
        raise BadSample(record.key, "an empty caption; expected words about the picture")
    media = [item for turn in turns for item in turn.media]
    pictures = [item for item in media if item.modality is Modality.IMAGE]
    looked_at = pictures[0] if pictures else None
    first = looked_at.source if looked_at else None
    others = [f"{item.modality.value} {_name(item.source)}" for item in media if item is not looked_at]
    dialog = "\n".join([*words, *others])
    if isinstance(first, Embedded):
        return Sample(record.key, caption, dialog, embedding=first.vector)
    if first is not None and not isinstance(first, Image.Image):
        first = _from_array(record.key, first)
    image = None if first is None else first.convert("RGB")
    return Sample(record.key, caption, dialog, image=image)


def _name(source: object) -> str:
    """What tells media that are not looked at apart: the path, or a hash of what is there."""
    if isinstance(source, str | os.PathLike):
        return str(source)
    if isinstance(source, Image.Image):
        return content_hash(source.convert("RGB")).hex()
    values = source.vector if isinstance(source, Embedded) else source
    locked = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
    return hashlib.sha256(locked).hexdigest()


def _from_array(key: str, values: object) -> Image.Image:
    array = np.asarray(values)
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise BadSample(key, f"a picture as an array {array.dtype} {array.shape}; expected bytes [H, W, 3]")
    return Image.fromarray(array)


def storable(text: str) -> str:
    """``text`` as UTF-8 can hold it: bytes of a file name that are not are shown as ``\\udc…``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


THUMBNAIL_SIDE = 112
"""Longer side of the pictures in the report, pixels (about 3 kB each)."""

LIGHT = ("key", "caption", "error", "text_hash", "width", "height", "contrast", "pixel_hash", "near_hash")
"""Columns needed to judge, beside ``agreement``: some hundred bytes a sample."""

_SHARD = re.compile(r"shard-(\d{6})\.parquet")


class Measured:
    """The shards in a folder.

    Args:
        work: of one source, one encoder and one way of measuring.

    Raises:
        CleanError: shards are missing.
    """

    def __init__(self, work: WorkFolder) -> None:
        self._work = work
        self.folder = folder = work.path
        numbers = sorted(int(found[1]) for p in folder.iterdir() if (found := _SHARD.fullmatch(p.name)))
        if numbers != list(range(len(numbers))):
            raise CleanError(f"{str(folder)!r} lacks shards in between; delete the folder and start again")
        self.shards = [self._path(number) for number in numbers]

    @property
    def complete(self) -> bool:
        """Whether the source was measured to its end."""
        return bool(self._work.noted.get("complete"))

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the next shard, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._path(len(self.shards))
        with atomic_write(path) as temporary:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=_schema()), temporary)
        self.shards.append(path)

    def finish(self) -> None:
        """Remember that there are no more samples."""
        self._work.note({"complete": True})

    def sizes(self) -> list[int]:
        """Samples in each shard."""
        import pyarrow.parquet as pq

        return [_guard(path, lambda p: int(pq.read_metadata(p).num_rows)) for path in self.shards]

    def tables(self, columns: Sequence[str]) -> Iterator[Any]:
        """The shards in order as Arrow tables of some columns, one in memory at a time."""
        import pyarrow.parquet as pq

        for path in self.shards:
            yield _guard(path, lambda p: pq.read_table(p, columns=list(columns)))

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
        """Some columns of some samples, by number."""
        wanted = sorted(set(rows))
        found: dict[int, dict[str, Any]] = {}
        first = 0
        import pyarrow.parquet as pq

        for path, size in zip(self.shards, self.sizes(), strict=True):
            here = [row - first for row in wanted if first <= row < first + size]
            if here:
                table = _guard(path, lambda p: pq.read_table(p, columns=list(columns)))
                for row, values in zip(here, table.take(here).to_pylist(), strict=True):
                    found[first + row] = values
            first += size
        return found

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:06d}.parquet"


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            ("key", pa.string()),
            ("caption", pa.string()),
            ("error", pa.string()),
            ("text_hash", pa.binary(16)),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("contrast", pa.float32()),
            ("pixel_hash", pa.binary(16)),
            ("near_hash", pa.uint64()),
            ("signature", pa.binary(768)),
            ("thumbnail", pa.binary()),
            ("agreement", pa.float32()),
            ("embedding", pa.binary()),
        ]
    )


def _guard(path: Path, read: Any) -> Any:
    import pyarrow as pa

    try:
        return read(path)
    except (OSError, pa.ArrowException) as error:
        raise CleanError(
            f"{str(path)!r} is damaged ({' '.join(str(error).split())}); delete its folder and start again"
        ) from error


_LONGEST_TEXT = 2000
"""Characters that are tokenised; text encoders read 77 tokens."""


class Encoder:
    """The image and text encoders of a joint space.

    Args:
        encoder: encodes images and text.
        media: how pictures and texts become tensors.
        batch_size: items encoded at once.

    Raises:
        ConfigError: the encoder lacks images or text.
    """

    def __init__(self, encoder: "JointEncoder", media: "MediaReader", batch_size: int = 64) -> None:
        for modality in (Modality.IMAGE, Modality.TEXT):
            if modality not in encoder.modalities:
                raise ConfigError(
                    f"the encoder has no {modality.value} tower, it knows {sorted(encoder.modalities)}; give "
                    "another with encoder.model=…, or set rules.agreement.enabled=false and "
                    "rules.similar_embedding.enabled=false"
                )
        self._encoder = encoder
        self._media = media
        self.batch_size = batch_size

    @property
    def fingerprint(self) -> str:
        """Tells the weights apart."""
        return str(self._encoder.fingerprint)

    def prepare(self, image: Image.Image) -> "torch.Tensor":
        """``[3, H, W]``: what is kept of a picture until its batch is full."""
        return load_medium(self._media, Modality.IMAGE, image)

    def images(self, tensors: Sequence["torch.Tensor"]) -> np.ndarray:
        """Unit rows float32 ``[n, D]`` of prepared pictures."""
        return self._encode(Modality.IMAGE, tensors)

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """Unit rows float32 ``[n, D]``; what is longer than the text encoder reads is cut."""
        short = [caption[:_LONGEST_TEXT] for caption in captions]
        return self._encode(Modality.TEXT, [load_medium(self._media, Modality.TEXT, text) for text in short])

    def _encode(self, modality: Modality, tensors: Sequence["torch.Tensor"]) -> np.ndarray:
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(tensors), self.batch_size):
                batch = torch.stack(list(tensors[start : start + self.batch_size]))
                rows = self._encoder.encode(modality, batch).float()
                parts.append(torch.nn.functional.normalize(rows, dim=-1).cpu().numpy())
        return np.concatenate(parts)


def open_encoder(settings: EncoderSettings) -> Encoder:
    """The encoder of the model that ``settings`` name.

    Raises:
        CheckpointError: there is no such model, or it has no encoder.
        ConfigError: the encoder lacks images or text.
    """
    from imagebind_llm.encoders import load_encoder, media_of_encoder
    from imagebind_llm.inference.loading import choose_device, choose_dtype

    device = choose_device(settings.device)
    encoder: Any = load_encoder(settings.model, device, choose_dtype("auto", device)).eval()
    return Encoder(encoder, media_of_encoder(settings.model, encoder), settings.batch_size)


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
                row, to_embed = _measured(item, encoder)
            except BadSample as bad:
                rows.append({"key": storable(bad.key), "error": _ADDRESS.sub("", storable(bad.reason))})
            else:
                rows.append(row)
                if to_embed is not None:
                    waiting.append((row, to_embed))
            advance(1)
        if encoder is not None and waiting:
            _embed(waiting, encoder)
    return rows


def _measured(item: Record, encoder: Encoder | None) -> tuple[_Row, Any]:
    """The numbers of a sample, and what there is to embed of it.

    Raises:
        BadSample: whatever goes wrong with it.
    """
    try:
        sample = sample_of(item)
        row = _measure_one(sample)
        to_embed: Any = None
        if encoder is not None and sample.image is not None:
            to_embed = encoder.prepare(sample.image)
        elif encoder is not None and sample.embedding is not None:
            to_embed = np.asarray(sample.embedding, np.float32)
    except (BadSample, MemoryError, MissingExtraError):
        raise
    except UserError as error:
        raise BadSample(item.key, str(error)) from error
    except Exception as error:
        raise BadSample(item.key, f"{type(error).__name__}: {reason_of(error)}") from error
    return row, to_embed


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
            "contrast": rules.contrast(sample.image),
            "pixel_hash": rules.content_hash(sample.image),
            "near_hash": rules.perceptual_hash(sample.image),
            "signature": rules.signature(sample.image),
            "thumbnail": rules.thumbnail(sample.image, THUMBNAIL_SIDE),
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
