"""Files of benchmarks as people unpack them: the table in a folder, and the media that it names."""

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from os.path import isfile
from pathlib import Path, PurePosixPath
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.common.walk import is_visible

PICTURES = (".jpg", ".png", ".jpeg", ".JPG")
VIDEOS = (".mp4", ".webm", ".mkv", ".avi", ".mov")
_FOR_TABLES = frozenset({"annotations", "gt_answers", "entities", "key", "keys"})


def require_data(data: Path | None, suite: str, layout: str) -> Path:
    """The folder or file that the user gave.

    Args:
        layout: what it must be or hold, for the message.

    Raises:
        UserError: none, or there is nothing of that name.
    """
    if data is None:
        raise UserError(f"suite {suite!r} needs --data: {layout}")
    if not data.exists():
        raise UserError(f"there is no file or folder {str(data)!r}; suite {suite!r} needs {layout}")
    return data


def find_file(folder: Path, *names: str) -> Path:
    """The file of the first of ``names`` that is in ``folder``, or else in one of the folders in it.

    Args:
        names: in the order of preference; ``*`` in one stands for anything.

    Raises:
        UserError: ``folder`` is none; there is no such file, or several of one name.
    """
    found = look_for(folder, *names)
    if found is None:
        raise UserError(
            f"there is no {_any_of(names)} in {str(folder)!r} or its folders; give the folder that has it"
        )
    return found


def find_table(data: Path, *names: str) -> Path:
    """The one file that says what is asked: ``data`` itself, or :func:`find_file` in it.

    Raises:
        UserError: there is none, or several of one name.
    """
    return data if data.is_file() else find_file(data, *names)


def look_for(folder: Path, *names: str) -> Path | None:
    """As :func:`find_file`, but None if there is no such file.

    Raises:
        UserError: ``folder`` is none, or there are several files of one name.
    """
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} is no folder; give the one that holds {_any_of(names)}")
    below = (folder / name for name in _listed(folder))
    return _one_of([folder], names) or _one_of([place for place in below if place.is_dir()], names)


def _one_of(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    for name in names:
        found = sorted(file for folder in folders for file in _called(folder, name))
        if len(found) > 1:
            raise UserError(
                f"there is {str(found[0])!r}, and {str(found[1])!r}; give the right one, or its folder"
            )
        if found:
            return found[0]
    return None


def _called(folder: Path, name: str) -> Iterator[Path]:
    names = [name]
    if "*" in name:
        names = [there for there in _listed(folder) if fnmatchcase(there, name)]
    return (folder / there for there in names if isfile(folder / there))


def _listed(folder: Path) -> list[str]:
    try:
        return list(filter(is_visible, os.listdir(folder)))
    except OSError:  # as lost+found of a disk, which only its owner may read
        return []


def _any_of(names: Sequence[str]) -> str:
    return " or ".join(map(repr, names))


class Media:
    """Media of a benchmark: in a folder, or in one of the usual folders below it.

    Args:
        place: the folder, or the table that names the media, which then lie in its folder. If that is one for
            tables (``annotations``), the folder above it counts, too.
        folders: the usual folders below, by the release or as people unpack it.
    """

    def __init__(self, place: Path, *folders: str) -> None:
        self._top = place if place.is_dir() else place.parent
        tops = [self._top, self._top.parent] if self._top.name in _FOR_TABLES else [self._top]
        known = [*tops, *(top / name for top in tops for name in folders)]
        self._looked_in = ", ".join(repr(str(folder)) for folder in known)
        self._folders = [folder for folder in known if folder.is_dir()]

    def find(self, where: str, *names: str) -> str | None:
        """The path of the first of ``names`` that is there; None if none is.

        Args:
            where: the place that names them, for the message.
            names: paths below one of the folders. They may begin with the folder's own name.

        Raises:
            UserError: a name leads out of the folder.
        """
        for name in names:
            parts = PurePosixPath(name).parts
            if not parts or PurePosixPath(name).is_absolute() or ".." in parts or re.search(r"[\0\\]", name):
                raise UserError(f"{where} names {one_line(name, 80)!r}; expected a file below --data")
        for folder in self._folders:
            for name in names:
                found = folder / name
                if isfile(found):
                    self._folders.remove(folder)  # the next is most likely there, too
                    self._folders.insert(0, folder)
                    return str(found)
        own = self._top.absolute().name
        inside = (self._top / Path(name).relative_to(own) for name in names if Path(name).parts[0] == own)
        return next((str(found) for found in inside if isfile(found)), None)

    def path(self, where: str, *names: str) -> str:
        """As :meth:`find`, for media that must be there.

        Raises:
            UserError: none is, or a name leads out of the folder.
        """
        found = self.find(where, *names)
        if found is None:
            wanted = " or ".join(repr(one_line(name, 80)) for name in names[:3])
            raise UserError(
                f"{where} needs {wanted}, which is not there; get the media too (it was looked for in "
                f"{one_line(self._looked_in, 160)})"
            )
        return found


def with_suffixes(suffixes: Sequence[str], *stems: str) -> Iterator[str]:
    """Names that a file may have."""
    return (stem + suffix for stem in stems for suffix in suffixes)


def cell_source(value: Any, root: Path, where: str) -> Any:
    """The medium in a table's cell: bytes, or the path of a file, below ``root`` if relative.

    Raises:
        UserError: it is empty, of another type, or there is no such file; the message begins with ``where``.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where} has {short(value)} for a medium; expected a path, or the bytes of a file")
    if not isfile(root / value):
        raise UserError(
            f"{where} names {str(root / value)!r}, which is not there; check the path, or get the file"
        )
    return str(root / value)
