"""What every room needs of the Hugging Face hub: is it allowed, is the repository there, plain errors."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from imagebind_llm.common.errors import CheckpointError

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_CONFIG = "config.json"
"""What every model repository has."""


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` (or ``TRANSFORMERS_OFFLINE``) forbids the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def require_repository(repo: str, revision: str | None = None) -> None:
    """Find out whether a model repository can be had, asking once.

    The hub's library asks for half a minute before it gives up, for each file; that is right for a download
    that has begun, not for a name that was mistyped. What is in the hub's cache is not asked for.

    Raises:
        CheckpointError: no such repository or revision, no permission, no connection, or no name of one.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        known = try_to_load_from_cache(repo, _CONFIG, revision=revision or "main")
    except HFValidationError:
        raise CheckpointError(
            f"there is no folder {repo!r}, and it is no hub id; give a folder that exists, or owner/name"
        ) from None
    if isinstance(known, str):
        return
    if is_offline():
        raise CheckpointError(
            f"there is no folder {repo!r}, it was not downloaded before, and offline mode is on "
            "(HF_HUB_OFFLINE); give a folder that exists, or unset it"
        )
    try:
        with plain_errors(repo, revision, "give a folder that exists, or try again later"):
            get_hf_file_metadata(hf_hub_url(repo, _CONFIG, revision=revision))
    except CheckpointError as error:
        raise CheckpointError(f"there is no folder {repo!r}, and the hub gives none: {error}") from None


@contextmanager
def plain_errors(
    what: str, revision: str | None = None, remedy: str = "pull again: it goes on where it stopped"
) -> Iterator[None]:
    """Say in one line what the hub's library, and the layers below it, have to complain about.

    Args:
        what: the repository or file.
        revision: of a repository.
        remedy: what to do when the connection broke.

    Raises:
        CheckpointError: instead of any exception of theirs.
    """
    from huggingface_hub import errors

    try:
        yield
    except CheckpointError:
        raise
    except errors.GatedRepoError:
        raise CheckpointError(
            f"{what} is given to people who accepted its terms: accept them at "
            f"https://huggingface.co/{what}, then run: hf auth login"
        ) from None
    except errors.RepositoryNotFoundError:
        raise CheckpointError(
            f"the hub has no model repository {what!r} that you may see; check the name, or run: hf auth "
            "login"
        ) from None
    except errors.RevisionNotFoundError:
        raise CheckpointError(f"{what} has no revision {revision!r}; see its page on the hub") from None
    except errors.LocalEntryNotFoundError as error:
        if is_offline():
            raise CheckpointError(
                f"offline mode is on (HF_HUB_OFFLINE) and {what} is not on this machine yet; unset it and "
                "pull again, or copy the files here"
            ) from None
        raise CheckpointError(f"{what} could not be reached ({_first(error)}); try again later") from None
    except errors.OfflineModeIsEnabled:
        raise CheckpointError(
            f"offline mode is on (HF_HUB_OFFLINE), so {what} cannot be downloaded; unset it and pull again"
        ) from None
    except errors.EntryNotFoundError as error:
        raise CheckpointError(f"{what} lacks a file ({_first(error)}); see its page on the hub") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CheckpointError(
                f"the disk is full while {what} was downloaded; make room and pull again (it goes on where "
                "it stopped)"
            ) from None
        if error.filename is not None:
            raise
        raise CheckpointError(f"{what} was not downloaded: {_first(error)}; {remedy}") from None
    except Exception as error:  # connections break in the exceptions of several libraries
        raise CheckpointError(
            f"{what} was not downloaded ({type(error).__name__}: {_first(error)}); {remedy}"
        ) from None


def _first(error: Exception) -> str:
    """The first line of what it says, without names and passwords of addresses."""
    text = _CREDENTIALS.sub("", str(error).strip())
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
