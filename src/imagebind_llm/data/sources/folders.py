"""A folder of pictures with captions: in tables, or beside each picture.

``captions.tsv``, ``captions.csv``, ``captions.jsonl``, or Hugging Face's ``metadata.csv``,
``metadata.jsonl`` or ``metadata.parquet`` lists pictures (``file_name``, ``image``, ``file`` or ``url``) and
captions (``caption`` or ``text``); it stands in the folder, or one in each of the folders below that hold
pictures. Without one, the caption of ``dog.jpg`` is ``dog.txt`` or ``dog.caption``, or ``caption`` in
``dog.json``, as img2dataset writes files too. A folder of both a training and a test split is refused.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import BadSample, TrainingDataError
from imagebind_llm.common.text_files import NotUtf8, decode_text, read_text
from imagebind_llm.common.walk import visible_files
from imagebind_llm.data.sources.base import Record, SourceSettings, digest
from imagebind_llm.data.sources.captions import caption_record, picture_path
from imagebind_llm.data.sources.cells import comma_cells, tab_cells
from imagebind_llm.data.sources.parquet import ParquetSource
from imagebind_llm.data.sources.tables import RowFiles, TableSource, lines
from imagebind_llm.data.sources.tars import PICTURES

_TABLES = frozenset(
    f"{name}.{suffix}"
    for name, suffixes in (("captions", "tsv csv jsonl"), ("metadata", "csv jsonl parquet"))
    for suffix in suffixes.split()
)
_IMAGE = ("file_name", "image", "file", "url")
_CAPTION = ("caption", "text")
_TEXTS = (".txt", ".caption")
_TRAINING = frozenset({"train", "training"})
_HELD_OUT = frozenset({"test", "testing", "val", "valid", "validation", "dev", "eval"})
_FIRST_LINE = 1 << 20
"""Bytes looked at for the names of a table's columns."""


