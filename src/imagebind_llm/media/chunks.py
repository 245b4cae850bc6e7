"""How much sound the header of a file promises, and how much there is.

Libraries read what there is without a word. A torn file would pass for a shorter recording.
"""

import os
from collections.abc import Callable
from typing import BinaryIO

from imagebind_llm.common.errors import MediaError

LEAST_SHARE = 0.9
"""Of what a header promises, this much must be there. A file whose last seconds are missing is read, one of
which a larger part is missing is refused."""
_OPEN = 0x7FFF_0000
"""Bytes. Programs that write into a pipe put 0, or this or more (2³¹ or 2³² less a little), where they do not
know the length."""
_MOST_CHUNKS = 10_000
_LONGEST_PAGE = 27 + 255 + 255 * 255
"""Bytes of an Ogg page (RFC 3533)."""


def check_length(stream: BinaryIO, name: str) -> bool:
    """Whether the header of a WAV or AIFF leaves the length open, so that the sound goes on to the end.

    Raises:
        MediaError: too little sound for what the header says (WAV, AIFF, RF64, W64, AU, CAF, Matroska, Ogg),
            or much after it that is no chunk (WAV, AIFF).
    """
    stream.seek(0)
    head = stream.read(12)
    end = stream.seek(0, os.SEEK_END)
    if head[:4] == b"OggS":
        _check_last_page(stream, end, name)
    if head[:4] in _PROMISED:
        _check_there(*_PROMISED[head[:4]](stream, end), name)
    order, sound = {b"RIFF": ("little", b"data"), b"RIFX": ("big", b"data"), b"FORM": ("big", b"SSND")}.get(
        head[:4], (None, b"")
    )
    if order is None or head[8:12] not in (b"WAVE", b"AIFF", b"AIFC"):
        return False
    place = 12
    for _ in range(_MOST_CHUNKS):
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8:
            return False
        size = int.from_bytes(head[4:], "little" if order == "little" else "big")
        place += 8
        if head[:4] == sound:
            break
        place += size + size % 2
    else:
        return False
    rest = end - place
    if (size == 0 and rest and not _chunks_follow(stream, place, end, order)) or size >= max(_OPEN, rest):
        return True
    _check_there(rest, size, name)
    after = place + size + size % 2
    if end - after > (1 - LEAST_SHARE) * size and not _chunks_follow(stream, after, end, order):
        raise MediaError(
            name,
            f"{size} bytes of sound by its header, and {end - after} bytes after them that are no chunk",
            "a header that tells the length",
            "write it anew: ffmpeg -ignore_length 1 -i broken.wav whole.wav",
        )
    return False


def _check_there(there: int, promised: int, name: str) -> None:
    if there < LEAST_SHARE * promised:
        raise MediaError(
            name,
            f"{there} bytes of sound where its header says {promised}",
            f"at least {LEAST_SHARE:.0%} of them",
            "copy it anew, or save what is left as a new file",
        )


def _au(stream: BinaryIO, end: int) -> tuple[int, int]:
    """Bytes of sound that are there, and that the header promises; both 0 where it leaves that open."""
    stream.seek(0)
    big = stream.read(4) == b".snd"
    start, size = (int.from_bytes(stream.read(4), "big" if big else "little") for _ in range(2))
    return (0, 0) if size == 0xFFFF_FFFF else (end - start, size)


def _caf(stream: BinaryIO, end: int) -> tuple[int, int]:
    """As :func:`_au`."""
    place = 8
    for _ in range(_MOST_CHUNKS):
        stream.seek(place)
        head = stream.read(12)
        size = int.from_bytes(head[4:], "big", signed=True)
        if len(head) < 12 or size < 0:  # -1: open
            break
        if head[:4] == b"data":
            return end - place - 12, size
        place += 12 + size
    return 0, 0


def _wave64(stream: BinaryIO, end: int) -> tuple[int, int]:
    """As :func:`_au`. Sony's form: names of 16 bytes, sizes of 8 that count the chunk's head, steps of 8."""
    place = 40
    for _ in range(_MOST_CHUNKS):
        stream.seek(place)
        head = stream.read(24)
        size = int.from_bytes(head[16:], "little")
        if len(head) < 24 or size < 24:
            break
        if head[:4] == b"data":
            return end - place - 24, size - 24
        place += -(-size // 8) * 8
    return 0, 0


def _rf64(stream: BinaryIO, end: int) -> tuple[int, int]:
    """As :func:`_au`. The chunk ds64 tells the size of the sound (EBU Tech 3306)."""
    stream.seek(12)
    head = stream.read(24)
    if head[:4] != b"ds64":
        return 0, 0
    promised, place = int.from_bytes(head[16:24], "little"), 20 + int.from_bytes(head[4:8], "little")
    for _ in range(_MOST_CHUNKS):
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8:
            break
        if head[:4] == b"data":
            return end - place - 8, promised
        size = int.from_bytes(head[4:], "little")
        place += 8 + size + size % 2
    return 0, 0


def _matroska(stream: BinaryIO, end: int) -> tuple[int, int]:
    """As :func:`_au`, of the whole segment (RFC 8794: a number's leading zeros tell its length)."""
    stream.seek(0)
    for name in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        if stream.read(4) != name:
            return 0, 0
        first = stream.read(1)
        if not first or not first[0]:
            return 0, 0
        more = 8 - first[0].bit_length()
        size = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + stream.read(more), "big")
        place = stream.tell()
        if size == (1 << 7 * (more + 1)) - 1:  # all ones: open
            return 0, 0
        stream.seek(place + size)
    return end - place, size


def _check_last_page(stream: BinaryIO, end: int, name: str) -> None:
    """No header of an Ogg file tells its length, but its pages are whole."""
    stream.seek(max(0, end - _LONGEST_PAGE))
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS\0")) :]
    if page.startswith(b"OggS\0"):
        lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
        if len(page) < 27 or len(page) < 27 + page[26] + sum(lengths):
            raise MediaError(
                name,
                "an Ogg file whose last page is cut off",
                "a whole file",
                "copy it anew, or save what is left as a new file",
            )


_PROMISED: dict[bytes, Callable[[BinaryIO, int], tuple[int, int]]] = {
    b".snd": _au,
    b"dns.": _au,
    b"caff": _caf,
    b"riff": _wave64,
    b"RF64": _rf64,
    b"BW64": _rf64,
    b"\x1a\x45\xdf\xa3": _matroska,
}


def _chunks_follow(stream: BinaryIO, place: int, end: int, order: str) -> bool:
    """Whether everything from ``place`` to ``end`` is chunks with names."""
    for _ in range(_MOST_CHUNKS):
        if place >= end - 1:
            return True
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8 or not all(32 <= byte < 127 for byte in head[:4]):
            return False
        size = int.from_bytes(head[4:], "little" if order == "little" else "big")
        place += 8 + size + size % 2
        if place > end + 1:
            return False
    return False
