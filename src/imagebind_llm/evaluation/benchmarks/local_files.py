"""Benchmarks on local disks: finding their files, and reading them with one clear line for what is wrong."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from imagebind_llm.common.errors import UserError, one_line, reason_of, short
from imagebind_llm.common.files import load_json
from imagebind_llm.common.text_files import read_text

Value = TypeVar("Value")

_FOR_TABLES = frozenset({"annotations", "gt_answers", "entities", "key", "keys"})
_NAMES = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


def given(data: Path | None, suite: str, layout: str) -> Path:
    """The folder or file that the user gave.

    Raises:
        UserError: none, or there is nothing of that name.
    """
    if data is None:
        raise UserError(f"suite {suite!r} needs --data: {layout}")
    if not data.exists():
        raise UserError(f"there is no file or folder {str(data)!r}; suite {suite!r} needs {layout}")
    return data


def table_in(data: Path, patterns: Sequence[str], suite: str) -> Path:
    """The one file of a benchmark's folder that says what is asked.

    Args:
        data: the folder, or that file itself.
        patterns: names as globs, looked for in the folder and in its ``annotations``. The first that is found
            is taken.

    Raises:
        UserError: there is none, or several of one pattern.
    """
    if data.is_file():
        return data
    for pattern in patterns:
        found = sorted({*data.glob(pattern), *data.glob(f"annotations/{pattern}")})
        if len(found) > 1:
            raise UserError(
                f"{str(data)!r} holds {found[0].name!r} and {found[1].name!r}; give one of them as --data"
            )
        if found:
            return found[0]
    raise UserError(f"{str(data)!r} holds no {' and no '.join(patterns)}; suite {suite!r} needs one")


class MediaFiles:
    """Media of a benchmark, in its folder or in one of the usual folders below it.

    Args:
        table: the file that names them. They are looked for beside it; beside its folder too if that is one
            for annotations, or if their names begin with its name.
        folders: the usual folders, as globs.
    """

    def __init__(self, table: Path, *folders: str) -> None:
        tops = [table.parent]
        if table.parent.name in _FOR_TABLES:
            tops.append(table.parent.parent)
        self._folders = [
            *tops,
            *(
                found
                for top in tops
                for name in folders
                for found in sorted(top.glob(name))
                if found.is_dir()
            ),
        ]
        self._table = table

    def find(self, *names: str) -> str | None:
        """The path of a medium that goes by one of these names; None if there is none.

        Raises:
            UserError: a name leads out of the folder.
        """
        for name in names:
            if not name or "\0" in name or name.startswith("/") or ".." in PurePosixPath(name).parts:
                raise UserError(
                    f"{str(self._table)!r} names the file {short(name)}; expected one inside its folder"
                )
        places = [folder / name for folder in self._folders for name in names]
        above = self._table.absolute().parent
        places += [above.parent / name for name in names if PurePosixPath(name).parts[0] == above.name]
        return next((str(place) for place in places if place.is_file()), None)

    def __getitem__(self, name: str) -> str:
        """The path of the medium ``name``.

        Raises:
            UserError: it is not there, or leads out of the folder.
        """
        found = self.find(name)
        if found is None:
            looked = ", ".join(repr(str(folder)) for folder in self._folders)
            raise UserError(
                f"{str(self._table)!r} names {name!r}, which is not there; it was looked for in "
                f"{one_line(looked, 160)}"
            )
        return found


def json_in(file: Path) -> Any:
    """Any value in a JSON file.

    Raises:
        UserError: it cannot be read, or is no JSON.
    """
    try:
        return load_json(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{str(file)!r} is not JSON ({reason_of(error)}); get the file again") from None


def text_in(file: Path) -> str:
    """The text of a file; every line ends in ``\\n``.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return read_text(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{str(file)!r} cannot be read: {reason_of(error)}") from None


def lines_in(file: Path) -> Iterator[tuple[str, str]]:
    """Where each line is (``'…': line 3``), and the line, without blank ones.

    Raises:
        UserError: it cannot be read.
    """
    for number, line in enumerate(text_in(file).split("\n"), start=1):
        if line.strip():
            yield f"{str(file)!r}: line {number}", line


def rows_in(file: Path, *columns: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row of a CSV file with a header is, and its fields.

    Args:
        columns: that must be there.

    Raises:
        UserError: it is no such table.
    """
    rows = csv_in(file)
    _, header = next(rows, ("", []))
    missing = [name for name in columns if name not in header]
    if missing:
        raise UserError(
            f"{str(file)!r} has no column {missing[0]!r} in its first line; expected {', '.join(columns)}"
        )
    for where, row in rows:
        if len(row) != len(header):
            raise UserError(
                f"{where} has {len(row)} fields, its first line {len(header)}; get the file again"
            )
        yield where, dict(zip(header, row, strict=True))


def csv_in(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Where each row of a CSV file is, and its fields.

    Raises:
        UserError: it is no CSV.
    """
    reader = csv.reader(io.StringIO(text_in(file)), strict=True)
    try:
        for row in reader:
            if row:
                yield f"{str(file)!r}: line {reader.line_num}", row
    except csv.Error as error:
        raise UserError(
            f"{str(file)!r}: line {reader.line_num}: no CSV ({error}); get the file again"
        ) from None


def field(holder: Any, name: str, kind: type[Value], where: str) -> Value:
    """A field of an object in JSON.

    Args:
        kind: ``str``, ``int``, ``list`` or ``dict``.
        where: what it is in, for the message.

    Raises:
        UserError: it is not there, or something else.
    """
    found = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(found, kind) or isinstance(found, bool):
        what = f"no {name!r}" if found is None else f"{short(found)} as {name!r}"
        raise UserError(f"{where} has {what}; expected {_NAMES[kind]}")
    return found


def key_of(holder: Any, name: str, where: str) -> str:
    """An id in JSON, a whole number or a text, as text.

    Raises:
        UserError: it is not there, or something else.
    """
    found = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
        raise UserError(f"{where} has {short(found)} as {name!r}; expected a number or a name")
    return str(found)
