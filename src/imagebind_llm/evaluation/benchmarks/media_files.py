"""Media that the tables of benchmarks name."""

import re
from os.path import isfile
from pathlib import Path, PurePosixPath
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.evaluation.benchmarks.reading import Row


class Media:
    """Files that rows name, in a folder or below it.

    Args:
        folder: what the user gave.
        places: folders below it where they may be, by the release or as people unpack it; ``"."`` is itself.
    """

    def __init__(self, folder: Path, *places: str) -> None:
        self._folder, self._places = folder, list(places)

    def path(self, row: Row, *names: str) -> str:
        """The first of ``names`` that is there.

        Raises:
            UserError: none is, or a name leads out of the folder.
        """
        for name in names:
            parts = PurePosixPath(name).parts
            if not parts or PurePosixPath(name).is_absolute() or ".." in parts or re.search(r"[\0\\]", name):
                raise UserError(f"{row.where} names {one_line(name, 80)!r}; expected a file below --data")
        for place in self._places:
            for name in names:
                found = self._folder / place / name
                if isfile(found):
                    self._places.remove(place)  # the next is most likely there, too
                    self._places.insert(0, place)
                    return str(found)
        places = ", ".join(repr(str(self._folder / place)) for place in sorted(self._places))
        wanted = " or ".join(repr(name) for name in names[:3])
        raise UserError(f"{row.where} needs {wanted}, which is in none of {places}; get the media too")


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
    file = root / value
    if "\0" in value or not file.is_file():
        raise UserError(f"{where} names {str(file)!r}, which is not there; check the path, or get the file")
    return str(file)
