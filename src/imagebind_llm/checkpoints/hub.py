"""Pulling models from the Hugging Face hub: what a repository holds, space on the disk, download, check.

Everything goes through ``huggingface_hub``, so its environment counts: ``HF_ENDPOINT`` (a mirror),
``HF_HOME`` (where files are kept), ``HF_HUB_OFFLINE``, and ``HF_TOKEN`` or ``hf auth login`` for repositories
that are not open to all. ``huggingface_hub`` resumes within one call only. So its transfer (retries, ranges,
progress bar) is used here with a partial file that stays: a killed download goes on where it stopped.
"""

import fnmatch
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from imagebind_llm.checkpoints.registry import Artefact, RemoteFile
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import atomic_write, require_space, sha256
from imagebind_llm.common.hub import is_offline, plain_errors


@dataclass(frozen=True)
class Listing:
    """A repository at one commit."""

    repo: str
    commit: str
    licence: str | None
    files: tuple[RemoteFile, ...]


def list_repository(repo: str, revision: str) -> Listing:
    """Files, sizes, hashes and licence of a model repository.

    Raises:
        CheckpointError: no such repository or revision, no permission, or no connection.
    """
    from huggingface_hub import HfApi

    with plain_errors(repo, revision):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    files = tuple(
        RemoteFile(file.rfilename, file.size, None if file.lfs is None else file.lfs.sha256)
        for file in info.siblings or ()
    )
    card = info.card_data
    licence = None if card is None else card.get("license_name") or card.get("license")
    return Listing(repo, info.sha or revision, None if licence is None else str(licence), files)


def choose_files(listing: Listing, wanted: Sequence[RemoteFile], patterns: Sequence[str]) -> list[RemoteFile]:
    """The files to fetch: those wanted by name, else those that match one of the patterns.

    A size or hash that is given in ``wanted`` must agree with the hub's; what is not given is the hub's.

    Raises:
        CheckpointError: a file is not there, or is another one than was wanted, or no file matches.
    """
    if not wanted:
        found = [file for file in listing.files if any(fnmatch.fnmatch(file.path, p) for p in patterns)]
        if not found:
            held = ", ".join(file.path for file in listing.files[:5]) or "nothing"
            raise CheckpointError(
                f"{listing.repo} holds no file like {', '.join(patterns)} (but {held}); give --include"
            )
        return found
    there = {file.path: file for file in listing.files}
    return [_agreed(file, there.get(file.path), listing) for file in wanted]


def _agreed(file: RemoteFile, there: RemoteFile | None, listing: Listing) -> RemoteFile:
    if there is None:
        held = ", ".join(file.path for file in listing.files[:5]) or "nothing"
        raise CheckpointError(f"{listing.repo} has no file {file.path!r} (but {held}); its owner moved it?")
    for what in ("size", "sha256"):
        known, now = getattr(file, what), getattr(there, what)
        if None not in (known, now) and known != now:
            raise CheckpointError(
                f"{file.path} of {listing.repo} has {what} {now} now, the registry knows {known}; "
                "it was replaced: do not use it before you know why"
            )
    return RemoteFile(file.path, file.size or there.size, file.sha256 or there.sha256)


@dataclass(frozen=True)
class Remote:
    """A file of a repository that is about to be downloaded: from where, to where, how large."""

    file: RemoteFile
    url: str
    target: Path
    size: int


def locate(repo: str, revision: str, file: RemoteFile, out: Path | None) -> Remote:
    """Ask the hub where a file is, and decide where it goes: below ``out``, or into the hub's own cache.

    Raises:
        CheckpointError: see :func:`list_repository`.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name

    with plain_errors(repo, revision):
        found = get_hf_file_metadata(hf_hub_url(repo, file.path, revision=revision))
    if found.etag is None:
        raise CheckpointError(f"the hub does not identify {file.path} of {repo} (no ETag); is it a hub?")
    blobs = cache_folder() / repo_folder_name(repo_id=repo, repo_type="model") / "blobs"
    target = blobs / found.etag if out is None else out / file.path
    return Remote(file, found.location, target, file.size or found.size or 0)


def fetch(repo: str, revision: str, remote: Remote, out: Path | None) -> Path:
    """The file on this machine, downloaded (or its download resumed) if it is not there yet.

    Raises:
        CheckpointError: see :func:`list_repository`; or the disk is full.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils import build_hf_headers

    # a token is for the hub, not for the storage that the hub may point to
    at_hub = urlsplit(remote.url).netloc == urlsplit(constants.ENDPOINT).netloc
    with plain_errors(repo, revision):
        download(remote.url, remote.target, remote.size or None, build_hf_headers() if at_hub else None)
        if out is not None:
            return remote.target
        return Path(hf_hub_download(repo, remote.file.path, revision=revision))  # links it into the cache


