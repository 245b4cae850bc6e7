"""Times as loggers write them (``2024-01-01T00:00:00.010Z``) in a table of numbers, as seconds."""

import re
from calendar import timegm
from datetime import datetime

from imagebind_llm.media.budget import check_time

_DATE = re.compile(
    rb"\"?\b(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,12}))?)? ?(Z|UTC|[+-]\d\d(?::?\d\d)?)?"
    rb"(?![\w.:+-])\"?",
    re.IGNORECASE,
)
_SEEN = 1 << 16
"""Bytes at the beginning in which the first date stands, if there are any."""


def dates_as_seconds(data: bytes) -> bytes:
    """``data`` with each date and time (ISO 8601) replaced by the seconds since the first of them.

    Without a zone it is one of the same place all along. What is no date (a 13th month) stays as it is.
    """
    first = _DATE.search(data, 0, _SEEN)
    start = None if first is None else _nanoseconds(first)
    if start is None:
        return data
    seen = 0

    def seconds(match: re.Match[bytes]) -> bytes:
        nonlocal seen
        seen += 1
        if not seen % 1024:
            check_time()
        found = _nanoseconds(match)
        return match[0] if found is None else repr((found - start) / 1e9).encode()

    return _DATE.sub(seconds, data)


def dated_columns(line: bytes, separators: re.Pattern[bytes]) -> set[int]:
    """Which cells of a row are dates."""
    cells = separators.split(line) if separators.search(line) else [line]
    return {place for place, cell in enumerate(cells) if _DATE.match(cell.strip())}


def _nanoseconds(match: re.Match[bytes]) -> int | None:
    """Since 1970; None: no such day or hour."""
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        whole = timegm(datetime(year, month, day, hour, minute, second).timetuple())
    except ValueError:
        return None
    fraction = int((match[7] or b"").ljust(9, b"0")[:9])
    return (whole - _offset(match[8])) * 10**9 + fraction


def _offset(zone: bytes | None) -> int:
    """Seconds that a zone is ahead of UTC."""
    if not zone or zone.upper() in (b"Z", b"UTC"):
        return 0
    digits = zone[1:].replace(b":", b"").ljust(4, b"0")
    size = 3600 * int(digits[:2]) + 60 * int(digits[2:])
    return -size if zone.startswith(b"-") else size
