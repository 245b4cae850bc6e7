"""Text that people wrote: UTF-8 with or without a byte-order mark, lines that end as on any system.

``str.splitlines`` is no reader of lines: it also cuts at U+000B, U+000C, U+001C–U+001E, U+0085, U+2028 and
U+2029, all of which captions hold.
"""

import codecs
import os
import re
from pathlib import Path

_MARK = codecs.BOM_UTF8
_OTHERS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_SEEN = 4096
"""Bytes at the beginning that are looked at for zeros, of which UTF-16 has one beside each Latin letter."""


class NotUtf8(ValueError):  # noqa: N818 - it says what the bytes are not
    """Bytes that are not UTF-8 text; the message goes on from what they are called."""


def foreign_encoding(head: bytes) -> str | None:
    """``UTF-16`` or ``UTF-32`` if ``head``, the first bytes of a text, says so; None for any other."""
    for mark, name in _OTHERS.items():
        if head.startswith(mark):
            return name
    even, odd = head[:_SEEN:2].count(0), head[1:_SEEN:2].count(0)
    many = max(even, odd) > max(1, len(head[:_SEEN]) / 10)
    return "UTF-16" if many and min(even, odd) == 0 else None


def decode_text(data: bytes) -> str:
    """``data`` as text, without the mark that some editors put before it.

    Raises:
        NotUtf8: it is something else; UTF-16 and UTF-32 are named.
    """
    other = foreign_encoding(data)
    if other:
        raise NotUtf8(f"is {other}, not UTF-8; save it as UTF-8")
    try:
        return data.removeprefix(_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8(f"is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file; every line ends in ``\\n``.

    Raises:
        NotUtf8: see :func:`decode_text`.
        OSError: it cannot be read.
    """
    return re.sub("\r\n?", "\n", decode_text(Path(path).read_bytes()))
