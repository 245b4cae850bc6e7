"""What is kept, as a source of the same kind as far as possible, that ``SourceSettings`` reads.

Pictures that are files stay where they are and are named by absolute paths; pictures that are bytes (in tar
or Parquet files, or from the hub) are copied into Parquet files.
"""

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import yaml
from PIL import Image

from imagebind_llm.common.errors import CleanError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.sources.base import CAPTION_INSTRUCTION, Record
from imagebind_llm.data.sources.settings import SourceKind, SourceSettings
from imagebind_llm.messages import Turn, read_messages

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
