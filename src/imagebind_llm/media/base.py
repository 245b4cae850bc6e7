"""What all modalities share: limits, sources, and how an encoder's media are opened.

A source is a path, bytes, an array or an image. It is never trusted: sizes are checked before decoding.
"""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from imagebind_llm.common.errors import ConfigError, MediaError, one_line
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.budget import allow_for

_log = logging.getLogger(__name__)


@cache
def tell_of_more(medium: str, read: str, part: str = "beginning") -> None:
    """Warn that of a ``medium`` ("text") there is more than what is ``read`` of it ("77 tokens"); once, as a
    data set may have many."""
    _log.warning(
        "note: a %s is longer than the %s that the encoder reads; only its %s counts", medium, read, part
    )


@dataclass(frozen=True)
class Limits:
    """Upper bounds, checked on sizes that headers declare, before anything is decoded.

    Raises:
        ConfigError: a limit is not a positive number.
    """

    max_bytes: int = 512 * 1024 * 1024
    """Size of a file, and of what a compressed archive unpacks to."""
    max_pixels: int = 100_000_000
    """Width × height of an image, a video frame or a map."""
    max_decoded_bytes: int = 768 * 1024 * 1024
    """Memory that decoding takes: that of one medium, and of all that a process decodes at once (the others
    wait). Reckoned from headers; files and results come on top."""
    max_decode_seconds: float = 5.0
    """Computing time of decoding, for each 32 MiB that a file begins."""
    max_seconds: float = 4 * 3600.0
    """Length of audio and video."""
    max_frames: int = 100_000
    """Video frames that are decoded to reach the ones that are kept."""
    max_points: int = 5_000_000
    """Points of a cloud, vertices or faces of a mesh, values of an IMU recording."""
    max_characters: int = 100_000
    """Length of a text before cleaning."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigError(f"limits.{field.name} is {value!r}; expected a positive number")


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
    allow_for(size)


@runtime_checkable
class MediaReader(Protocol):
    """Turns sources into the tensors that one type of encoder reads."""

    encoder_type: ClassVar[str]
    """The type of those encoders."""

    def load(self, modality: Modality, source: Any, limits: Limits | None = None) -> Tensor:
        """One medium without batch axis; tensors of one modality always have the same shape.

        Raises:
            MediaError: the source cannot be read, or is over a limit.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for ``processor_config.json``."""
        ...

    def save_files(self, folder: Path) -> None:
        """Write into ``folder`` what JSON values cannot hold (a tokenizer, say)."""
        ...


def clip_spans(
    duration: Fraction | float, clip_seconds: float, clips: int
) -> list[tuple[Fraction, Fraction]]:
    """Start and end (seconds) of ``clips`` clips spread evenly, the last one ending at the end.

    A recording shorter than a clip gives identical clips from 0. Fractions are exact, so no clip boundary
    moves by a frame through rounding; a float ``duration`` is reduced by ``clip_seconds`` in float
    arithmetic first, because that is what the numbers ImageBind was evaluated with did.
    """
    length = Fraction(clip_seconds)
    last_start = Fraction(
        max(duration - length if isinstance(duration, Fraction) else duration - clip_seconds, 0)
    )
    step = last_start / max(clips - 1, 1)
    return [(step * number, step * number + length) for number in range(clips)]
