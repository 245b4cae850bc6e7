"""One file over HTTP, in such a way that a killed download goes on where it stopped.

``huggingface_hub`` resumes within one call only: what a killed process had downloaded is thrown away. So its
transfer (retries, ranges, progress bar) is used here with a partial file that stays.
"""

from collections.abc import Mapping
from pathlib import Path


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
