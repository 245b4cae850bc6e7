"""A folder that one process fills step by step, and in which a stopped run of the same job goes on.

``identity.json``  the job it belongs to, as plain values (the file may have another name and hold more)
``STEP.json``      written last: the files of a finished step with their SHA-256, and what is known about them

All files are written whole or not at all, so a kill costs the step that was running and nothing else.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import locked, sha256, write_json

IDENTITY = "identity.json"
LOCK = ".lock"
_TEMPORARY = re.compile(r"\..+(\.[^.]+)\.[a-z0-9_]{8}\1")
"""What :func:`~imagebind_llm.common.files.atomic_write` calls a file that is not finished."""


class WorkFolder:
    """The folder of one job. The caller holds its lock; :func:`work_folder` takes one.

    Args:
        path: the folder, made if it is not there.
        identity: plain values that must be the same for a run to go on.
        error: raised for a folder that cannot be used.
        file: name of the identity file.
        begun: what the job does to the folder, for the message: ``begun``, ``measured``.
        fresh: empty the folder of another job instead of refusing it, and write nothing before the first
            step is finished. Only for a folder that is ours alone.

    Raises:
        UserError: of the type ``error``: the folder holds other files, or belongs to another job.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        error: type[UserError] = UserError,
        *,
        file: str = IDENTITY,
        begun: str = "begun",
        fresh: bool = False,
    ) -> None:
        self.path = path
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._file = file
        path.mkdir(parents=True, exist_ok=True)
        for leftover in path.glob(".*"):  # of a process that was killed while it wrote
            if fresh or (_TEMPORARY.fullmatch(leftover.name) and leftover.is_file()):
                _remove(leftover)
        self.noted = self._claim(error, begun, fresh)
        """What the identity file held when the folder was opened: at least the identity."""

    def note(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """Write the identity file with ``more`` beside the identity; returns what it holds."""
        self.noted = {**self.identity, **more}
        write_json(self.path / self._file, self.noted)
        return self.noted

    def finish(
        self, step: str, files: Iterable[str] | Mapping[str, str], facts: Mapping[str, Any]
    ) -> dict[str, str]:
        """Remember that a step is done; returns the SHA-256 of its files.

        Args:
            step: its name.
            files: the names of its files, which are there; with their SHA-256 where it is known already.
            facts: plain values to get back from :meth:`steps`.
        """
        if not (self.path / self._file).is_file():
            self.note({})
        known = files if isinstance(files, Mapping) else {}
        sums = {name: known.get(name) or sha256(self.path / name) for name in files}
        write_json(self._mark(step), {"files": sums, "facts": dict(facts)})
        return sums

    def steps(self) -> dict[str, tuple[dict[str, str], dict[str, Any]]]:
        """SHA-256 by file and facts of each finished step, in the order of their names.

        A step with a file that is missing or has changed counts as not done.
        """
        done = {}
        for mark in sorted(self.path.glob("*.json")):
            found = _read(mark)
            if not isinstance(found, dict) or found.keys() != {"files", "facts"}:
                continue
            files = found["files"]
            if all(
                (self.path / name).is_file() and sha256(self.path / name) == files[name] for name in files
            ):
                done[mark.stem] = (files, found["facts"])
            else:
                mark.unlink()
        return done

    def forget_steps(self, steps: Iterable[str]) -> None:
        """Remove what :meth:`finish` wrote: the job is done."""
        for step in steps:
            self._mark(step).unlink(missing_ok=True)

    def _mark(self, step: str) -> Path:
        return self.path / f"{step}.json"

    def _claim(self, error: type[UserError], begun: str, fresh: bool) -> dict[str, Any]:
        file, where = self.path / self._file, repr(str(self.path))
        found = _read(file)
        known = isinstance(found, dict)
        if known and all(found.get(name) == value for name, value in self.identity.items()):
            return dict(found)
        if fresh:
            empty(self.path)
        elif known:
            name = next(name for name, value in self.identity.items() if found.get(name) != value)
            raise error(
                f"the folder {where} was {begun} with {name} {found.get(name)!r}, this run has "
                f"{self.identity[name]!r}; delete that folder to start again, or give another"
            )
        elif file.exists():
            raise error(f"{str(file)!r} is damaged; delete its folder to start again, or give another")
        elif any(not path.name.startswith(".") for path in self.path.iterdir()):
            raise error(f"the folder {where} holds other files; give a new or empty one")
        return dict(self.identity) if fresh else self.note({})


@contextmanager
def work_folder(
    path: Path,
    identity: Mapping[str, Any],
    error: type[UserError] = UserError,
    *,
    busy: str,
    lock: Path | None = None,
    file: str = IDENTITY,
    begun: str = "begun",
) -> Iterator[WorkFolder]:
    """A :class:`WorkFolder` for this process alone.

    Args:
        busy: what to say when another process has it.
        lock: the lock's file; ``None``: ``.lock`` in the folder.

    Raises:
        UserError: of the type ``error``: as :class:`WorkFolder`, or another process writes there.
    """
    lock = path / LOCK if lock is None else lock
    lock.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock, error(busy)):
        yield WorkFolder(path, identity, error, file=file, begun=begun)


def empty(folder: Path) -> None:
    """Remove everything in a folder."""
    for path in folder.iterdir():
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
