"""What a Hugging Face hub repository holds, and fetching files of it.

Everything goes through ``huggingface_hub``, so its environment counts: ``HF_ENDPOINT`` (a mirror),
``HF_HOME`` (where files are kept), ``HF_HUB_OFFLINE``, and ``HF_TOKEN`` or ``hf auth login`` for repositories
that are not open to all.
"""

import fnmatch
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from imagebind_llm.checkpoints.registry import RemoteFile
from imagebind_llm.checkpoints.transfer import download
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.hub import plain_errors


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
