"""Numbers in text files: comma, semicolon, tab or space separated, with or without a header line."""

import re
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.limits import Limits

_SEPARATORS = re.compile(rb"[,;\t]")
_LONGEST_LINE = 16 * 1024 * 1024
"""Bytes; a longer line would become more Python objects than memory holds."""


def text_lines(data: bytes, name: str) -> Iterator[bytes]:
    """The lines of a text that are not blank, stripped, one at a time.

    Raises:
        MediaError: a line of more than 16 MiB.
    """
    stream = BytesIO(data)
    while line := stream.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise MediaError(
                name, f"a line of over {_LONGEST_LINE} bytes", "lines of numbers", "check the file's type"
            )
        if stripped := line.strip():
            yield stripped


def read_table(data: bytes, name: str, limits: Limits, pts_header: bool = False) -> NDArray[np.float64]:
    """A table ``[rows, columns]``; lines that begin with ``#`` or ``//`` and a header line are passed over.

    Args:
        data: the file.
        name: how errors call it.
        limits: ``max_points`` rows are allowed, with 8 values each on average.
        pts_header: a first line of one whole number is a count, not a row (``.pts``).

    Raises:
        MediaError: not text, rows of different lengths, cells that are not numbers, too many values.
    """
    if b"\0" in data[:4096]:
        raise MediaError(name, "binary data", "a table of numbers as text", "check the file's type")
    rows: list[NDArray[np.float64]] = []
    values, header = 0, False
    for number, line in enumerate(text_lines(data.removeprefix(b"\xef\xbb\xbf"), name)):
        if line.startswith((b"#", b"//")):
            continue
        cells = _SEPARATORS.sub(b" ", line).split()
        if pts_header and not rows and len(cells) == 1:
            continue
        if not rows and not header and not any(map(_is_number, cells)):
            header = True
            continue
        try:
            row = np.array([float(cell) for cell in cells])
        except ValueError as error:
            raise MediaError(
                name, f"line {number + 1}: {error}", "numbers in every row", "mend it"
            ) from error
        if rows and len(row) != len(rows[0]):
            raise MediaError(
                name,
                f"line {number + 1} with {len(row)} numbers",
                f"{len(rows[0])} as in the first row",
                "mend that line",
            )
        rows.append(row)
        values += len(row)
        if len(rows) > limits.max_points or values > 8 * limits.max_points:
            raise MediaError(
                name,
                f"more than {len(rows) - 1} rows",
                f"at most {limits.max_points} rows of 8 numbers",
                "cut it or raise Limits.max_points",
            )
    if not rows or len(rows[0]) == 0:
        raise MediaError(name, "no row of numbers", "a table of numbers as text", "check the file")
    return np.stack(rows)


def read_header(data: bytes, name: str) -> list[str]:
    """The names above the columns of a table, in lower case; none if it begins with numbers.

    They stand in the last line before the numbers, also behind a ``#`` (as NumPy writes them).
    """
    header: list[str] = []
    for line in text_lines(data.removeprefix(b"\xef\xbb\xbf"), name):
        bare = line.removeprefix(b"#").strip()
        cells = _SEPARATORS.split(bare) if _SEPARATORS.search(bare) else bare.split()
        if any(map(_is_number, _SEPARATORS.sub(b" ", line).split())) and not line.startswith(b"#"):
            break
        header = [cell.decode("utf-8", "replace").strip(" \"'").lower() for cell in cells]
    return header


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
