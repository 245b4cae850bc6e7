"""The end of a call whose time is over.

A thread cannot be ended from outside, but what runs in it can end itself. A tool that asks
:func:`check_time` now and then, or has :func:`ended_by` end what it waits for, does. Neither needs an
argument: both know the call that their thread makes, and outside of a call they do nothing.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from imagebind_llm.common.errors import UserError


class Stop:
    """Whether the time of one call is over, and what is to be ended then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._endings: list[Callable[[], object]] = []
        self._over = False

    @property
    def over(self) -> bool:
        """Whether it is."""
        return self._over

    def set(self) -> None:
        """The time is over: end what runs."""
        with self._lock:  # held, so that nothing is ended after it has left its block
            self._over = True
            for ending in self._endings:
                with suppress(Exception):
                    ending()

    @contextmanager
    def ending(self, function: Callable[[], object]) -> Iterator[None]:
        """Inside of the block, ``function`` is called when the time is over; at once if it is."""
        with self._lock:
            self._endings.append(function)
            if self._over:
                with suppress(Exception):
                    function()
        try:
            yield
        finally:
            with self._lock:
                self._endings.remove(function)


_CURRENT: ContextVar[Stop | None] = ContextVar("stop", default=None)


@contextmanager
def stopped_by(stop: Stop) -> Iterator[None]:
    """Inside of the block, in this thread, calls end when ``stop`` says so."""
    token = _CURRENT.set(stop)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def check_time() -> None:
    """Go on, if the time of the call that is being made is not over.

    Raises:
        UserError: it is.
    """
    stop = _CURRENT.get()
    if stop is not None and stop.over:
        raise UserError("its time is over")


@contextmanager
def ended_by(function: Callable[[], object]) -> Iterator[None]:
    """Inside of the block, ``function`` is called from another thread when the time of the call is over.

    It has to be quick, and what it ends should make the block end: it kills a process, or cancels a future.
    """
    stop = _CURRENT.get()
    if stop is None:
        yield
        return
    with stop.ending(function):
        yield
