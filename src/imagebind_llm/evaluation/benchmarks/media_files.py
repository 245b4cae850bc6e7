"""Media that the tables of benchmarks name."""

import re
from collections.abc import Iterator, Sequence
from os.path import isfile
from pathlib import Path, PurePosixPath
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, short

PICTURES = (".jpg", ".png", ".jpeg", ".JPG")
VIDEOS = (".mp4", ".webm", ".mkv", ".avi", ".mov")
_FOR_TABLES = frozenset({"annotations", "gt_answers", "entities", "key", "keys"})


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
