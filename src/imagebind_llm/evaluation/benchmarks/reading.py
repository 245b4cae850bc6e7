"""Files of benchmarks as they were released, read row by row.

Whatever is wrong with one is a single line that names the file, and the line or entry in it.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.common.files import load_json
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.common.text_files import NotUtf8, read_text


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
        """A whole number or a text that is not empty, as a text."""
        value = self._get(name, (int, str), "a whole number or a text")
        if value == "":
            raise self.refused(name, "a whole number or a text")
        return str(value)

    def list(self, name: str, empty: bool = False) -> Sequence[Any]:
        """A list, which may be ``empty`` or not."""
        value: Sequence[Any] = self._get(name, list, "a list")
        if not empty and not value:
            raise self.refused(name, "a list that is not empty")
        return value

    def texts(self, name: str) -> Sequence[str]:
        """A list of texts."""
        value = self.list(name)
        if not all(isinstance(text, str) for text in value):
            raise self.refused(name, "a list of texts")
        return value

    def rows(self, name: str, empty: bool = False) -> Sequence["Row"]:
        """A list of objects, which may be ``empty`` or not."""
        return _rows(self.list(name, empty), f"{self.where}: {name!r}")

    def row(self, name: str) -> "Row":
        """An object."""
        return Row(self._get(name, dict, "an object"), f"{self.where}: {name!r}")

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
        UserError: it is neither, is empty, or holds something else.
    """
    if read(path).lstrip()[:1] == "[":
        return _rows(_json(path), repr(str(path)))
    rows = []
    for where, line in text_lines(path):
        with _in_one_line(where):
            value = parse_json(line)
        if not isinstance(value, dict):
            raise UserError(f"{where} holds {short(value)}; expected an object")
        rows.append(Row(value, where))
    if not rows:
        raise UserError(f"{str(path)!r} is empty; get the file again")
    return rows


def csv_rows(path: Path, columns: Sequence[str] = ()) -> Sequence[Row]:
    """The rows of a table whose first line names its columns.

    Args:
        columns: must be among them.

    Raises:
        UserError: it is no such table, has no rows, lacks a column or has one twice, or a row has more or
            fewer cells.
    """
    lines = csv_cells(path)
    _, head = next(lines, ("", []))
    names = [name.strip() for name in head]
    for name in (*columns, *filter(None, names)):
        if names.count(name) != 1:
            many = "no column" if name not in names else f"{names.count(name)} columns"
            raise UserError(
                f"{str(path)!r} has {many} {name!r}; its first line is {one_line(','.join(names), 100)!r}"
            )
    rows = []
    for where, cells in lines:
        if len(cells) != len(names):
            raise UserError(f"{where} has {len(cells)} cells; expected {len(names)}, as in the first line")
        rows.append(Row(dict(zip(names, cells, strict=True)), where))
    if not rows:
        raise UserError(f"{str(path)!r} has no rows below its first line; get the file again")
    return rows


def csv_cells(path: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """Where each row of a table stands, and its cells; without rows that are empty.

    Cells are separated by commas; by tabs if it is called ``.tsv``.

    Raises:
        UserError: it cannot be read, or breaks the rules of CSV.
    """
    kind = "excel-tab" if path.suffix.lower() == ".tsv" else "excel"
    reader = csv.reader(io.StringIO(read(path), newline=""), kind, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cells):
                yield f"{str(path)!r}: line {line}", cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{str(path)!r}: line {line} breaks the rules of CSV ({error}); mend it, or get the file again"
        ) from None


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


def table_rows(path: Path) -> Sequence[Row]:
    """The rows of a table by the ending of its name: CSV, TSV, JSON lines or Parquet.

    Raises:
        UserError: it is called otherwise, is no such table, or has no rows.
    """
    readers: Mapping[str, Callable[[Path], Sequence[Row]]] = {
        ".csv": csv_rows,
        ".tsv": csv_rows,
        ".jsonl": json_rows,
        ".parquet": _parquet_rows,
    }
    read_rows = readers.get(path.suffix.lower())
    if read_rows is None:
        raise UserError(f"{str(path)!r} is called as no table; expected {', '.join(readers)}")
    rows = read_rows(path)
    if not rows:
        raise UserError(f"{str(path)!r} has no rows; get the file again")
    return rows


def _parquet_rows(path: Path) -> Sequence[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{str(path)!r} is no readable Parquet file ({one_line(str(error), 120)}); give another"
        ) from None
    return [Row(values, f"{str(path)!r}: row {number}") for number, values in enumerate(rows)]


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Where each line of a text stands, and the line; without blank ones.

    Raises:
        UserError: it cannot be read.
    """
    for number, line in enumerate(read(path).split("\n"), start=1):
        if line.strip():
            yield f"{str(path)!r}: line {number}", line


def read(path: Path) -> str:
    """The text of a file; every line ends in ``\\n``.

    Raises:
        UserError: it cannot be read, or is no UTF-8.
    """
    with _in_one_line(repr(str(path))):
        return read_text(path)


def _json(path: Path) -> Any:
    with _in_one_line(repr(str(path))):
        return load_json(path)


def _rows(values: Any, where: str) -> Sequence[Row]:
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise UserError(f"{where}: entry {number} is {short(value)}; expected an object")
    return [Row(value, f"{where}: entry {number}") for number, value in enumerate(values, start=1)]


@contextmanager
def _in_one_line(where: str) -> Iterator[None]:
    """Say what is wrong with a text, or with the JSON in it."""
    try:
        yield
    except NotUtf8 as error:
        raise UserError(f"{where} {error}") from None
    except ValueError as error:
        raise UserError(f"{where} is not JSON ({one_line(error)}); get the file again") from None
    except OSError as error:
        raise UserError(
            f"cannot read {where} ({error.strerror}); check the path, and that the data are complete"
        ) from None
