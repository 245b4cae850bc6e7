"""Numbers: NumPy arrays from files and from callers, and tables in text files, checked before use.

Tables are separated by comma, semicolon, tab or space, with or without a header line.
"""

import codecs
import re
import zipfile
from array import array
from collections.abc import Iterator, Sequence
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError, short
from imagebind_llm.common.text_files import foreign_encoding
from imagebind_llm.media.base import Limits
from imagebind_llm.media.budget import check_time, reserve, reserve_growing
from imagebind_llm.media.dates import dated_columns, dates_as_seconds

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
_CLOUD_COLUMNS = (3, 4, 6, 7, 9)
"""x y z, and after them an intensity, a colour or normal, an intensity and a colour, or colour and normal."""


def is_array_file(data: bytes) -> bool:
    """Whether ``data`` begins like a ``.npy`` or ``.npz`` file."""
    return data.startswith((NPY_MAGIC, ZIP_MAGIC))


def read_array(data: bytes, name: str, limits: Limits, keys: tuple[str, ...] = ()) -> NDArray[Any]:
    """The array of a ``.npy`` file, or of a ``.npz`` (the first of ``keys`` it has, or its only array).

    Never unpickles. The size the header declares is checked before memory is taken for it.

    Raises:
        MediaError: damaged, too large, not numbers, or a ``.npz`` with several arrays and none of ``keys``.
    """
    whole = _unzip(data, name, limits, keys) if data.startswith(ZIP_MAGIC) else memoryview(data)
    stream = BytesIO(whole[:_LONGEST_HEADER])
    try:
        version = np.lib.format.read_magic(stream)
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = reader(stream)
    except Exception as error:  # the header is parsed as a Python literal, which fails in many ways
        raise MediaError(
            name, f"a damaged array header ({error})", "a .npy file", "save it with numpy.save"
        ) from error
    check_dtype(dtype, name)
    count = prod(int(size) for size in shape)
    available = len(whole) - stream.tell()
    if any(size < 0 for size in shape) or count * dtype.itemsize > available:
        raise MediaError(
            name,
            f"a header of shape {shape} ({count * dtype.itemsize} bytes) over {available} bytes of data",
            "as many bytes as the header says",
            "copy or save the file anew",
        )
    values = np.frombuffer(whole, dtype, count, stream.tell())
    return values.reshape(shape, order="F" if fortran else "C")


_LONGEST_HEADER = 1 << 16
"""Bytes; NumPy refuses headers of more than 10,000."""
_UNPACKED_AT_ONCE = 1 << 20
_MOST_MEMBERS = 1000
"""Of an archive; its directory is read as a whole, some kB of memory for each."""


def _unzip(data: bytes, name: str, limits: Limits, keys: tuple[str, ...]) -> memoryview:
    if data.count(b"PK\1\2") > _MOST_MEMBERS:
        raise MediaError(name, f"an archive of over {_MOST_MEMBERS} files", "a few arrays", "save only one")
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = {item.filename.removesuffix(".npy"): item for item in archive.infolist()}
            chosen = next((key for key in keys if key in members), None)
            if chosen is None and len(members) == 1:
                chosen = next(iter(members))
            if chosen is None:
                raise MediaError(
                    name,
                    f"an archive of {len(members)} arrays ({', '.join(list(members)[:8])})",
                    f"one array, or one called {' or '.join(keys) or 'data'}",
                    "save only that one",
                )
            if members[chosen].file_size > limits.max_bytes:
                raise MediaError(
                    name,
                    f"an array that unpacks to {members[chosen].file_size} bytes",
                    f"at most {limits.max_bytes}",
                    "make it smaller or raise Limits.max_bytes",
                )
            if members[chosen].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise MediaError(
                    name, "an archive of another compression", "what NumPy writes", "save it with numpy.savez"
                )
            reserve(members[chosen].file_size, name, limits)
            unpacked = memoryview(bytearray(members[chosen].file_size))
            done = 0
            member: Any
            with archive.open(members[chosen]) as member:
                while count := member.readinto(unpacked[done : done + _UNPACKED_AT_ONCE]):
                    check_time()
                    done += count
            if done < len(unpacked):
                raise EOFError(f"{done} of {len(unpacked)} bytes")
            return unpacked
    except MediaError:
        raise
    except Exception as error:  # zipfile and zlib raise some ten types on damaged archives
        raise MediaError(
            name, f"a damaged archive ({error})", "a .npz file", "save it with numpy.savez"
        ) from error