def fetch_known(repo: str, revision: str, path: str, out: Path | None) -> Path:
    """A file that was downloaded before, without asking the network; copied to ``out`` if given.

    Raises:
        CheckpointError: it is not there.
    """
    from huggingface_hub import hf_hub_download

    if out is not None and (out / path).is_file():
        return out / path
    with plain_errors(repo, revision):
        found = Path(hf_hub_download(repo, path, revision=revision, local_files_only=True))
    if out is None:
        return found
    with atomic_write(out / path) as temporary:
        shutil.copyfile(found, temporary)
    return out / path


def known_files(repo: str, revision: str, patterns: Sequence[str]) -> list[RemoteFile]:
    """The files of a repository that was downloaded before, without asking the network.

    Raises:
        CheckpointError: it is not there.
    """
    from huggingface_hub import snapshot_download

    with plain_errors(repo, revision):
        folder = Path(
            snapshot_download(repo, revision=revision, allow_patterns=list(patterns), local_files_only=True)
        )
    files = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    return [RemoteFile(path) for path in files if any(fnmatch.fnmatch(path, p) for p in patterns)]


def cache_folder() -> Path:
    """Where ``huggingface_hub`` keeps its files (below ``HF_HOME``)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def partial_of(target: Path) -> Path:
    """Where the part of ``target`` that has been downloaded lies."""
    return target.with_name(f"{target.name}.incomplete")


def missing_bytes(target: Path, size: int) -> int:
    """Bytes of a file of ``size`` that must still be downloaded."""
    if target.is_file():
        return 0
    partial = partial_of(target)
    return size - min(size, partial.stat().st_size if partial.is_file() else 0)


def download(url: str, target: Path, size: int | None, headers: Mapping[str, str] | None = None) -> None:
    """Download ``url``, or the rest of it, and put it in its place when it is whole.

    Args:
        url: where the content is.
        target: the file; nothing is done if it is there.
        size: of the whole content in bytes; ``None``: whatever comes.
        headers: of the request.

    Raises:
        Exception: those of the hub's library and the layers below; what was downloaded so far stays.
    """
    from huggingface_hub.file_download import http_get

    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(target)
    have = partial.stat().st_size if partial.is_file() else 0
    if size is not None and have > size:
        partial.unlink()
        have = 0
    try:
        with open(partial, "ab") as stream:
            http_get(
                url,
                stream,
                resume_size=have,
                headers=dict(headers or {}),
                expected_size=size,
                displayed_filename=target.name,
            )
    finally:
        if partial.stat().st_size == 0 and size != 0:
            partial.unlink()
    partial.replace(target)


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
    folder = out if out is not None else cache_folder().parent / "imagebind-llm" / artefact.name
    target = folder / file.path
    if (here := _already(target, file, progress)) is None:
        _from_url(artefact.url, target, file)
        here = _checked(target, file, progress)
    return Pulled(folder, (here,))


def _from_hub(
    artefact: Artefact, repo: str, out: Path | None, patterns: Sequence[str], progress: bool
) -> Pulled:
    revision, found = artefact.revision, []
    if is_offline():
        for file in artefact.files or known_files(repo, revision, patterns):
            found.append(_checked(fetch_known(repo, revision, file.path, out), file, progress))
    else:
        listing = list_repository(repo, revision)
        remotes = []
        for file in choose_files(listing, artefact.files, patterns):
            here = None if out is None else _already(out / file.path, file, progress)
            if here is None:
                remotes.append(locate(repo, revision, file, out))
            else:
                found.append(here)
        need = sum(missing_bytes(remote.target, remote.size) for remote in remotes)
        require_space(out if out is not None else cache_folder(), need, artefact.name)
        for remote in remotes:
            found.append(_checked(fetch(repo, revision, remote, out), remote.file, progress))
    first = found[0]
    return Pulled(first.path.parents[len(Path(first.name).parts) - 1], tuple(found))


def _from_url(url: str, target: Path, file: RemoteFile) -> None:
    host = urlsplit(url).hostname or url
    size = file.size if file.size is not None else _announced_size(url, host)
    if size is not None:
        require_space(target.parent, missing_bytes(target, size), target.name)
    with plain_errors(f"{target.name} from {host}"):
        download(url, target, size)


def _announced_size(url: str, host: str) -> int | None:
    from huggingface_hub import get_session

    with plain_errors(host):
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
