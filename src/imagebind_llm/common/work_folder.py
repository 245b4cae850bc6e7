"""A folder that one process fills step by step, and in which a stopped run of the same job goes on.

``identity.json``  the job it belongs to, as plain values (the file may have another name and hold more)
``STEP.json``      written last: the files of a finished step with their SHA-256, and what is known about them

All files are written whole or not at all, so a kill costs the step that was running and nothing else.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import locked, sha256, write_json
from imagebind_llm.common.folders import claim, make_parents
from imagebind_llm.common.leftovers import sweep

IDENTITY = "identity.json"
LOCK = ".lock"


class WorkFolder:
    """The folder of one job. The caller holds its lock; :func:`work_folder` takes one.

    Args:
        path: the folder, made if it is not there.
        identity: plain values that must be the same for a run to go on.
        error: raised for a folder that cannot be used.
        file: name of the identity file.
        begun: what the job does to the folder, for the message: ``begun``, ``measured``.
        fresh: empty the folder of another job instead of refusing it, and write nothing before the first
            step is finished. Only for a folder that is ours alone, as
            :func:`~imagebind_llm.common.folders.claim` marks it.

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
        self._error, self._begun = error, begun
        if fresh:
            claim(path, error=error)
        make_parents(path / file, error)
        self.noted = self._open(fresh)
        """What the identity file held when the folder was opened: at least the identity."""
        sweep(path)

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

    def _open(self, fresh: bool) -> dict[str, Any]:
        if fresh and not self._is_this_job(_read(self.path / self._file)):
            empty(self.path)
            claim(self.path, error=self._error)
            return dict(self.identity)
        return _checked(self.path, self.identity, self._error, self._file, self._begun) or self.note({})

    def _is_this_job(self, found: Any) -> bool:
        return isinstance(found, dict) and all(found.get(k) == v for k, v in self.identity.items())


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
    _checked(path, json.loads(json.dumps(identity)), error, file, begun)  # before a lock is put there
    lock = path / LOCK if lock is None else lock
    make_parents(lock, error)
    with locked(lock, error(busy)):
        yield WorkFolder(path, identity, error, file=file, begun=begun)


def _checked(
    folder: Path, identity: Mapping[str, Any], error: type[UserError], name: str, begun: str
) -> dict[str, Any] | None:
    """What the identity file ``name`` holds; None if the folder is absent or empty.

    Raises:
        UserError: of the type ``error``: the folder is not of this job.
    """
    file, where = folder / name, repr(str(folder))
    if os.path.lexists(folder) and not folder.is_dir():
        raise error(f"{where} is a file; give a folder")
    found = _read(file)
    if isinstance(found, dict):
        for key, value in identity.items():
            if found.get(key) != value:
                raise error(
                    f"the folder {where} was {begun} with {key} {found.get(key)!r}, this run has {value!r}; "
                    "delete that folder to start again, or give another"
                )
        return dict(found)
    if os.path.lexists(file):
        raise error(f"{str(file)!r} is damaged; delete its folder to start again, or give another")
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise error(f"the folder {where} holds other files; give a new or empty one")
    return None


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
