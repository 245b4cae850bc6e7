"""Getting a package: from the cache, by its registry's own client, or from a Debian mirror.

The clients (``apt-get``, ``npm``, ``pip``) know the user's mirrors, proxies, certificates and passwords, so
they are asked to download, and nothing is installed. What comes is kept in ``imagebind-llm/fetch`` of the
user's cache folder, so it is had once.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from urllib.parse import quote, unquote

from imagebind_llm.checkpoints.packages.package import Package, Registry
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import locked, sha256


@dataclass(frozen=True)
class Downloaded:
    """A package's file on this machine, and what it is: ``package`` describes this very file."""

    path: Path
    package: Package


@dataclass(frozen=True)
class _Client:
    """How a registry's client is called, how it is had, and what packages it takes."""

    program: str
    suffix: str
    joined: str
    get: str


_CLIENTS: Mapping[Registry, _Client] = {
    "debian": _Client("apt-get", ".deb", "=", "it is part of Debian, Ubuntu and their like"),
    "npm": _Client("npm", ".tgz", "@", "it comes with Node.js"),
    "pypi": _Client("pip", ".whl", "==", "run: python -m ensurepip"),
}


def cache_folder() -> Path:
    """Where packages are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "imagebind-llm" / "fetch"


def obtain(
    package: Package, mirror: str | None = None, any_version: bool = False, progress: bool = False
) -> Downloaded:
    """The package's file, from the cache or downloaded and checked.

    Args:
        mirror: address of another server of the registry: a Debian mirror, a simple index, an npm registry.
        any_version: take the version that the registry has now, if it has not the one that is known.
        progress: let the client show how far it is.

    Raises:
        UserError: it cannot be had, or what came is not what is known.
    """
    folder = cache_folder() / quote(package.name, safe="")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / package.file
    with locked(folder / ".lock"):
        if target.is_file() and (package.size, package.sha256) != (target.stat().st_size, sha256(target)):
            target.unlink()
        if target.is_file():
            return Downloaded(target, package)
        problem: UserError | None = None
        try:
            if mirror is not None and package.registry == "debian":
                _from_mirror(package, mirror, target)
            else:
                _move(_by_client(package, package.version, folder, mirror, progress), target)
            return Downloaded(_checked(target, package), package)
        except UserError as error:
            if not any_version:
                raise
            problem = error
        if mirror is not None and package.registry == "debian":
            raise UserError(f"{problem} (--any-version asks apt-get, so give no --mirror)")
        found = _by_client(package, None, folder, mirror, progress)
        kept = _move(found, folder / found.name)
        return Downloaded(kept, _as_it_came(package, kept))


def _move(found: Path, target: Path) -> Path:
    """Take what a client downloaded out of its folder, which goes."""
    os.replace(found, target)
    shutil.rmtree(found.parent)
    return target


def _checked(path: Path, package: Package) -> Path:
    """``path``, if it is what is known; else it is deleted.

    Raises:
        UserError: it is not.
    """
    size, digest = path.stat().st_size, sha256(path)
    if (size, digest) == (package.size, package.sha256):
        return path
    path.unlink()
    raise UserError(
        f"{package.file} came with {size} bytes and SHA-256 {digest} instead of {package.size} and "
        f"{package.sha256}, so it is damaged or another file; it was deleted: fetch again, or see where it "
        "came from"
    )


def _from_mirror(package: Package, mirror: str, target: Path) -> None:
    from imagebind_llm.checkpoints.hub import download, missing_bytes
    from imagebind_llm.common.files import require_space
    from imagebind_llm.common.hub import plain_errors

    require_space(target.parent, missing_bytes(target, package.size), package.file)
    with plain_errors(package.file, remedy="fetch again: it goes on where it stopped"):
        download(f"{mirror.rstrip('/')}/{quote(package.path)}", target, package.size)


def _by_client(
    package: Package, version: str | None, folder: Path, mirror: str | None, progress: bool
) -> Path:
    """Have the registry's client download a package into a folder of its own, which stays if it fails.

    Raises:
        UserError: there is no such client, or it failed.
    """
    client = _CLIENTS[package.registry]
    command = _command(package, version, mirror)
    work = folder / f"{version or 'any'}.part".replace(":", "%3a")
    work.mkdir(exist_ok=True)
    done = subprocess.run(
        command,
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if progress else subprocess.PIPE,
        stderr=None if progress else subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    found = [path for path in work.iterdir() if path.suffix == client.suffix]
    if done.returncode or len(found) != 1:
        raise UserError(
            f"{client.program} did not give {package.name}{f' {version}' if version else ''}"
            f"{_reason(done.stdout)}; {_remedy(package, folder)}"
        )
    return found[0]


def _command(package: Package, version: str | None, mirror: str | None) -> list[str]:
    """What downloads a package into the working folder, and installs nothing.

    Raises:
        UserError: the client is not there.
    """
    client = _CLIENTS[package.registry]
    wanted = package.name if version is None else f"{package.name}{client.joined}{version}"
    program = shutil.which(client.program)
    # importlib.util.find_spec would, with setuptools, turn setuptools itself off in this process
    if package.registry == "pypi" and PathFinder.find_spec("pip"):
        start = [sys.executable, "-m", "pip"]
    elif program is not None:
        start = [program]
    else:
        folder = cache_folder() / quote(package.name, safe="")
        raise UserError(
            f"{package.name} is fetched with {client.program}, which is not here ({client.get}); "
            f"{_remedy(package, folder)}"
        )
    if package.registry == "debian":
        return [*start, "download", wanted]
    if package.registry == "npm":
        registry = [] if mirror is None else ["--registry", mirror]
        return [*start, "pack", wanted, "--ignore-scripts", *registry]
    index = [] if mirror is None else ["--index-url", mirror]
    return [*start, "download", "--no-deps", "--only-binary", ":all:", "--dest", ".", *index, wanted]


def _remedy(package: Package, folder: Path) -> str:
    by_hand = f"or put {package.file} into {str(folder)!r} yourself"
    if package.registry == "debian":
        return f"give --mirror with the address of a Debian mirror, which has it as {package.path}, {by_hand}"
    return f"see what it says, {by_hand}"


def _reason(output: str | None) -> str:
    """The client's own complaint, in brackets."""
    lines = [line.strip() for line in (output or "").splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("E:", "ERROR", "npm error"))] or lines
    return f" ({said[0][:200]})" if said else ""


def _as_it_came(package: Package, path: Path) -> Package:
    """What is known of a file of another version: its version is in its name."""
    stem = unquote(path.name)
    if package.registry == "debian":
        version = stem.split("_")[1]
    elif package.registry == "pypi":
        version = stem.split("-")[1]
    else:
        version = stem.removesuffix(".tgz").rpartition(f"{package.name.rpartition('/')[2]}-")[2]
    return Package(package.registry, package.name, version, path.name, path.stat().st_size, sha256(path))
