"""Ctrl-C comes after a step, never in the middle of one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_IMPATIENT = 3
"""That many interrupts end even what should not be interrupted."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT back until the end of the block.

    What several callers share is then never left half changed. Only the main thread is ever interrupted, so
    in other threads this does nothing.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[FrameType | None] = []

    def later(number: int, frame: FrameType | None) -> None:
        came.append(frame)
        if len(came) >= _IMPATIENT:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(signal.SIGINT, came[-1])
