"""What is fuzzed."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import ClassVar, NamedTuple

from imagebind_llm.common.errors import UserError


class Case(NamedTuple):
    """One input.

    Attributes:
        label: what was done to it.
        run: feeds it to the program. Returning means that it was accepted and what came of it is sound; a
            ``UserError`` that it was refused. Anything else is a fault.
    """

    label: str
    run: Callable[[], object]


class Target(ABC):
    """A part of the program that takes input.

    Args:
        folder: for what the target needs itself.
        input: an empty folder for each case's files; it is kept if the case fails.
    """

    name: ClassVar[str]
    refusals: ClassVar[tuple[type[Exception], ...]] = (UserError,)
    """What refuses an input in one line."""

    def __init__(self, folder: Path, input: Path) -> None:
        self.folder, self.input = folder, input
        self.prepare()

    def prepare(self) -> None:  # noqa: B027 - most targets need nothing
        """Make what all cases need."""

    @abstractmethod
    def case(self, rng: Random) -> Case:
        """The case that ``rng`` leads to; the same state gives the same case."""
