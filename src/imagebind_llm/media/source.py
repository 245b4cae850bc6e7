"""Getting at the bytes of a source without trusting it."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from imagebind_llm.common.errors import MediaError, one_line
from imagebind_llm.media.limits import Limits

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

    MediaSource = str | os.PathLike[str] | bytes | Image | np.ndarray | torch.Tensor
else:
    MediaSource = Any


def name_of(source: object) -> str:
    """How error messages call ``source``."""
    if isinstance(source, str | os.PathLike):
        return one_line(os.fspath(source)) or "''"
    if isinstance(source, bytes | bytearray | memoryview):
        return f"{len(source)} bytes"
    shape = getattr(source, "shape", None) or getattr(source, "size", "")
    return one_line(f"{type(source).__name__} {shape}".strip())


def is_encoded(source: object) -> bool:
    """Whether ``source`` is a file or its bytes (else it is an array, tensor or image in memory)."""
    return isinstance(source, str | os.PathLike | bytes | bytearray | memoryview)


@contextmanager
def open_source(source: object, limits: Limits) -> Iterator[BinaryIO]:
    """A fresh seekable binary stream over a path or bytes.

    Only regular files are opened, so that a pipe or device cannot hang the reader.

    Raises:
        MediaError: missing, empty, unreadable, not a regular file, or larger than ``limits.max_bytes``.
    """
    name = name_of(source)
    if isinstance(source, bytes | bytearray | memoryview):
        _check_size(name, len(source), limits)
        yield BytesIO(source)
        return
    if not isinstance(source, str | os.PathLike):
        raise MediaError(name, f"a {type(source).__name__}", "a path or bytes", "pass one of these")
    path = os.fspath(source)
    if isinstance(path, str) and "://" in path[:12]:
        raise MediaError(name, "an address", "a local file", "download it first")
    try:
        # non-blocking, or opening a pipe would wait for a writer before it can be refused
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise MediaError(name, f"cannot be opened ({reason})", "a readable file", "check the path") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise MediaError(name, kind, "a regular file", "pass the file itself")
        _check_size(name, status.st_size, limits)
        stream = os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise
    with stream:
        yield stream


def read_source(source: object, limits: Limits) -> bytes:
    """All bytes of a path or bytes source, within ``limits.max_bytes``."""
    if isinstance(source, bytes):
        _check_size(name_of(source), len(source), limits)
        return source
    with open_source(source, limits) as stream:
        try:
            data = stream.read(limits.max_bytes + 1)
        except OSError as error:
            raise MediaError(
                name_of(source), f"cannot be read ({error})", "a readable file", "copy it anew"
            ) from error
    _check_size(name_of(source), len(data), limits)
    return data


def _check_size(name: str, size: int, limits: Limits) -> None:
    if size == 0:
        raise MediaError(name, "empty (0 bytes)", "a file with content", "check how it was written")
    if size > limits.max_bytes:
        raise MediaError(
            name,
            f"{size} bytes",
            f"at most {limits.max_bytes}",
            "make it smaller or raise Limits.max_bytes",
        )
