"""The SHA-256 of files of any size."""

import hashlib
from collections.abc import Callable
from pathlib import Path

_BLOCK = 2**22


def sha256(path: Path, advance: Callable[[int], object] = lambda _: None) -> str:
    """64 hex digits; ``advance`` is called with the number of bytes just read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()
