"""Verdicts → lists, scores, groups and the cleaned source, which is of the same kind as far as possible.

Pictures that are files stay where they are and are named by absolute paths. Pictures that are bytes (in tar
or Parquet files, or from the hub) are copied into Parquet files.
"""

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
from PIL import Image

from imagebind_llm.common.errors import BadSample, CleanError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.clean.judge import KEPT, REASONS, Verdicts
from imagebind_llm.data.clean.measure import Measured, storable
from imagebind_llm.data.clean.rules import NAMES, UNREADABLE
from imagebind_llm.data.mixture import samples
from imagebind_llm.data.sources.base import (
    CAPTION_INSTRUCTION,
    Record,
    Source,
    SourceKind,
    SourceSettings,
    StreamingSource,
)
from imagebind_llm.model.messages import Turn, read_messages

_WRITTEN: dict[SourceKind, SourceKind] = {
    "tsv": "tsv",
    "csv": "csv",
    "folder": "csv",
    "llava": "llava",
    "alpaca": "alpaca",
    "webdataset": "parquet",
    "parquet": "parquet",
    "datasets": "parquet",
}
_NAMES = {"tsv": "clean.tsv", "csv": "clean.csv", "llava": "clean.jsonl", "alpaca": "clean.jsonl"}
_GROUP_ROWS = 256
"""Samples in a row group of Parquet: what a reader decodes to get at one."""
_FILE_ROWS = 8192


class RecordWriter(Protocol):
    """Takes kept records in order."""

    def write(self, record: Record) -> None:
        """Add one."""
        ...


def writable(kind: SourceKind) -> bool:
    """Whether a cleaned source can be written for this kind."""
    return kind in _WRITTEN


@contextmanager
def cleaned_source(settings: SourceSettings, folder: Path, place: Path) -> Iterator[RecordWriter]:
    """Write the cleaned source into ``folder``, and ``source.yaml``, its settings.

    Args:
        settings: of the source that is cleaned.
        folder: written to.
        place: where ``folder`` will be in the end.
    """
    kind = _WRITTEN[settings.kind]
    if kind == "parquet":
        target = "images"
        (folder / target).mkdir()
        writer: Any = _ParquetWriter(folder / target)
        with writer:
            yield writer
    else:
        target = _NAMES[kind]
        with (folder / target).open("w", encoding="utf-8", newline="") as file:
            yield _LineWriter(file, kind)
    values: dict[str, Any] = {"kind": kind, "path": str(place / target)}
    if settings.name is not None:
        values["name"] = settings.name
    if settings.instruction != CAPTION_INSTRUCTION:
        values["instruction"] = settings.instruction
    (folder / "source.yaml").write_text(
        yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


class _LineWriter:
    """Tables and JSON lines."""

    def __init__(self, file: Any, kind: SourceKind) -> None:
        self._file = file
        self._kind = kind
        self._csv = csv.writer(file, lineterminator="\n")
        if kind in ("tsv", "csv"):
            self._row("url", "caption")

    def write(self, record: Record) -> None:
        """See :class:`RecordWriter`."""
        turns = read_messages(record.messages)
        if self._kind == "alpaca":
            words = [turn.text for turn in turns]
            self._json({"instruction": "\n\n".join(words[:-1]), "input": "", "output": words[-1]})
        elif self._kind == "llava":
            self._json(_conversation(record, turns))
        else:
            self._row(_path(record, _pictures(turns)[0]), turns[-1].text)

    def _json(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False) + "\n")

    def _row(self, path: str, caption: str) -> None:
        if self._kind == "csv":
            self._csv.writerow([path, caption])
            return
        # a row of such a table is one line: white space inside a field becomes a space
        fields = [" ".join(field.split()) if _breaks(field) else field for field in (path, caption)]
        if fields[0] != path:
            raise CleanError(f"the path {path!r} has a tab or line break, which a tsv cannot hold; rename it")
        self._file.write("\t".join(_quoted(field) for field in fields) + "\n")


