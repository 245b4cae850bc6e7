"""How much sound the header of a WAV or AIFF file promises, and how much there is.

Libraries read what there is without a word. A torn file would pass for a shorter recording.
"""

import os
from typing import BinaryIO

from imagebind_llm.common.errors import MediaError

LEAST_SHARE = 0.9
"""Of what a header promises, this much must be there. A file whose last seconds are missing is read, one of
which a larger part is missing is refused."""
_OPEN = 0x7FFF_0000
"""Bytes. Programs that write into a pipe put 0, or this or more (2³¹ or 2³² less a little), where they do not
know the length."""
_MOST_CHUNKS = 10_000


def check_length(stream: BinaryIO, name: str) -> bool:
    """Whether the header leaves the length open, so that the sound goes on to the end of the file.

    Raises:
        MediaError: too little sound for what the header says, or much after it that is no chunk.
    """
    stream.seek(0)
    head = stream.read(12)
    order, sound = {b"RIFF": ("little", b"data"), b"RIFX": ("big", b"data"), b"FORM": ("big", b"SSND")}.get(
        head[:4], (None, b"")
    )
    if order is None or head[8:12] not in (b"WAVE", b"AIFF", b"AIFC"):
        return False
    end = stream.seek(0, os.SEEK_END)
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
    if rest < LEAST_SHARE * size:
        raise MediaError(
            name,
            f"{rest} bytes of sound where its header says {size}",
            f"at least {LEAST_SHARE:.0%} of them",
            "copy it anew, or save what is left as a new file",
        )
    after = place + size + size % 2
    if end - after > (1 - LEAST_SHARE) * size and not _chunks_follow(stream, after, end, order):
        raise MediaError(
            name,
            f"{size} bytes of sound by its header, and {end - after} bytes after them that are no chunk",
            "a header that tells the length",
            "write it anew: ffmpeg -ignore_length 1 -i broken.wav whole.wav",
        )
    return False


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
