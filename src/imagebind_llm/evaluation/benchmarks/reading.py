"""Files of benchmarks as they were released: found in a folder, and read row by row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.common.files import load_json
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.common.text_files import read_text
from imagebind_llm.data.sources.cells import comma_rows


def folder_of(data: Path | None, suite: str) -> Path:
    """``data``, which must be a folder.

    Raises:
        UserError: it is not given, or is none.
    """
    if data is None:
        raise UserError(f"{suite} needs its files; give the folder that holds them with --data")
    if not data.is_dir():
        raise UserError(f"--data {str(data)!r} is no folder; {suite} needs the folder that holds its files")
    return data


def find_file(folder: Path, *names: str) -> Path:
    """The first of ``names`` that is in ``folder``, or in one of the folders in it.

    Raises:
        UserError: there is none, or one name twice.
    """
    for name in names:
        places = [folder] if isfile(folder / name) else sorted(folder.iterdir())
        found = [place / name for place in places if isfile(place / name)]
        if len(found) > 1:
            raise UserError(
                f"{name!r} is in {str(found[0].parent)!r} and in {str(found[1].parent)!r}; give one as --data"
            )
        if found:
            return found[0]
    wanted = " or ".join(repr(name) for name in names)
    raise UserError(f"there is no {wanted} in {str(folder)!r} or its folders; unpack the release there")


@dataclass(frozen=True)
class Row:
    """One object of a file, with the place where it stands, for errors. Fields are checked as they are read.

    Raises:
        UserError: every method, if the field is missing or of another type; naming the place.
    """

    values: Mapping[str, Any]
    where: str

    def _get(self, name: str, kinds: type | tuple[type, ...], expected: str) -> Any:
        if name not in self.values:
            known = one_line(", ".join(map(str, self.values)), 100)
            raise UserError(f"{self.where} has no {name!r}; it has {known or 'nothing'}")
        value = self.values[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise self.refused(name, expected)
        return value

    def refused(self, name: str, expected: str) -> UserError:
        """The error that a field is not as expected."""
        return UserError(f"{self.where}: {name!r} is {short(self.values.get(name))}; expected {expected}")

    def text(self, name: str, empty: bool = False) -> str:
        """A text, which may be ``empty`` or not."""
        value: str = self._get(name, str, "a text")
        if not empty and not value.strip():
            raise self.refused(name, "a text that is not empty")
        return value

    def whole(self, name: str) -> int:
        """A whole number."""
        value: int = self._get(name, int, "a whole number")
        return value

    def id(self, name: str) -> str:
        """A whole number or a text, as a text."""
        return str(self._get(name, (int, str), "a whole number or a text"))

    def list(self, name: str) -> Sequence[Any]:
        """A list with something in it."""
        value: Sequence[Any] = self._get(name, list, "a list")
        if not value:
            raise self.refused(name, "a list that is not empty")
        return value

    def texts(self, name: str) -> Sequence[str]:
        """A list of texts."""
        value = self.list(name)
        if not all(isinstance(text, str) for text in value):
            raise self.refused(name, "a list of texts")
        return value

    def rows(self, name: str) -> Sequence["Row"]:
        """A list of objects."""
        return _rows(self.list(name), f"{self.where}: {name!r}")

    def one_of(self, name: str, known: Sequence[str]) -> str:
        """A text that is, in lower case and without white space around it, one of a few."""
        value = self.text(name).strip().lower()
        if value not in known:
            raise self.refused(name, " or ".join(repr(one) for one in known))
        return value


def json_object(path: Path) -> Row:
    """The object in a JSON file.

    Raises:
        UserError: it is no JSON, or holds something else.
    """
    value = _json(path)
    if not isinstance(value, dict):
        raise UserError(f"{str(path)!r} holds a {type(value).__name__}; expected an object")
    return Row(value, repr(str(path)))


def json_table(path: Path) -> Mapping[str, Row]:
    """The objects in a JSON file that gives each by its id.

    Raises:
        UserError: it is no JSON, or holds something else.
    """
    entries = json_object(path).values
    for key, value in entries.items():
        if not isinstance(value, dict):
            raise UserError(f"{str(path)!r}: {key!r} is {short(value)}; expected an object")
    return {key: Row(value, f"{str(path)!r}: entry {key!r}") for key, value in entries.items()}


def json_rows(path: Path) -> Sequence[Row]:
    """The objects of a JSON list, or of JSON lines, whichever the file is.

    Raises:
        UserError: it is neither, or holds something else.
    """
    text = _text(path)
    if text.lstrip()[:1] == "[":
        return _rows(_json(path), repr(str(path)))
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{str(path)!r}: line {number}"
            try:
                value = parse_json(line)
            except ValueError as error:
                raise UserError(f"{where} is not JSON ({one_line(error)}); get the file again") from None
            if not isinstance(value, dict):
                raise UserError(f"{where} holds {short(value)}; expected an object")
            rows.append(Row(value, where))
    return rows


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of comma-separated values by the names in the first row; ``columns`` must be among them.

    Raises:
        UserError: a column is missing or twice, or a row has more or fewer cells.
    """
    try:
        lines = list(comma_rows(_text(path)))
    except ValueError as error:
        raise UserError(f"{str(path)!r} is {error}; mend it, or get it again") from None
    names = [name.strip() for name in lines[0]] if lines else []
    for name in columns:
        if names.count(name) != 1:
            many = "no column" if name not in names else f"{names.count(name)} columns"
            raise UserError(
                f"{str(path)!r} has {many} {name!r}; its first row is {one_line(','.join(names), 100)!r}"
            )
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cells):
            continue
        if len(cells) != len(names):
            raise UserError(
                f"{str(path)!r}: row {number} has {len(cells)} cells; the first row has {len(names)}"
            )
        yield Row(dict(zip(names, cells, strict=True)), f"{str(path)!r}: row {number}")


def by_id(rows: Iterable[Row], name: str) -> Mapping[str, Row]:
    """Rows by the field ``name``.

    Raises:
        UserError: two have the same.
    """
    found: dict[str, Row] = {}
    for row in rows:
        key = row.id(name)
        if key in found:
            raise UserError(
                f"{row.where} has the {name} {key!r}, as {found[key].where} has; each may come once"
            )
        found[key] = row
    return found


def text_lines(path: Path) -> Sequence[str]:
    """The lines of a text.

    Raises:
        UserError: it cannot be read.
    """
    return _text(path).split("\n")


def _rows(values: Any, where: str) -> Sequence[Row]:
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise UserError(f"{where}: entry {number} is {short(value)}; expected an object")
    return [Row(value, f"{where}: entry {number}") for number, value in enumerate(values, start=1)]


def _json(path: Path) -> Any:
    try:
        return load_json(path)
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not JSON ({one_line(error)}); get the file again") from None
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}") from None


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except ValueError as error:
        raise UserError(f"{str(path)!r} {one_line(error)}") from None
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}") from None