class _ParquetWriter:
    """Pictures as ``{bytes, path}`` and captions, in files of some thousand."""

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa

        self._folder = folder
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        self._schema = pa.schema([("image", image), ("caption", pa.string()), ("key", pa.string())])
        self._rows: list[dict[str, Any]] = []
        self._file: Any = None
        self._in_file = self._files = 0

    def __enter__(self) -> "_ParquetWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._rows or not self._files:
            self._flush()
        if self._file is not None:
            self._file.close()

    def write(self, record: Record) -> None:
        """See :class:`RecordWriter`."""
        turns = read_messages(record.messages)
        picture = _pictures(turns)[0]
        image: dict[str, Any] = {"bytes": _bytes(picture), "path": None}
        if image["bytes"] is None:
            image["path"] = _path(record, picture)
        self._rows.append({"image": image, "caption": turns[-1].text, "key": record.key})
        if len(self._rows) == _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._file is None:
            self._file = pq.ParquetWriter(
                self._folder / f"part-{self._files:05d}.parquet", self._schema, compression="zstd"
            )
            self._files += 1
        self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._in_file += len(self._rows)
        self._rows = []
        if self._in_file >= _FILE_ROWS:
            self._file.close()
            self._file, self._in_file = None, 0


def _conversation(record: Record, turns: list[Turn]) -> dict[str, Any]:
    item: dict[str, Any] = {"id": record.key}
    spoken = []
    for turn in turns:
        marks = ""
        for medium in turn.media:
            item.setdefault(medium.modality.value, []).append(_path(record, medium.source))
            marks += f"<{medium.modality.value}>\n"
        name = {"user": "human", "assistant": "gpt"}.get(turn.role, turn.role)
        spoken.append({"from": name, "value": marks + turn.text})
    return {**item, "conversations": spoken}


def _pictures(turns: list[Turn]) -> list[Any]:
    return [item.source for turn in turns for item in turn.media if item.modality is Modality.IMAGE]


def _path(record: Record, source: Any) -> str:
    if not isinstance(source, str | os.PathLike):
        raise CleanError(
            f"{record.key}: a medium that is no file ({type(source).__name__}) in a table of paths"
        )
    path = os.path.abspath(source)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise CleanError(f"{record.key}: the path {path!r} is not UTF-8; rename the file") from None
    return path


def _bytes(source: Any) -> bytes | None:
    if isinstance(source, Image.Image):
        buffer = io.BytesIO()
        source.save(buffer, "PNG")
        return buffer.getvalue()
    return source if isinstance(source, bytes) else None


def _breaks(field: str) -> bool:
    return any(character in field for character in "\t\r\n")


def _quoted(field: str) -> str:
    """Quotes around a whole field are taken off by the reader, so those that belong to it need others."""
    if len(field) >= 2 and field[0] == field[-1] == '"':
        return '"' + field.replace('"', '""') + '"'
    return field


