"""Image-caption tables: tab-separated as the published recipe uses them, or comma-separated.

The first line names the columns (``url`` and ``caption`` unless ``columns`` says otherwise). A tab-separated
row is one line; quotes around a whole field are taken off, line breaks inside are not possible. Instead of a
table, a YAML file with ``META: [table, …]`` may be given, as in the original.
"""

import csv
from pathlib import Path

import yaml

from imagebind_llm.common.errors import BadSample, TrainingDataError
from imagebind_llm.data.sources.base import Record
from imagebind_llm.data.sources.captions import caption_record, picture_path
from imagebind_llm.data.sources.files import list_files
from imagebind_llm.data.sources.rows import RowFiles, csv_rows, lines
from imagebind_llm.data.sources.settings import SourceSettings


class TableSource:
    """A :class:`~imagebind_llm.data.sources.base.Source` of image-caption tables."""

    def __init__(
        self, settings: SourceSettings, files: list[Path], index_folder: Path | None, tabs: bool
    ) -> None:
        self.name = settings.label
        self._settings = settings
        self._tabs = tabs
        self._rows = RowFiles(files, lines if tabs else csv_rows, index_folder, skip=1)
        self.fingerprint = self._rows.fingerprint
        roles = {role: settings.column(role) for role in ("image", "caption")}
        self._headers = [self._header(number, roles) for number in range(len(files))]

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> Record:
        """See :class:`~imagebind_llm.data.sources.base.Source`."""
        key = self._rows.key(index)
        file, _ = self._rows.locate(index)
        width, image, caption = self._headers[file]
        fields = self._fields(self._rows.text(index), key)
        if len(fields) != width:
            raise BadSample(key, f"{len(fields)} columns; expected {width}")
        root = self._settings.root or self._rows.files[file].parent
        path = picture_path(key, fields[image], root)
        return caption_record(key, self.name, path, fields[caption], self._settings.instruction)

    def _header(self, file: int, roles: dict[str, str]) -> tuple[int, int, int]:
        path = self._rows.files[file]
        first = ""
        try:
            first = self._rows.at(file, 0, path.name)
            names = [name.strip() for name in self._fields(first, path.name)]
            return len(names), names.index(roles["image"]), names.index(roles["caption"])
        except (BadSample, ValueError, IndexError):
            raise TrainingDataError(self._no_header(path, first, roles)) from None

    def _no_header(self, path: Path, first: str, roles: dict[str, str]) -> str:
        """What is wrong with a first line that does not name the columns, and what to do."""
        wanted = [roles["image"], roles["caption"]]
        sign, other = ("tabs", "commas") if self._tabs else ("commas", "tabs")
        cells = [_short(cell.strip()) for cell in first.split("\t" if self._tabs else ",")]
        elsewhere = [cell.strip().strip('"') for cell in first.split("," if self._tabs else "\t")]
        found = f"{str(path)!r}: the first line, {', '.join(map(repr, cells[:4]))},"
        if set(wanted) <= set(elsewhere):
            kind = "csv" if self._tabs else "tsv"
            return f"{found} is separated by {other}, not {sign}; say kind: {kind} (--kind {kind})"
        header = ("<tab>" if self._tabs else ",").join(wanted)
        return (
            f"{found} names no columns {wanted[0]!r} and {wanted[1]!r} separated by {sign}; put the line "
            f"{header} on top if the file has no header, or say what they are called with columns: "
            "{image: …, caption: …} (--column image=NAME)"
        )

    def _fields(self, row: str, key: str) -> list[str]:
        if self._tabs:
            return [_unquoted(field) for field in row.rstrip("\r\n").split("\t")]
        try:
            return next(csv.reader(row.splitlines(keepends=True), strict=True))
        except (csv.Error, StopIteration) as error:
            raise BadSample(key, f"not a row of comma-separated values ({error})") from None


def open_source(settings: SourceSettings, index_folder: Path | None) -> TableSource:
    """See :func:`imagebind_llm.data.sources.open_source`."""
    files = []
    for path in list_files(settings.path, (f".{settings.kind}",)):
        files += _listed(path) if path.suffix.lower() in (".yaml", ".yml") else [path]
    return TableSource(settings, files, index_folder, tabs=settings.kind == "tsv")


def _listed(path: Path) -> list[Path]:
    """The tables that a YAML file names, relative ones from its folder."""
    try:
        meta = yaml.safe_load(path.read_text(encoding="utf-8"))["META"]
        tables = [path.parent / name for name in meta]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise TrainingDataError(
            f"{str(path)!r} holds no list META of tables, nor kind and path of a source"
        ) from None
    for table in tables:
        if not table.is_file():
            raise TrainingDataError(f"{str(path)!r} names {str(table)!r}, which is not there")
    if not tables:
        raise TrainingDataError(f"{str(path)!r} names no tables under META")
    return tables


def _unquoted(field: str) -> str:
    if len(field) >= 2 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field


def _short(cell: str) -> str:
    return cell if len(cell) <= 60 else f"{cell[:57]}..."
