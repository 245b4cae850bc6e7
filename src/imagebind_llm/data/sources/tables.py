"""Image-caption tables: tab-separated as the published recipe uses them, or comma-separated.

The first line names the columns (``url`` and ``caption`` unless ``columns`` says otherwise). A tab-separated
row is one line (:mod:`imagebind_llm.data.sources.cells` says what quotes mean). Instead of a table, a YAML
file with ``META: [table, …]`` may be given, as in the original.

Each file is looked through once, then read at any row. Its index is a flat int64 file of the byte positions
where rows start, the end of the last one, and 32 bytes of the content's SHA-256. It is mapped into memory.
"""

import bisect
import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from imagebind_llm.common.errors import BadSample, TrainingDataError
from imagebind_llm.common.files import atomic_write, sha256
from imagebind_llm.common.text_files import NotUtf8, foreign_encoding, read_text
from imagebind_llm.common.yaml_text import NotYaml, parse_yaml
from imagebind_llm.data.sources.base import Record, SourceSettings, digest, index_path, list_files, names_of
from imagebind_llm.data.sources.captions import caption_record, picture_path
from imagebind_llm.data.sources.cells import comma_cells, tab_cells

LONGEST_ROW = 64 * 1024 * 1024
"""Bytes of one row; a longer one is not text about a sample."""

_BLOCK = 4 * 1024 * 1024
_QUOTED_LINES = 200
"""Physical lines that a quoted CSV field may run over; a quote that is open longer was never closed."""

Splitter = Callable[[Path], Iterator[np.ndarray]]
"""A file → int64 blocks of the positions where its rows start."""