def write_scores(measured: Measured, verdicts: Verdicts, path: Path) -> None:
    """One row a sample: ``index``, ``key``, ``reason`` (null = kept), ``duplicate_of`` (an index or null) and
    a column of scores for each rule (null where it does not apply)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("index", pa.int64()),
            ("key", pa.string()),
            ("reason", pa.string()),
            ("duplicate_of", pa.int64()),
            *((name, pa.float32()) for name in NAMES),
        ]
    )
    first = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for keys in _keys(measured):
            part = slice(first, first + len(keys))
            reasons = [None if r == KEPT else REASONS[r] for r in verdicts.reason[part]]
            originals = [None if o < 0 else int(o) for o in verdicts.original[part]]
            columns: list[Any] = [
                pa.array(range(first, first + len(keys)), pa.int64()),
                pa.array(keys, pa.string()),
                pa.array(reasons, pa.string()),
                pa.array(originals, pa.int64()),
            ]
            for place in range(len(NAMES)):
                values = verdicts.scores[part, place]
                columns.append(pa.array(values, pa.float32(), mask=np.isnan(values)))
            writer.write_table(pa.table(columns, schema=schema))
            first += len(keys)


def write_lists(measured: Measured, verdicts: Verdicts, source: str, folder: Path) -> None:
    """``kept.jsonl`` and ``dropped.jsonl``, in the order of the source, and ``quarantine.jsonl``, what could
    not be read, in the form of :class:`~imagebind_llm.data.quarantine.Quarantine`."""
    originals = sorted({int(o) for o in verdicts.original[verdicts.original >= 0]})
    keys = {row: values["key"] for row, values in measured.take(originals, ["key"]).items()}
    index = 0
    with (
        (folder / "kept.jsonl").open("w", encoding="utf-8") as kept,
        (folder / "dropped.jsonl").open("w", encoding="utf-8") as dropped,
        (folder / "quarantine.jsonl").open("w", encoding="utf-8") as quarantine,
    ):
        for table in measured.tables(["key", "error"]):
            for key, error in zip(table["key"].to_pylist(), table["error"].to_pylist(), strict=True):
                line: dict[str, Any] = {"index": index, "key": key}
                number = int(verdicts.reason[index])
                if number == KEPT:
                    _line(kept, line)
                else:
                    line["reason"] = REASONS[number]
                    if error is not None:
                        line["detail"] = error
                        _line(quarantine, {"source": source, "key": key, "reason": error})
                    else:
                        line["score"] = _plain(verdicts.scores[index, number - 1])
                    if verdicts.original[index] >= 0:
                        line["duplicate_of"] = keys[int(verdicts.original[index])]
                    _line(dropped, line)
                index += 1


def duplicate_groups(verdicts: Verdicts) -> Iterator[tuple[int, np.ndarray]]:
    """Each kept sample that has duplicates, with their numbers, in the order of the source."""
    members = np.flatnonzero(verdicts.original >= 0)
    members = members[np.argsort(verdicts.original[members], kind="stable")]
    if len(members):
        for group in np.split(members, np.flatnonzero(np.diff(verdicts.original[members])) + 1):
            yield int(verdicts.original[group[0]]), group


def write_groups(measured: Measured, verdicts: Verdicts, path: Path) -> None:
    """One line a group: ``{"kept": key, "duplicates": [{"key", "reason", "score"}, …]}``."""
    involved = np.flatnonzero(verdicts.original >= 0)
    numbers = sorted({*involved.tolist(), *verdicts.original[involved].tolist()})
    keys = {row: values["key"] for row, values in measured.take(numbers, ["key"]).items()}
    with path.open("w", encoding="utf-8") as file:
        for original, members in duplicate_groups(verdicts):
            found = [
                {
                    "key": keys[int(row)],
                    "reason": REASONS[verdicts.reason[row]],
                    "score": _plain(verdicts.scores[row, verdicts.reason[row] - 1]),
                }
                for row in members
            ]
            _line(file, {"kept": keys[original], "duplicates": found})


def write_cleaned(
    source: Source | StreamingSource,
    settings: SourceSettings,
    measured: Measured,
    verdicts: Verdicts,
    folder: Path,
    place: Path,
) -> None:
    """Go through the source once more and write what is kept.

    Raises:
        CleanError: the source no longer gives the samples that were measured.
    """
    keys = (key for part in _keys(measured) for key in part)
    items = samples(source)
    with cleaned_source(settings, folder, place) as writer:
        for index, key in enumerate(keys):
            item = next(items, None)
            if item is None or storable(item.key) != key:
                raise CleanError(
                    f"sample {index} was {key!r} when it was measured and is now "
                    f"{getattr(item, 'key', None)!r}; clean a source that nobody changes meanwhile"
                )
            if verdicts.reason[index] == KEPT:
                if isinstance(item, BadSample):
                    raise CleanError(f"{item}; it could be read when it was measured")
                writer.write(item)


def summary(verdicts: Verdicts) -> dict[str, Any]:
    """Counts and bounds, for programs."""
    rows = verdicts.counts
    return {
        "samples": len(verdicts.reason),
        "kept": verdicts.kept,
        "dropped": {name: count for name, count in rows.items() if count or name == UNREADABLE},
        "duplicate_groups": len(np.unique(verdicts.original[verdicts.original >= 0])),
        "duplicates_with_other_words": verdicts.retold,
        "bounds": {name: [_plain(low), _plain(high)] for name, (low, high) in verdicts.bounds.items()},
    }


def _keys(measured: Measured) -> Iterator[list[str]]:
    for table in measured.tables(["key"]):
        yield table["key"].to_pylist()


def _line(file: Any, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")


def _plain(value: Any) -> float | None:
    """A float32 as the shortest number that is the same float32."""
    if value is None or math.isnan(float(value)):
        return None
    return float(str(np.float32(value)))
