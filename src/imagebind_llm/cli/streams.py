"""Standard input, output and error as commands need them: there, and heard when they fail.

A closed stream is a trap: the next file that is opened takes its number, and what is printed lands in it.
And what cannot be written is often not noticed, or ends in a traceback. Here a result that cannot be printed
is an error, and words on standard error that cannot be printed are dropped.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class OutputLost(Exception):  # noqa: N818 - it says what happened
    """Standard output takes no more.

    Attributes:
        reason: what the system says.
        unwanted: whoever reads it has seen enough, as in ``… | head``.
    """

    def __init__(self, reason: str, unwanted: bool) -> None:
        super().__init__(reason)
        self.reason, self.unwanted = reason, unwanted


class _Output(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputLost(error.strerror or str(error), isinstance(error, BrokenPipeError)) from None


class _Words(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


@contextmanager
def prepared() -> Iterator[None]:
    """While a command runs: make sure of the three streams, unless somebody has put others in their place."""
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        yield
        return
    before = sys.stdin, sys.stdout, sys.stderr
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):  # nothing goes to closed output
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the command
    sys.stdout = _text(_Output(1, "wb", closefd=False), before[1])
    sys.stderr = _text(_Words(2, "wb", closefd=False), before[2], lines=True)
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def give_up() -> None:
    """Let nothing more be said of what could not be printed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _text(raw: io.FileIO, like: Any, lines: bool = False) -> io.TextIOWrapper:
    """A text stream over ``raw``, set up as ``like``. What its encoding cannot say comes as ``\\udce9``."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=lines or bool(getattr(like, "line_buffering", False)),
        write_through=bool(getattr(like, "write_through", False)),
    )