class RowFiles:
    """The rows of several files, one after the other.

    Args:
        files: in order.
        split: finds the rows.
        index_folder: see :func:`imagebind_llm.data.sources.open_source`.
        skip: rows at the start of each file that are no samples (a header).

    Attributes:
        hashes: SHA-256 of each file, hex.
        fingerprint: of names and contents.

    Raises:
        TrainingDataError: a file cannot be split into rows at all, or there are no rows.
    """

    def __init__(
        self, files: Sequence[Path], split: Splitter, index_folder: Path | None, skip: int = 0
    ) -> None:
        self.files = list(files)
        self._names = names_of(files)
        self._starts: list[np.ndarray] = []
        self._handles: dict[int, int] = {}
        self._skip = skip
        self._firsts = [0]
        self.hashes: list[str] = []
        for path in self.files:
            index = index_path(index_folder, [path], f"rows-2-{split.__name__}", ".rows")
            if not index.exists():
                _write_index(index, path, split)
            values = np.memmap(index, np.int64, "r")
            self._starts.append(values[:-4])
            self.hashes.append(values[-4:].tobytes().hex())
            self._firsts.append(self._firsts[-1] + max(0, len(values) - 5 - skip))
        self.fingerprint = digest("rows", [path.name for path in self.files], self.hashes)
        if not len(self):
            raise TrainingDataError(f"{str(self.files[0])!r} holds no rows; expected at least one sample")

    def __len__(self) -> int:
        return self._firsts[-1]

    def locate(self, index: int) -> tuple[int, int]:
        """Number of the file and of the row in it, the skipped ones counted."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        file = bisect.bisect_right(self._firsts, index) - 1
        return file, index - self._firsts[file] + self._skip

    def key(self, index: int) -> str:
        """``captions.tsv:17``: the file and the row (a table's header is row 1, as in an editor)."""
        file, row = self.locate(index)
        return f"{self._names[file]}:{row + 1}"

    def text(self, index: int) -> str:
        """The row with its line break.

        Raises:
            BadSample: not UTF-8, too long, or the file is shorter than it was.
        """
        file, row = self.locate(index)
        return self.at(file, row, self.key(index))

    def at(self, file: int, row: int, key: str) -> str:
        """Row ``row`` of file ``file``, for example its header."""
        start, end = (int(value) for value in self._starts[file][row : row + 2])
        if end - start > LONGEST_ROW:
            raise BadSample(key, f"a row of {end - start} bytes; expected at most {LONGEST_ROW}")
        data = os.pread(self._handle(file), end - start, start)
        if len(data) < end - start:
            raise BadSample(key, "the file was cut short while it was in use")
        try:
            return data.decode("utf-8-sig" if start == 0 else "utf-8")
        except UnicodeDecodeError as error:
            raise BadSample(
                key, f"not UTF-8 text ({error.reason} at byte {error.start} of the row)"
            ) from None

    def _handle(self, file: int) -> int:
        if file not in self._handles:
            while len(self._handles) >= 64:
                os.close(self._handles.pop(next(iter(self._handles))))
            self._handles[file] = os.open(self.files[file], os.O_RDONLY)
        return self._handles[file]

    def __del__(self) -> None:
        for handle in getattr(self, "_handles", {}).values():
            os.close(handle)


def lines(path: Path) -> Iterator[np.ndarray]:
    """One row a line; blank lines are none."""
    at, previous, last = 0, 0, b""
    end = ord(_line_end(path))
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            breaks = np.flatnonzero(np.frombuffer(block, np.uint8) == end) + (at + 1)
            if len(breaks):
                starts = np.concatenate([[previous], breaks[:-1]])
                # a line of one or two bytes may be a bare line break; look at those few only
                seen, origin = last + block, at - len(last)
                short = np.flatnonzero(breaks - starts <= 2)
                blank = [i for i in short if not seen[starts[i] - origin : breaks[i] - origin].strip()]
                yield np.delete(starts, blank)
                previous = int(breaks[-1])
            at, last = at + len(block), block[-1:]
    if previous < at:
        yield np.array([previous])


def csv_rows(path: Path) -> Iterator[np.ndarray]:
    """Rows whose quoted fields may hold line breaks. A quote that is never closed costs its own line only."""
    end = _line_end(path)
    with path.open("rb") as file:
        following = _physical_lines(file, end)
        pending: list[bytes] = []  # physical lines read ahead
        at = 0
        starts: list[int] = []
        while True:
            line = pending.pop(0) if pending else next(following, b"")
            if not line:
                break
            row = [line]
            while (state := _quotes(row)) == "open":
                more = pending.pop(0) if pending else next(following, b"")
                if not more or len(row) == _QUOTED_LINES or sum(map(len, row)) > LONGEST_ROW:
                    state = "wrong"
                    pending = [more, *pending] if more else pending
                    break
                row.append(more)
            if state == "wrong":  # a quote of the first line was never closed: the others are rows too
                pending = [*row[1:], *pending]
                row = row[:1]
            if len(row) > 1 or line.strip():
                starts.append(at)
            at += sum(map(len, row))
            if len(starts) >= 65536:
                yield np.array(starts)
                starts = []
        yield np.array(starts, np.int64)


def _line_end(path: Path) -> bytes:
    """``\\r`` for a file that has no other line end (some spreadsheets still write it), else ``\\n``."""
    with path.open("rb") as file:
        head = file.read(_BLOCK)
    return b"\r" if b"\r" in head and b"\n" not in head else b"\n"


def _physical_lines(file: BinaryIO, end: bytes) -> Iterator[bytes]:
    """The lines of a file, each with its end; one that is too long comes in pieces."""
    if end == b"\n":
        while line := file.readline(LONGEST_ROW):
            yield line
    rest = b""
    while block := file.read(_BLOCK):
        *whole, rest = (rest + block).split(end)
        yield from (line + end for line in whole)
        if len(rest) > LONGEST_ROW:
            yield rest
            rest = b""
    if rest:
        yield rest


def _quotes(row: list[bytes]) -> Literal["closed", "open", "wrong"]:
    """Whether the quotes of these lines make a row, may make one with more lines, or never will."""
    if not any(b'"' in line for line in row):
        return "closed"
    try:
        next(csv.reader([line.decode("latin-1") for line in row], strict=True))
    except csv.Error as error:
        return "open" if "unexpected end of data" in str(error) else "wrong"
    return "closed"


def json_items(path: Path) -> Iterator[np.ndarray]:
    """The members of a JSON list, or the lines of a JSON Lines file, whichever the file is."""
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    yield from _json_list(path) if head.startswith(b"[") else lines(path)


def _json_list(path: Path) -> Iterator[np.ndarray]:
    """Positions of a list's members. The text is taken for Latin-1: every byte is a character, so positions
    agree, and JSON's own signs are ASCII."""
    decoder = json.JSONDecoder(strict=False)  # bare line breaks in strings are read as they are
    with path.open("rb") as file:
        text, base, wanted = file.read(_BLOCK).decode("latin-1"), 0, _BLOCK
        at = text.index("[") + 1
        starts: list[int] = []
        while True:
            while at < len(text) and text[at] in " \t\r\n,":
                at += 1
            try:
                if at < len(text) and text[at] == "]":
                    break
                _, end = decoder.raw_decode(text, at)
                if end == len(text):
                    raise ValueError  # it may go on
            except ValueError:
                more = file.read(wanted).decode("latin-1") if len(text) - at <= LONGEST_ROW else ""
                if not more:
                    raise TrainingDataError(
                        f"{str(path)!r} is no valid JSON from byte {base + at} on; "
                        "mend it, or write one object a line (.jsonl), where a bad line costs only itself"
                    ) from None
                text, base, at = text[at:] + more, base + at, 0
                wanted = max(_BLOCK, len(text))
                continue
            starts.append(base + at)
            at = end
            if len(starts) >= 65536:
                yield np.array(starts)
                starts = []
        yield np.array(starts, np.int64)


def _write_index(index: Path, path: Path, split: Splitter) -> None:
    with path.open("rb") as file:
        other = foreign_encoding(file.read(_BLOCK))
    if other:
        raise TrainingDataError(f"{str(path)!r} is {other}, not UTF-8; save it as UTF-8")
    with atomic_write(index) as temporary, temporary.open("wb") as out:
        for block in split(path):
            out.write(block.astype(np.int64).tobytes())
        out.write(np.int64(path.stat().st_size).tobytes())
        out.write(bytes.fromhex(sha256(path)))


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
        try:
            return tab_cells(row) if self._tabs else comma_cells(row)
        except ValueError as error:
            raise BadSample(key, str(error)) from None


def open_source(settings: SourceSettings, index_folder: Path | None) -> TableSource:
    """See :func:`imagebind_llm.data.sources.open_source`."""
    files = []
    for path in list_files(settings.path, (f".{settings.kind}",)):
        files += _listed(path) if path.suffix.lower() in (".yaml", ".yml") else [path]
    return TableSource(settings, files, index_folder, tabs=settings.kind == "tsv")


def _listed(path: Path) -> list[Path]:
    """The tables that a YAML file names, relative ones from its folder."""
    try:
        meta = parse_yaml(read_text(path))["META"]
        tables = [path.parent / name for name in meta]
    except NotUtf8 as error:
        raise TrainingDataError(f"{str(path)!r} {error}") from None
    except (NotYaml, KeyError, TypeError):
        raise TrainingDataError(
            f"{str(path)!r} holds no list META of tables, nor kind and path of a source"
        ) from None
    for table in tables:
        if not table.is_file():
            raise TrainingDataError(f"{str(path)!r} names {str(table)!r}, which is not there")
    if not tables:
        raise TrainingDataError(f"{str(path)!r} names no tables under META")
    return tables


def _short(cell: str) -> str:
    return cell if len(cell) <= 60 else f"{cell[:57]}..."