def check_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Refuse everything but plain real numbers."""
    if dtype.hasobject or dtype.kind not in "biuf" or dtype.names is not None:
        raise MediaError(
            name, f"an array of {dtype}", "real numbers", "convert it, for example with .astype(float)"
        )


def as_array(source: Any, name: str) -> NDArray[Any]:
    """A NumPy view of an array, tensor or sequence of numbers given by a caller.

    Raises:
        MediaError: it does not hold real numbers.
    """
    try:
        if hasattr(source, "detach"):
            source = source.detach().cpu()
            source = source.float().numpy() if source.dtype.is_floating_point else source.numpy()
        values = np.asarray(source)
    except Exception as error:  # ragged lists, exotic tensors
        raise MediaError(
            name, f"not an array ({error})", "an array of numbers", "convert it first"
        ) from error
    check_dtype(values.dtype, name)
    return values


def check_finite(values: NDArray[Any], name: str, what: str = "value") -> None:
    """Refuse NaN and infinity."""
    if values.dtype.kind != "f":
        return
    step = max(1, (1 << 20) // max(1, prod(values.shape[1:])))  # bounds the memory of the comparison
    whole = np.atleast_1d(values)
    blocks = (whole[start : start + step] for start in range(0, len(whole), step))
    bad = sum(int(block.size - np.isfinite(block).sum()) for block in blocks)
    if bad:
        raise MediaError(
            name, f"{bad} of {values.size} {what}s are NaN or infinite", "finite numbers", "clean the data"
        )


def coordinates(values: NDArray[Any], name: str) -> NDArray[Any]:
    """x y z of a cloud ``[n, 3]``, or of one with further columns; whatever else has rows is refused."""
    if values.ndim != 2 or values.shape[1] not in _CLOUD_COLUMNS or len(values) == 0:
        raise MediaError(
            name,
            f"an array of shape {values.shape}",
            "points [n, 3], or [n, 4, 6, 7 or 9] with intensity, colour or normal after x y z",
            "pass one row a point",
        )
    return values[:, :3]


def check_map(values: NDArray[Any], name: str, limits: Limits | None = None) -> NDArray[Any]:
    """A non-empty map ``[H, W]``; axes of length 1 before or after the two are dropped."""
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[0] if values.shape[0] == 1 else values[:, :, 0]
    if values.ndim != 2 or 0 in values.shape:
        raise MediaError(
            name, f"an array of shape {values.shape}", "a non-empty map [H, W]", "pass one channel"
        )
    if limits is not None and values.size > limits.max_pixels:
        raise MediaError(
            name,
            f"{values.shape[1]} × {values.shape[0]} pixels",
            f"at most {limits.max_pixels} in all",
            "make it smaller or raise Limits.max_pixels",
        )
    return values


_SEPARATORS = re.compile(rb"[,;\t]")
_TO_SPACES = bytes.maketrans(b",;\t\r\v\f", b"      ")
_SEEN = 1 << 16
"""Bytes at the beginning whose lines are looked at one by one, for a header and odd separators."""
_LONGEST_LINE = 16 * 1024 * 1024
"""Bytes; a longer line would become more Python objects than memory holds."""
_BLOCK = 1 << 20
"""Bytes of text that are turned into numbers at once."""


def plain_text(data: bytes) -> bytes:
    """``data`` without a UTF-8 mark before it, and with lines that end in ``\\n`` (from CR LF or CR)."""
    data = data.removeprefix(codecs.BOM_UTF8)
    return re.sub(rb"\r\n?", b"\n", data) if b"\r" in data else data


def line_end(head: bytes) -> bytes:
    """``\\r`` if nothing else ends the first line, else ``\\n``. Binary data may follow a header of lines."""
    return b"\r" if re.match(rb"[^\r\n]*\r(?!\r*\n)", head) else b"\n"


def text_lines(data: bytes, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The lines of a text that are not blank, stripped, one at a time; optionally only those within a span.

    The whole text may have any line ends; a span is of one that is :func:`plain_text` already.

    Raises:
        MediaError: a line of more than 16 MiB.
    """
    return (line for _, line in numbered_lines(data, name, start, end))


