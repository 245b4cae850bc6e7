"""Numbers in text files: comma, semicolon, tab or space separated, with or without a header line."""

import re

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.media.errors import MediaError
from imagebind_llm.media.limits import Limits

_SEPARATORS = re.compile(rb"[,;\t]")


def read_table(
    data: bytes, name: str, limits: Limits, comments: tuple[bytes, ...] = (b"#", b"//")
) -> NDArray[np.float64]:
    """A table ``[rows, columns]``.

    Raises:
        MediaError: not text, rows of different lengths, cells that are not numbers, too many values.
    """
    if b"\0" in data[:4096]:
        raise MediaError(name, "binary data", "a table of numbers as text", "check the file's type")
    lines = [line for line in data.splitlines() if line.strip() and not line.lstrip().startswith(comments)]
    if lines and not _is_numeric(lines[0]):
        lines = lines[1:]
    if not lines:
        raise MediaError(name, "no row of numbers", "a table of numbers as text", "check the file")
    columns = len(_cells(lines[0]))
    if columns * len(lines) > limits.max_points:
        raise MediaError(
            name,
            f"a table of {len(lines)} × {columns}",
            f"at most {limits.max_points} values",
            "cut it or raise Limits.max_points",
        )
    values = np.empty((len(lines), columns), np.float64)
    for number, line in enumerate(lines):
        cells = _cells(line)
        try:
            values[number] = [float(cell) for cell in cells]
        except ValueError as error:
            found = f"row {number + 1} has {len(cells)} cells" if len(cells) != columns else str(error)
            raise MediaError(name, found, f"{columns} numbers in every row", "mend that row") from error
    return values


def _cells(line: bytes) -> list[bytes]:
    return _SEPARATORS.sub(b" ", line).split()


def _is_numeric(line: bytes) -> bool:
    try:
        [float(cell) for cell in _cells(line)]
    except ValueError:
        return False
    return True
