"""The files of a source, what tells them from others, and where positions in them are remembered."""

import glob
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import TrainingDataError

_ENDS = 65536


def list_files(path: str, suffixes: Sequence[str]) -> list[Path]:
    """The file ``path``, the files of a folder that end in one of ``suffixes``, or those a pattern matches.

    Returns:
        Sorted by name, at least one.

    Raises:
        TrainingDataError: there are none.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    if place.is_dir():
        found = sorted(
            file
            for file in place.rglob("*")
            if file.name.lower().endswith(tuple(suffixes)) and file.is_file()
        )
        if not found:
            raise TrainingDataError(f"the folder {path!r} holds no files that end in {' or '.join(suffixes)}")
        return found
    found = sorted(Path(name) for name in glob.glob(str(place), recursive=True) if os.path.isfile(name))
    if not found:
        raise TrainingDataError(f"there is no file {path!r}, nor does it match any as a pattern")
    return found


def digest(*parts: Any) -> str:
    """16 hex digits of plain values."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()[:16]


def files_digest(files: Sequence[Path]) -> str:
    """Of names, sizes and both ends of files; the same wherever they are copied to. An edit that keeps a
    file's size and its first and last 64 kB is not seen."""
    total = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_ENDS)
            file.seek(max(0, size - _ENDS))
            total.update(json.dumps([path.name, size]).encode() + head + file.read(_ENDS))
    return total.hexdigest()[:16]


def index_path(folder: Path | None, files: Sequence[Path], layout: str, suffix: str) -> Path:
    """Where the index of ``files`` belongs; another one as soon as a file changes.

    Args:
        folder: None = the user's cache folder.
        layout: what kind of index, with its version.
    """
    if folder is None:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder = Path(cache).expanduser() / "imagebind-llm" / "index"
    facts = []
    for path in files:
        found = path.stat()
        facts.append([str(path.resolve()), found.st_size, found.st_mtime_ns])
    return folder / f"{digest(layout, facts)}{suffix}"
