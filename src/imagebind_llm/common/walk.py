"""What lies in a folder of someone's data."""

import os
from collections.abc import Iterator
from pathlib import Path

_ADDED = "__MACOSX"
"""Folder that macOS puts into archives, with a ``._NAME`` for each file: no data, whatever its suffix."""


def visible_files(folder: Path) -> Iterator[Path]:
    """The files below ``folder``, sorted within each folder, without hidden ones and what macOS adds."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if is_visible(name))
        for name in sorted(filter(is_visible, names)):
            file = Path(place, name)
            if file.is_file():
                yield file


def is_visible(name: str) -> bool:
    """Whether a part of a path is neither hidden nor added by macOS."""
    return not name.startswith(".") and name != _ADDED
