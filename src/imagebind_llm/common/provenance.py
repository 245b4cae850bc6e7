"""What made a result: versions of packages, and the commit of this package's own repository."""

import os
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_SECONDS = 10


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of those of ``packages`` that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit(file: Path = Path(__file__)) -> str | None:
    """The commit this package is run from, with ``+`` if tracked files differ; None outside its repository.

    An installed copy may lie inside somebody else's repository, whose commit says nothing about it. So the
    package's ``file`` must be tracked there.
    """
    try:
        _git(file.parent, "ls-files", "--error-unmatch", file.name)
        found = _git(file.parent, "rev-parse", "HEAD")
        changed = _git(file.parent, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return found + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    """What git says about the repository that ``folder`` lies in, whichever one the caller works on."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
        env=ours,
    )
    return done.stdout.strip()
