"""Files and folders in the making, and what becomes of those whose maker was killed. No torch.

Each lies beside the place it is for, has a name that nobody else gives (``.NAME.imagebind-llm-XXXXXXXX``),
and is locked by the process that makes it. A lock ends with its process: whoever can take it may sweep.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and nothing swept
    fcntl = None  # type: ignore[assignment]

_SIGN = ".imagebind-llm-"
_NAMES = re.compile(r"\..*\.imagebind-llm-[a-z0-9_]{8}(\.[^.]*)?", re.DOTALL)
_ASIDE = ".old"
"""Suffix of a folder that holds what is being replaced."""
_LONGEST, _LONGEST_SUFFIX = 40, 16
"""Characters kept of a name: with the sign it must stay below the 255 bytes that a file system allows."""


@contextmanager
def temporary_file(place: Path) -> Iterator[Path]:
    """An empty file beside ``place``, with its suffix; removed in the end if it is still there."""
    suffix = place.suffix if len(place.suffix) <= _LONGEST_SUFFIX else ""

    def make() -> str:
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=_prefix(place), suffix=suffix)
        os.close(handle)
        return name

    path, lock = _held(make)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def temporary_folder(place: Path) -> Iterator[Path]:
    """An empty folder beside ``place``; removed in the end if it is still there."""
    path, lock = _held(lambda: tempfile.mkdtemp(dir=place.parent, prefix=_prefix(place)))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


@contextmanager
def put_aside(place: Path) -> Iterator[None]:
    """Have the folder ``place`` out of the way. It comes back if something goes wrong, else it is removed."""
    aside, lock = _held(lambda: tempfile.mkdtemp(dir=place.parent, prefix=_prefix(place), suffix=_ASIDE))
    try:
        os.replace(place, aside / place.name)
        yield
    finally:
        _clear(aside)
        os.close(lock)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-made in ``folder``; what they had put aside comes back."""
    with suppress(OSError):  # what cannot be looked at or removed is left
        for name in os.listdir(folder):
            if _NAMES.fullmatch(name):
                lock = _lock(folder / name)
                if lock is not None:
                    with suppress(OSError):
                        _clear(folder / name)
                    os.close(lock)


def _prefix(place: Path) -> str:
    return f".{place.name[:_LONGEST]}{_SIGN}"


def _clear(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if path.suffix == _ASIDE:
        for kept in path.iterdir():
            if not os.path.lexists(path.parent / kept.name):
                os.replace(kept, path.parent / kept.name)
    shutil.rmtree(path, ignore_errors=True)


def _held(make: Callable[[], str]) -> tuple[Path, int]:
    """What ``make`` makes, and the handle that locks it. A sweeper may come first; then it is made anew."""
    while True:
        path = Path(make())
        if fcntl is None:
            return path, os.open(os.devnull, os.O_RDONLY)
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        except OSError:
            return path, handle  # a file system without locks: there nobody sweeps either
        if path.exists():
            return path, handle
        os.close(handle)


def _lock(path: Path) -> int | None:
    """The handle that locks ``path``; None if its maker lives, it is gone, or it cannot be locked."""
    if fcntl is None:
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
