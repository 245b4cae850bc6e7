"""What a medium may take while it is decoded: memory, which all that are decoded at once share, and time.

Readers call :func:`reserve` before they decode, with the bytes that headers tell, and :func:`check_time`
between frames, lines and blocks. Time is that of the processor in the reader's thread: a busy machine does
not change what is read, nor does waiting for memory.
"""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Condition
from typing import TYPE_CHECKING

from imagebind_llm.common.errors import MediaError

if TYPE_CHECKING:
    from imagebind_llm.media.base import Limits

TIMED_BYTES = 32 * 1024 * 1024
"""A file may take ``Limits.max_decode_seconds`` for each of these that it begins."""


class _Memory:
    """The bytes reserved by all media of this process that are being decoded."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._used = 0

    def exchange(self, held: int, wanted: int, most: int) -> None:
        """Give ``held`` back, then take ``wanted`` as soon as no more than ``most`` are in use with it.

        Nothing is held while waiting, so that no two media wait for each other.
        """
        with self._changed:
            self._used -= held
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._used or self._used + wanted <= most)
            self._used += wanted


_memory = _Memory()


def _start_anew() -> None:
    global _memory
    _memory = _Memory()


if hasattr(os, "register_at_fork"):  # a child has none of the threads that would give memory back
    os.register_at_fork(after_in_child=_start_anew)


class _Item:
    """One medium that is being read."""

    def __init__(self, name: str, limits: "Limits") -> None:
        self.name, self.limits = name, limits
        self.seconds = limits.max_decode_seconds
        self.held = 0
        self._memory = _memory
        self._end = time.thread_time() + self.seconds

    def allow_for(self, size: int) -> None:
        more = self.limits.max_decode_seconds * max(-(-size // TIMED_BYTES), 1) - self.seconds
        if more > 0:
            self.seconds += more
            self._end += more

    def check_time(self) -> None:
        if time.thread_time() > self._end:
            raise MediaError(
                self.name,
                f"not decoded after {self.seconds:g} s of computing",
                "less work",
                "shorten or simplify it, or raise Limits.max_decode_seconds",
            )

    def hold(self, size: int) -> None:
        if size != self.held:
            held, self.held = self.held, 0
            self._memory.exchange(held, size, self.limits.max_decoded_bytes)
            self.held = size


_KEPT_BYTES = 64 * 1024 * 1024
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
"""glibc keeps what a thread has freed for that thread; several would keep several media's memory."""

_current: ContextVar[_Item | None] = ContextVar("imagebind_llm_medium", default=None)


@contextmanager
def reading(name: str, limits: "Limits") -> Iterator[None]:
    """Reading one medium: its time starts now, and its memory is given back at the end.

    Within another's reading it is a part of that.
    """
    if _current.get() is not None:
        yield
        return
    item = _Item(name, limits)
    token = _current.set(item)
    try:
        yield
    finally:
        _current.reset(token)
        if item.held > _KEPT_BYTES and _trim is not None:
            _trim(0)
        item.hold(0)


def allow_for(size: int) -> None:
    """Tell the size of the file that is being read: a large one may take longer."""
    item = _current.get()
    if item is not None:
        item.allow_for(size)


def check_time() -> None:
    """Refuse to go on with a medium that has taken too long.

    Raises:
        MediaError: it has.
    """
    item = _current.get()
    if item is not None:
        item.check_time()


def reserve(size: int, name: str, limits: "Limits") -> None:
    """Wait until there is room for a medium that takes ``size`` bytes in all while it is decoded.

    Raises:
        MediaError: more than ``limits.max_decoded_bytes``.
    """
    if size > limits.max_decoded_bytes:
        raise MediaError(
            name,
            f"some {size} bytes when it is decoded",
            f"at most {limits.max_decoded_bytes}",
            "make it smaller or raise Limits.max_decoded_bytes",
        )
    item = _current.get()
    if item is not None and size > item.held:
        item.hold(size)


_STEP = 32 * 1024 * 1024


def reserve_growing(size: int, name: str, limits: "Limits") -> None:
    """:func:`reserve` for what grows little by little: asks for more only now and then.

    Raises:
        MediaError: more than ``limits.max_decoded_bytes``.
    """
    rounded = -(-size // _STEP) * _STEP
    reserve(max(size, min(rounded, limits.max_decoded_bytes)), name, limits)