def numbered_lines(
    data: bytes, name: str, start: int = 0, end: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """As :func:`text_lines`, with the number of each line in the span, from 1."""
    stream = BytesIO(data if end is not None else plain_text(data))
    stream.seek(start)
    number = 0
    while (end is None or stream.tell() < end) and (line := stream.readline(_LONGEST_LINE + 1)):
        if len(line) > _LONGEST_LINE:
            raise MediaError(
                name, f"a line of over {_LONGEST_LINE} bytes", "lines of numbers", "check the file's type"
            )
        number += 1
        if not number % 1024:
            check_time()
        if stripped := line.strip():
            yield number, stripped


def text_spans(data: bytes, first: int = _BLOCK) -> Iterator[tuple[int, int]]:
    """Start and end of parts of ``data`` that are whole lines, each of about 1 MiB (the first one of
    ``first`` bytes)."""
    start, size = 0, first
    while start < len(data):
        check_time()
        end = data.find(b"\n", start + size) + 1 or len(data)
        yield start, end
        start, size = end, _BLOCK


def flat_numbers(text: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """All numbers of a text, and how many each line that is not blank has; None if it holds anything else.

    Numbers are separated by spaces. Far quicker than going line by line, which says where the fault is.
    """
    cells = text.split()
    try:
        numbers = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None
    letters = np.frombuffer(text, np.uint8)
    dark = letters > 32  # every separator, and nothing of a number, is at most a space
    starts = dark.copy()
    starts[1:] &= ~dark[:-1]
    lines = np.concatenate([[0], np.flatnonzero(letters == 10) + 1])
    counts = np.add.reduceat(starts, lines[lines < len(letters)], dtype=np.int64)
    return numbers, counts[counts > 0]


def read_table(data: bytes, name: str, limits: Limits, pts_header: bool = False) -> NDArray[np.float64]:
    """A table ``[rows, columns]``; lines that begin with ``#`` or ``//`` and a header line are passed over.

    Dates with a time are read as seconds since the first of them.

    Args:
        data: the file.
        name: how errors call it.
        limits: ``max_points`` rows are allowed, with 8 values each on average.
        pts_header: a first line of one whole number is a count, not a row (``.pts``).

    Raises:
        MediaError: not text, rows of different lengths, cells that are not numbers, too many values.
    """
    if other := foreign_encoding(data):
        raise MediaError(name, f"{other} text", "UTF-8 or ASCII", "save it as UTF-8")
    if b"\0" in data[:4096]:
        raise MediaError(name, "binary data", "a table of numbers as text", "check the file's type")
    data = dates_as_seconds(plain_text(data))
    _check_separators(data[:_SEEN], name)
    rows = _Rows(name, limits)
    header = False
    for start, end in text_spans(data, first=_SEEN):
        text = _COMMENT.sub(b"", data[start:end])
        if not text.strip() or (rows.columns and rows.extend(text)):
            continue
        before = data.count(b"\n", 0, start)
        for number, line in numbered_lines(data, name, start, end):
            if line.startswith((b"#", b"//")):
                continue
            cells = _SEPARATORS.sub(b" ", line).split()
            if pts_header and not rows.columns and len(cells) == 1:
                continue
            if not rows.columns and not header and _holds_names(line):
                header = True
                continue
            rows.append(cells, before + number)
    return rows.table()


_COMMENT = re.compile(rb"(?m)^[ \t]*(?:#|//)[^\n]*")


class _Rows:
    """The rows of a table so far."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name, self._limits = name, limits
        self._parts: list[array[float] | NDArray[np.float64]] = []
        self._size = 0
        self.columns = 0
        """0 as long as there is no row."""

    def append(self, cells: list[bytes], line: int) -> None:
        """Add the row in ``line`` (from 1)."""
        try:
            row = list(map(float, cells))
        except ValueError:
            wrong = next(cell for cell in cells if not _is_number(cell)).decode("utf-8", "replace")
            remedy = "write times as seconds, or as 2024-01-31T23:59:59.125Z" if ":" in wrong else "mend it"
            raise MediaError(
                self._name, f"line {line}: {short(wrong)} is no number", "numbers in every row", remedy
            ) from None
        if self.columns and len(row) != self.columns:
            raise MediaError(
                self._name,
                f"line {line} with {len(row)} numbers",
                f"{self.columns} as in the first row",
                "mend that line",
            )
        if not row:
            return
        if not self._parts or not isinstance(self._parts[-1], array):
            self._parts.append(array("d"))
        self.columns = len(row)
        self._grow(len(row))
        self._parts[-1].extend(row)  # type: ignore[union-attr]

    def extend(self, text: bytes) -> bool:
        """Add the rows of a text if it holds only such; else do nothing and say so."""
        found = flat_numbers(text.translate(_TO_SPACES))
        if found is None or (found[1] != self.columns).any():
            return False
        self._grow(len(found[0]))
        self._parts.append(found[0])
        return True

    def _grow(self, values: int) -> None:
        self._size += values
        most = self._limits.max_points
        if self._size > 8 * most or self._size > most * self.columns:
            raise MediaError(
                self._name,
                f"more than {min(most, 8 * most // self.columns)} rows",
                f"at most {most} rows of 8 numbers",
                "cut it or raise Limits.max_points",
            )
        reserve_growing(3 * 8 * self._size, self._name, self._limits)

    def table(self) -> NDArray[np.float64]:
        """``[rows, columns]``."""
        if not self.columns:
            raise MediaError(self._name, "no row of numbers", "a table of numbers as text", "check the file")
        whole = np.empty(self._size, np.float64)
        end = self._size
        while self._parts:  # from the end, each given back as soon as it is copied
            part = self._parts.pop()
            whole[end - len(part) : end] = part
            end -= len(part)
        return whole.reshape(-1, self.columns)


def _check_separators(head: bytes, name: str) -> None:
    """Refuse rows whose numbers would be read as others: decimal commas, and empty cells.

    Raises:
        MediaError: naming the first line of those.
    """
    for line in plain_text(head).split(b"\n"):
        bare = re.sub(rb"[ \t]*([,;])[ \t]*", rb"\1", line.strip())
        if not re.match(rb"[-+.\d]", bare):
            continue
        if re.search(rb"\d,\d", bare) and re.search(rb"[; \t]", bare):
            raise MediaError(
                name,
                f"commas within cells ({line[:60].decode('utf-8', 'replace')})",
                "one separator, and decimal points",
                "write 1.5 for 1,5",
            )
        if re.search(rb"([,;])\1(?=[-+.\d])|\t\t(?=[-+.\d])", line.strip()):
            raise MediaError(
                name,
                f"an empty cell ({line[:60].decode('utf-8', 'replace')})",
                "a number in every cell",
                "fill it, or drop the column",
            )


def read_header(data: bytes, name: str) -> list[str]:
    """The names above the columns of a table; none if it begins with numbers.

    They stand in the last line before the numbers, also behind a ``#`` (as NumPy writes them), ``%`` or
    ``//``.
    """
    header: list[str] = []
    for line in text_lines(data, name):
        if not _holds_names(line) and not line.startswith((b"#", b"//")):
            break
        header = [_name(cell) for cell in _cells(re.sub(rb"^(#|//|%)\s*", b"", line))]
    while header and not header[-1]:
        header.pop()  # a separator that ends the line
    return header


def columns_of_dates(data: bytes, name: str) -> set[int]:
    """Which columns of a table are dates, by its first row."""
    for line in text_lines(data, name):
        if not _holds_names(line) and not line.startswith((b"#", b"//")):
            return dated_columns(line, _SEPARATORS)
    return set()


def has_plain_header(data: bytes, name: str) -> bool:
    """Whether a table begins with names; those behind a sign may be a remark."""
    first = next(text_lines(data, name), b"")
    return _holds_names(first) and not first.startswith((b"#", b"//", b"%"))


def tells_nothing(cell: str) -> bool:
    """Whether a name says nothing of its column, such as ``a``, ``c1`` or ``column 2``."""
    return _TELLS_NOTHING.fullmatch(cell) is not None


_TELLS_NOTHING = re.compile(r"(?:[a-z]|col(?:umn)?|field|value|var)?[ _.-]?\d*", re.IGNORECASE)


def axes_by_name(header: Sequence[str]) -> list[int] | None:
    """Where x, y and z stand among the names of a cloud's columns; None if they are not all there, once."""
    names = [cell.lower() for cell in header]
    return [names.index(axis) for axis in "xyz"] if all(names.count(axis) == 1 for axis in "xyz") else None


def _cells(line: bytes) -> list[bytes]:
    """The cells of a header line, whose names may hold spaces if something else separates them."""
    return _SEPARATORS.split(line) if _SEPARATORS.search(line) else line.split()


def _holds_names(line: bytes) -> bool:
    """Whether no cell of a line is a number, nor its beginning."""
    cells = _cells(line)
    return not any(map(_is_number, [*cells, *cells[0].split()[:1]]))


def _name(cell: bytes) -> str:
    try:
        text = cell.decode("utf-8")
    except UnicodeDecodeError:
        text = cell.decode("latin-1")  # for its ° and ²
    return text.strip(" \"'")


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
