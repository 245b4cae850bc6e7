"""Pulling an artefact: room on the disk, download (or resume), check."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from imagebind_llm.checkpoints import hub
from imagebind_llm.checkpoints.registry import Artefact, RemoteFile
from imagebind_llm.checkpoints.transfer import download, missing_bytes
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import require_space, sha256

_LONG = 100 * 2**20
"""Bytes that take a moment to hash."""
Check = Literal["sha256", "size", "none"]


@dataclass(frozen=True)
class PulledFile:
    """A file that is here now.

    Attributes:
        name: its path in the repository.
        path: where it is here.
        size: in bytes.
        sha256: of its content, 64 hex digits.
        checked: what size and hash were compared with.
    """

    name: str
    path: Path
    size: int
    sha256: str
    checked: Check


@dataclass(frozen=True)
class Pulled:
    """The folder an artefact lies in (its files keep their paths below it) and its files."""

    folder: Path
    files: tuple[PulledFile, ...]


def pull(
    artefact: Artefact, out: Path | None = None, patterns: Sequence[str] = (), progress: bool = True
) -> Pulled:
    """Download an artefact, or what is missing of it, and check sizes and hashes.

    A broken download goes on where it stopped. A file that turns out wrong is deleted.

    Args:
        artefact: from the registry, or one made from a hub id.
        out: folder to put the files in; ``None``: the hub's cache below ``HF_HOME``.
        patterns: which files of a repository, where the artefact names none.
        progress: show a bar while hashing (the download's own follows ``HF_HUB_DISABLE_PROGRESS_BARS``).

    Raises:
        CheckpointError: it cannot be had, the disk has no room for it, or what came is not what was expected.
    """
    if artefact.manual is not None:
        names = ", ".join(file.path for file in artefact.files)
        after = "" if artefact.then is None else f", then run: {artefact.then}"
        raise CheckpointError(
            f"{artefact.name} is not given to programs; get {names} yourself at {artefact.manual}{after}"
        )
    if artefact.repo is not None:
        return _from_hub(artefact, artefact.repo, out, patterns, progress)
    assert artefact.url is not None
    file = artefact.files[0]
    folder = out if out is not None else hub.cache_folder().parent / "imagebind-llm" / artefact.name
    target = folder / file.path
    if (here := _already(target, file, progress)) is None:
        _from_url(artefact.url, target, file)
        here = _checked(target, file, progress)
    return Pulled(folder, (here,))


def _from_hub(
    artefact: Artefact, repo: str, out: Path | None, patterns: Sequence[str], progress: bool
) -> Pulled:
    revision, found = artefact.revision, []
    if hub.is_offline():
        for file in artefact.files or hub.known_files(repo, revision, patterns):
            found.append(_checked(hub.fetch_known(repo, revision, file.path, out), file, progress))
    else:
        listing = hub.list_repository(repo, revision)
        remotes = []
        for file in hub.choose_files(listing, artefact.files, patterns):
            here = None if out is None else _already(out / file.path, file, progress)
            if here is None:
                remotes.append(hub.locate(repo, revision, file, out))
            else:
                found.append(here)
        need = sum(missing_bytes(remote.target, remote.size) for remote in remotes)
        require_space(out if out is not None else hub.cache_folder(), need, artefact.name)
        for remote in remotes:
            found.append(_checked(hub.fetch(repo, revision, remote, out), remote.file, progress))
    first = found[0]
    return Pulled(first.path.parents[len(Path(first.name).parts) - 1], tuple(found))


def _from_url(url: str, target: Path, file: RemoteFile) -> None:
    host = urlsplit(url).hostname or url
    size = file.size if file.size is not None else _announced_size(url, host)
    if size is not None:
        require_space(target.parent, missing_bytes(target, size), target.name)
    with hub.plain_errors(f"{target.name} from {host}"):
        download(url, target, size)


def _announced_size(url: str, host: str) -> int | None:
    from huggingface_hub import get_session

    with hub.plain_errors(host):
        answer = get_session().head(url, headers={"Accept-Encoding": "identity"}, follow_redirects=True)
        answer.raise_for_status()
    length = answer.headers.get("Content-Length")
    return None if length is None else int(length)


def _already(path: Path, expected: RemoteFile, progress: bool) -> PulledFile | None:
    """The file if it is there and right; one that is there and wrong is deleted."""
    if not path.is_file():
        return None
    try:
        return _checked(path, expected, progress)
    except CheckpointError:
        return None


def _checked(path: Path, expected: RemoteFile, progress: bool) -> PulledFile:
    """Compare size and hash; a wrong file is deleted, or it would be taken for the right one next time.

    Raises:
        CheckpointError: they differ.
    """
    size = path.stat().st_size
    digest = _digest(path, progress) if expected.size in (None, size) else ""
    for what, known, found in (("bytes", expected.size, size), ("sha256", expected.sha256, digest)):
        if known is not None and known != found:
            path.resolve().unlink()  # the hub's cache holds links
            path.unlink(missing_ok=True)
            raise CheckpointError(
                f"{expected.path} came with {what} {found} instead of {known}, so it is damaged or another "
                "file; it was deleted: pull again"
            )
    checked: Check = "sha256" if expected.sha256 else "size" if expected.size is not None else "none"
    return PulledFile(expected.path, path, size, digest, checked)


def _digest(path: Path, progress: bool) -> str:
    """The SHA-256 of a file, with a bar for long ones."""
    from tqdm import tqdm

    size = path.stat().st_size
    with tqdm(
        total=size,
        unit="B",
        unit_scale=True,
        desc=f"checking {path.name}",
        disable=not progress or size < _LONG,
        leave=False,
    ) as bar:
        return sha256(path, bar.update)
