"""The cells of one row of a table, and what quotes in it mean.

Between commas, quotes are those of RFC 4180; a row that breaks its rules is refused. Tab-separated files have
no such rule: most are written without any quoting, some by a spreadsheet that quotes. So a cell loses its
quotes only if all of it is quoted, with every quote inside doubled. ``"Meow" says "Tom"`` keeps its own. One
that begins with a quote and never closes it may go on in the next line, so it is refused.
"""

import csv
import io
from collections.abc import Iterator


def tab_cells(line: str) -> list[str]:
    """The cells of a line of tab-separated values.

    Raises:
        ValueError: a quoted cell does not end in this line.
    """
    return [_unquoted(cell) for cell in line.rstrip("\r\n").split("\t")]


def comma_cells(row: str) -> list[str]:
    """The cells of a row of comma-separated values, which may hold quoted line breaks.

    Raises:
        ValueError: it breaks RFC 4180's rules, or is not one row.
    """
    rows = list(comma_rows(row))
    if len(rows) != 1:
        raise ValueError(f"not a row of comma-separated values ({len(rows)} of them, with odd line ends)")
    return rows[0]


def comma_rows(text: str) -> Iterator[list[str]]:
    """The rows of comma-separated values.

    Raises:
        ValueError: they break RFC 4180's rules.
    """
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from rows
    except csv.Error as error:
        raise ValueError(f"not a row of comma-separated values ({error})") from None


def _unquoted(cell: str) -> str:
    if not cell.startswith('"'):
        return cell
    inside = cell[1:-1]
    if len(cell) >= 2 and cell.endswith('"') and '"' not in inside.replace('""', ""):
        return inside.replace('""', '"')
    if cell.count('"') % 2:
        raise ValueError("a cell begins with a quote that is never closed; close it, or take it out")
    return cell
