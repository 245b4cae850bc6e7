"""Folders that appear as a whole. Only those that say that we made them are replaced. No torch.

A folder that was written as a whole holds ``.imagebind-llm.json`` with the names of all that was put into it.
It is replaced only while nothing else lies there. A workplace (a run's folder, a conversion's) has the same
file without names: nothing was in our way there when we took it.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import atomic_write, full_disk_in_one_line, sync, write_json
from imagebind_llm.common.leftovers import put_aside, sweep, temporary_folder

MARK = ".imagebind-llm.json"


@contextmanager
def atomic_directory(path: str | os.PathLike[str], error: type[UserError] = UserError) -> Iterator[Path]:
    """Yield a new directory beside ``path``; on success it becomes ``path``.

    What was there is replaced as a whole, if it was empty, or made by this function and nothing was added.

    Raises:
        UserError: of the type ``error``: ``path`` is a file, or a folder with anything else in it.
        DiskFullError: there was no room. Nothing has changed then.
    """
    target = Path(path)
    place = target.resolve()  # a link stays one
    require_replaceable(target, error)
    make_parents(target, error)
    sweep(place.parent)
    with full_disk_in_one_line(target), temporary_folder(place) as temporary:
        yield temporary
        mark(temporary)
        temporary.chmod(0o755)
        for file in temporary.rglob("*"):
            sync(file)
        require_replaceable(target, error)  # much may have happened meanwhile
        if place.exists() and any(place.iterdir()):
            with put_aside(place):
                os.replace(temporary, place)
        else:
            os.replace(temporary, place)
        sync(place.parent)


@contextmanager
def filled(
    path: str | os.PathLike[str], error: type[UserError] = UserError, last: str | None = None
) -> Iterator[Path]:
    """Yield a new directory beside ``path``; on success its files replace those of the same name in ``path``.

    Each appears whole, larger ones first and ``last`` at the end. Other files in ``path`` stay.

    Raises:
        UserError: of the type ``error``: ``path`` is a file, or below one.
        DiskFullError: there was no room. Nothing has changed then.
    """
    target = Path(path)
    if os.path.lexists(target) and not target.is_dir():
        raise error(f"{str(target)!r} is a file; give a folder")
    make_parents(target, error)
    sweep(target.absolute().parent)
    with full_disk_in_one_line(target), temporary_folder(target.absolute()) as stage:
        yield stage
        for name in sorted(_files(stage), key=lambda name: (name == last, -(stage / name).stat().st_size)):
            with atomic_write(target / name) as temporary:
                os.replace(stage / name, temporary)


def make_parents(target: Path, error: type[UserError] = UserError) -> None:
    """Make the folders above ``target``.

    Raises:
        UserError: of the type ``error``: one of them is a file, or may not be made.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        above = next(path for path in target.absolute().parents if os.path.lexists(path))
        reason = problem.strerror if above.is_dir() else "it is a file"
        raise error(
            f"{str(target)!r} cannot be made in {str(above)!r} ({reason}); give another place"
        ) from None


def mark(folder: Path) -> None:
    """Say in ``folder`` that we made it, and what is in it."""
    write_json(folder / MARK, {"made_by": "imagebind-llm", "files": list(_files(folder))})


def adopt(file: Path) -> None:
    """Add ``file``, which was written later, to what its folder says is in it."""
    names = _names(file.parent)
    if names is not None:
        write_json(file.parent / MARK, {"made_by": "imagebind-llm", "files": sorted({*names, file.name})})


def claim(folder: Path, writes: Sequence[str] = ("*",), error: type[UserError] = UserError) -> None:
    """Make ``folder`` a workplace of ours, if it is not one yet.

    Args:
        folder: made if it is not there.
        writes: patterns of what will be written, replaced and removed there. If the folder is not ours, none
            of that may be there; other files may be, and are left alone.
        error: raised if not.

    Raises:
        UserError: of the type ``error``.
    """
    require_claimable(folder, writes, error)
    make_parents(folder / MARK, error)
    if not is_claimed(folder):
        write_json(folder / MARK, {"made_by": "imagebind-llm", "files": None})


def require_claimable(
    folder: Path, writes: Sequence[str] = ("*",), error: type[UserError] = UserError
) -> None:
    """Refuse what :func:`claim` would, and change nothing.

    Raises:
        UserError: of the type ``error``.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise error(f"{str(folder)!r} is a file; give a folder")
    found = sorted(path.name for pattern in (*writes, MARK) for path in folder.glob(pattern))
    if found and not is_claimed(folder):  # asked last: another process of the same job may claim it meanwhile
        raise error(_refusal(folder, found[0]))


def is_claimed(folder: Path) -> bool:
    """Whether ``folder`` is a workplace of ours."""
    values = _read(folder / MARK)
    return values is not None and values.get("files", ()) is None


def foreign_file(folder: Path) -> str | None:
    """A file in ``folder`` that we did not put there, by its path in it; None: there is no such file."""
    if not folder.is_dir():
        return None
    names = _names(folder) or set()
    return next((name for name in _files(folder) if name not in names), None)


def remove_folder(folder: Path, error: type[UserError] = UserError) -> None:
    """Remove a folder that :func:`atomic_directory` wrote, if it is there.

    Raises:
        UserError: of the type ``error``: something else is in it.
    """
    require_replaceable(folder, error)
    if folder.is_dir():
        shutil.rmtree(folder)


def require_replaceable(target: Path, error: type[UserError] = UserError) -> None:
    """Refuse a folder that :func:`atomic_directory` would not replace.

    Raises:
        UserError: of the type ``error``.
    """
    if os.path.lexists(target) and not target.is_dir():
        raise error(f"{str(target)!r} is a file; give a folder")
    name = foreign_file(target)
    if name is not None:
        raise error(_refusal(target, name))


def _refusal(folder: Path, name: str) -> str:
    return (
        f"the folder {str(folder)!r} holds {name!r}, which is not known to be ours; give another folder, or "
        "delete this one yourself if nothing in it is needed"
    )


def _files(folder: Path) -> Iterator[str]:
    """The paths of all files in ``folder``, sorted, without its own mark; links are files."""
    found = []
    for path, folders, names in os.walk(folder):
        inside = Path(path).relative_to(folder)
        links = [name for name in folders if (Path(path) / name).is_symlink()]
        found += [(inside / name).as_posix() for name in (*names, *links)]
    yield from sorted(name for name in found if name != MARK)


def _names(folder: Path) -> set[str] | None:
    """What ``folder`` says is in it; None if it does not."""
    values = _read(folder / MARK)
    names = None if values is None else values.get("files")
    return {str(name) for name in names} if isinstance(names, list) else None


def _read(file: Path) -> dict[str, object] | None:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and values.get("made_by") == "imagebind-llm" else None
