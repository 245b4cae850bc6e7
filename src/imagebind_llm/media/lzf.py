"""LZF, the compression of Marc Lehmann's LibLZF, as PCD files hold it.

A control byte below 32 is followed by that many bytes and one more, to be copied. Any other tells, with one
or two bytes after it, how long a piece of the output is to be repeated, and from how far back.
"""

from imagebind_llm.media.budget import check_time

_LITERAL = 32
"""Control bytes below copy what follows them."""
_LONG = 7
"""A length of so much in the control byte's upper three bits goes on in the next byte."""
_LOOK = 1 << 16
"""Bytes between two looks at the time."""


def lzf_decompress(data: bytes, size: int) -> bytes:
    """The ``size`` bytes that ``data`` holds.

    Raises:
        ValueError: it holds more or fewer, or is damaged.
    """
    out = bytearray()
    place, end = 0, len(data)
    look = _LOOK
    while place < end:
        if place >= look:
            check_time()
            look = place + _LOOK
        control = data[place]
        place += 1
        if control < _LITERAL:
            start, place = place, place + control + 1
            out += data[start:place]
            continue
        length = control >> 5
        if place + (length == _LONG) >= end:
            place = end + 1
            break
        if length == _LONG:
            length += data[place]
            place += 1
        length += 2
        back = ((control & 31) << 8) + data[place] + 1
        place += 1
        start = len(out) - back
        if start < 0:
            raise ValueError("compressed data that refer to what is before them")
        if back >= length:
            out += out[start : start + length]
        else:  # a piece that reaches into itself goes on with its own beginning
            out += (out[start:] * (length // back + 1))[:length]
        if len(out) > size:
            break
    if place > end:
        raise ValueError("compressed data that end too early")
    if len(out) != size:
        raise ValueError(f"compressed data of {len(out)} bytes, not {size}")
    return bytes(out)