class FolderSource:
    """A :class:`~imagebind_llm.data.sources.base.Source` of pictures with a caption file each."""

    def __init__(self, settings: SourceSettings, pictures: Sequence[str]) -> None:
        self.name = settings.label
        self._settings = settings
        self._root = Path(settings.path).expanduser()
        self._names = sorted(pictures)
        self.fingerprint = digest("folder", self._names)

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> Record:
        """See :class:`~imagebind_llm.data.sources.base.Source`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        key = self._names[index]
        path = self._root / key
        return caption_record(key, self.name, str(path), self._caption(key, path), self._settings.instruction)

    def _caption(self, key: str, path: Path) -> Any:
        """The text beside a picture, or the field of the ``.json`` that ``columns.caption`` names."""
        field = self._settings.columns.get("caption")
        try:
            texts = [] if field else [read_text(file) for end in _TEXTS if (file := _beside(path, end))]
            if len(set(texts)) > 1:
                raise BadSample(key, f"two captions, in {' and '.join(_TEXTS)}; keep one")
            if texts:
                return texts[0]
            if (file := _beside(path, ".json")) is not None:
                return json.loads(read_text(file))[field or "caption"]
        except (ValueError, KeyError, TypeError, OSError) as error:  # NotUtf8 is a ValueError
            raise BadSample(key, f"its caption cannot be read ({error})") from None
        wanted = f"neither {path.with_suffix('.txt').name} nor {path.with_suffix('.json').name} is there"
        raise BadSample(key, f"no caption: {wanted}")


def _beside(picture: Path, suffix: str) -> Path | None:
    """The file of the same name with ``suffix``, in small or capital letters."""
    both = (picture.with_suffix(suffix), picture.with_suffix(suffix.upper()))
    return next((file for file in both if file.is_file()), None)


class LinesSource:
    """A :class:`~imagebind_llm.data.sources.base.Source` of one JSON object a picture."""

    def __init__(self, settings: SourceSettings, tables: list[Path], index_folder: Path | None) -> None:
        self.name = settings.label
        self._settings = settings
        self._rows = RowFiles(tables, lines, index_folder)
        self.fingerprint = self._rows.fingerprint

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> Record:
        """See :class:`~imagebind_llm.data.sources.base.Source`."""
        key = self._rows.key(index)
        try:
            item = json.loads(self._rows.text(index))
        except (ValueError, RecursionError) as error:
            raise BadSample(key, f"not JSON ({error})") from None
        if not isinstance(item, dict):
            raise BadSample(key, f"a JSON {type(item).__name__}; expected an object")
        image, caption = (
            item.get(said) if (said := self._settings.columns.get(role)) else _first(item, known)
            for role, known in (("image", _IMAGE), ("caption", _CAPTION))
        )
        file, _ = self._rows.locate(index)
        path = picture_path(key, image, self._settings.root or self._rows.files[file].parent)
        return caption_record(key, self.name, path, caption, self._settings.instruction)


def open_source(
    settings: SourceSettings, index_folder: Path | None
) -> FolderSource | LinesSource | TableSource | ParquetSource:
    """See :func:`imagebind_llm.data.sources.open_source`."""
    root = Path(settings.path).expanduser()
    if not root.is_dir():
        raise TrainingDataError(f"there is no folder {settings.path!r}")
    tables, pictures = [], []
    for file in visible_files(root):
        if file.name.lower() in _TABLES:
            tables.append(file)
        elif file.suffix.lower().removeprefix(".") in PICTURES:
            pictures.append(os.path.relpath(file, root))
    at_root = [table for table in tables if table.parent == root]
    tables = at_root or tables
    if not at_root:
        _check_splits(settings.path, {Path(name).parts[0] for name in pictures if os.sep in name})
    if not tables and not pictures:
        raise TrainingDataError(f"the folder {settings.path!r} holds no pictures")
    if not tables:
        return FolderSource(settings, pictures)
    _check_tables(settings.path, tables, [] if at_root else pictures)
    suffix = tables[0].suffix.lower()
    if suffix == ".jsonl":
        return LinesSource(settings, tables, index_folder)
    if suffix == ".parquet":
        return ParquetSource(settings, tables, _IMAGE, _CAPTION)
    tabs = suffix == ".tsv"
    return TableSource(_with_columns(settings, tables[0], tabs), tables, index_folder, tabs)


def _check_splits(path: str, folders: set[str]) -> None:
    held_out = sorted(name for name in folders if name.lower() in _HELD_OUT)
    training = sorted(name for name in folders if name.lower() in _TRAINING)
    if held_out and training:
        raise TrainingDataError(
            f"the folder {path!r} holds the splits {' and '.join([*training, *held_out])}; give one of them, "
            f"for example {os.path.join(path, training[0])!r}"
        )


def _check_tables(path: str, tables: Sequence[Path], pictures: Sequence[str]) -> None:
    """Refuse tables of several kinds, and pictures that no table is there for.

    Args:
        pictures: below ``path``, that lie in a folder of a table's or should.
    """
    root = Path(path).expanduser()
    names = [os.path.relpath(table, root) for table in tables]
    places = [os.path.dirname(name) for name in names]
    if len({table.suffix.lower() for table in tables}) > 1 or len(set(places)) < len(places):
        raise TrainingDataError(f"the folder {path!r} holds {' and '.join(names[:4])}; keep one of them")
    beside = tuple(place + os.sep for place in places)
    alone = next((name for name in pictures if not name.startswith(beside)), None)
    if alone is not None:
        raise TrainingDataError(
            f"the folder {path!r} holds {names[0]}, but also pictures that are in no such table's folder, "
            f"such as {alone}; give the folder of the table"
        )


def _with_columns(settings: SourceSettings, table: Path, tabs: bool) -> SourceSettings:
    """The same source as a table whose columns are called whatever the file's first line says."""
    with table.open("rb") as file:
        line = re.split(rb"[\r\n]", file.read(_FIRST_LINE), maxsplit=1)[0]
    try:
        text = decode_text(line)
        names = [name.strip() for name in (tab_cells(text) if tabs else comma_cells(text))]
    except (NotUtf8, ValueError):
        names = []  # the table itself says what is wrong
    columns = {
        role: settings.columns.get(role) or next((name for name in known if name in names), known[0])
        for role, known in (("image", _IMAGE), ("caption", _CAPTION))
    }
    return SourceSettings(
        kind="tsv" if tabs else "csv",
        path=str(table),
        name=settings.label,
        columns=columns,
        root=settings.root,
        instruction=settings.instruction,
    )


def _first(item: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)
