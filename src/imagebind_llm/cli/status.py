"""The sign of life: one line on the terminal that says what is going on, until there is something to read.

A pipe gets none, unless loading takes so long that whoever reads a log would wonder.
"""

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LONG = 60.0
"""Seconds after which also a pipe is told."""
_ERASE = "\r\x1b[K"


class _Erasing:
    """A stream that takes the status line away before anything else is written to it."""

    def __init__(self, stream: Any, line: "_Line") -> None:
        self._stream = stream
        self._line = line

    def write(self, text: str) -> Any:
        """Write ``text`` where the status line was."""
        self._line.erase()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Line:
    """The status line of this process. Without a terminal that can erase, there is none."""

    def __init__(self) -> None:
        self._streams: tuple[Any, Any] | None = None
        self._there = False

    def show(self, text: str) -> None:
        """Put ``text`` there, instead of what was there."""
        if self._streams is None:
            if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
                return
            self._streams = sys.stdout, sys.stderr
            sys.stdout, sys.stderr = _Erasing(sys.stdout, self), _Erasing(sys.stderr, self)
        self._there = True
        self._write(f"{_ERASE}{text}")

    def erase(self) -> None:
        """Take it away, if it is there.

        The streams stay as they are: this may be called from inside ``print``, which would crash if the
        stream it writes to were taken from under it.
        """
        if self._there:
            self._there = False
            self._write(_ERASE)

    def end(self) -> None:
        """Take it away for good, and give the streams back."""
        self.erase()
        if self._streams is not None:
            sys.stdout, sys.stderr = self._streams
            self._streams = None

    def _write(self, text: str) -> None:
        assert self._streams is not None
        self._streams[1].write(text)
        self._streams[1].flush()


_line = _Line()


def show(text: str) -> None:
    """Say on the terminal what is going on. The next output takes its place."""
    _line.show(text)


def end() -> None:
    """Take the line away, if there is one."""
    _line.end()


@contextmanager
def loading(what: str) -> Iterator[None]:
    """While a model is loaded: the line is there, and a pipe is told if it takes long.

    The garbage collector rests meanwhile. Importing makes hundreds of thousands of objects that stay, and
    looking through them again and again is a seventh of the time.
    """
    text = f"loading {what} …"
    show(text)
    timer = threading.Timer(_LONG, _tell, [text])
    timer.daemon = True
    timer.start()
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        timer.cancel()
        if collecting:
            gc.enable()
            gc.freeze()


def _tell(text: str) -> None:
    if not sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
