"""A folder of pictures with captions: in one table, or beside each picture.

``captions.tsv``, ``captions.csv``, ``captions.jsonl`` or ``metadata.jsonl`` in the folder lists pictures
(``image``, ``file_name``, ``file`` or ``url``) and captions (``caption`` or ``text``). Without one, the
caption of ``dog.jpg`` is ``dog.txt``, or ``caption`` in ``dog.json``.
"""

import csv
import json
import os
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import BadSample, TrainingDataError
from imagebind_llm.common.text_files import read_text
from imagebind_llm.data.sources.base import Record, SourceSettings, digest
from imagebind_llm.data.sources.captions import caption_record, picture_path
from imagebind_llm.data.sources.tables import RowFiles, TableSource, lines
from imagebind_llm.data.sources.tars import PICTURES

_TABLES = ("captions.tsv", "captions.csv", "captions.jsonl", "metadata.jsonl")
_IMAGE = ("image", "file_name", "file", "url")
_CAPTION = ("caption", "text")


class FolderSource:
    """A :class:`~imagebind_llm.data.sources.base.Source` of pictures with a caption file each."""

    def __init__(self, settings: SourceSettings) -> None:
        self.name = settings.label
        self._settings = settings
        self._root = Path(settings.path).expanduser()
        found = []
        for place, folders, names in os.walk(self._root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = os.path.relpath(place, self._root)
            found += [
                os.path.normpath(os.path.join(inside, name))
                for name in names
                if name.rpartition(".")[2].lower() in PICTURES and not name.startswith(".")
            ]
        self._names = sorted(found)
        if not self._names:
            raise TrainingDataError(f"the folder {settings.path!r} holds no pictures")
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
        text, fields = path.with_suffix(".txt"), path.with_suffix(".json")
        try:
            if text.is_file():
                return read_text(text)
            if fields.is_file():
                return json.loads(read_text(fields))["caption"]
        except (ValueError, KeyError, TypeError, OSError) as error:  # NotUtf8 is a ValueError
            raise BadSample(key, f"its caption cannot be read ({error})") from None
        raise BadSample(key, f"no caption: neither {text.name} nor {fields.name} is there")


class LinesSource:
    """A :class:`~imagebind_llm.data.sources.base.Source` of one JSON object a picture."""

    def __init__(self, settings: SourceSettings, table: Path, index_folder: Path | None) -> None:
        self.name = settings.label
        self._settings = settings
        self._root = table.parent
        self._rows = RowFiles([table], lines, index_folder)
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
        path = picture_path(key, _first(item, _IMAGE), self._root)
        return caption_record(key, self.name, path, _first(item, _CAPTION), self._settings.instruction)


def open_source(
    settings: SourceSettings, index_folder: Path | None
) -> FolderSource | LinesSource | TableSource:
    """See :func:`imagebind_llm.data.sources.open_source`."""
    root = Path(settings.path).expanduser()
    if not root.is_dir():
        raise TrainingDataError(f"there is no folder {settings.path!r}")
    tables = [root / name for name in _TABLES if (root / name).is_file()]
    if len(tables) > 1:
        names = " and ".join(table.name for table in tables)
        raise TrainingDataError(f"the folder {settings.path!r} holds {names}; keep one of them")
    if not tables:
        return FolderSource(settings)
    if tables[0].suffix == ".jsonl":
        return LinesSource(settings, tables[0], index_folder)
    tabs = tables[0].suffix == ".tsv"
    return TableSource(_with_columns(settings, tables[0], tabs), tables, index_folder, tabs)


def _with_columns(settings: SourceSettings, table: Path, tabs: bool) -> SourceSettings:
    """The same source as a table whose columns are called whatever the file's first line says."""
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        names = next(csv.reader(file, delimiter="\t" if tabs else ","), [])
    columns = {
        role: next((name for name in known if name in names), known[0])
        for role, known in (("image", _IMAGE), ("caption", _CAPTION))
    }
    return SourceSettings(
        kind="tsv" if tabs else "csv",
        path=str(table),
        name=settings.label,
        columns=columns,
        instruction=settings.instruction,
    )


def _first(item: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)
