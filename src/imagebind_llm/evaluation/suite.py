"""What a suite is, and which suites there are: those of this package, and those that other packages bring.

A package offers a suite by an entry point of the group ``imagebind_llm.suites``, whose value is a
:class:`SuiteKind`: a command that ``imagebind-llm eval NAME`` runs. A :class:`Suite` of items and scores
becomes such a command with :func:`imagebind_llm.cli.suites.command_of`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebind_llm.checkpoints.card import CardSection
from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.plugins import Plugins

GROUP = "imagebind_llm.suites"

SUITES = Plugins(GROUP, "suite")


@dataclass(frozen=True)
class Item:
    """One question of a suite.

    Attributes:
        key: tells it from the others, and stays the same from run to run.
        request: what is asked, as :meth:`imagebind_llm.inference.assistant.Assistant.ask_batch` takes it
            (``{"question": "What is this?", "image": "cat.png"}``).
        expected: what the suite compares the answer with, as plain JSON.
        group: scores are reported by group too.
    """

    key: str
    request: Mapping[str, Any]
    expected: Any = None
    group: str = ""


class Suite(ABC):
    """Items, and what is right."""

    name: str
    """How it is called in results."""

    @abstractmethod
    def items(self, data: Path | None) -> Iterator[Item]:
        """The items in a fixed order.

        Args:
            data: folder that the user gave, if any.

        Raises:
            UserError: the data are missing or cannot be read.
        """

    @abstractmethod
    def right(self, item: Item, answer: str) -> bool:
        """Whether ``answer`` is right."""


@dataclass(frozen=True)
class SuiteKind:
    """A command that measures a model.

    Attributes:
        command: its annotations are Typer's, its docstring is its help. Heavy imports belong into it.
        summary: one line for the list of suites.
        examples: lines shown below its help.
        card: what a model card says of its results; None: the scores by group.
        read: checks the whole of a results file and returns it; None: :func:`.report.read_results` is enough.
    """

    command: Callable[..., None]
    summary: str
    examples: str = ""
    card: Callable[[Mapping[str, Any]], CardSection] | None = field(default=None)
    read: Callable[[Path], Mapping[str, Any]] | None = field(default=None)


def suite_kind(name: str) -> SuiteKind:
    """The suite called ``name``.

    Raises:
        UserError: there is none, or its package cannot be imported.
    """
    found = SUITES.load(name)
    if not isinstance(found, SuiteKind):
        raise ConfigError(
            f"suite {name!r} is of type {type(found).__name__}; its package must offer a SuiteKind"
        )
    return found


def check_items(items: Sequence[Item], suite: str) -> None:
    """Refuse a suite without items, or with a key twice.

    Raises:
        UserError: naming the key.
    """
    if not items:
        raise UserError(f"suite {suite!r} has no items in these data")
    keys: set[str] = set()
    for item in items:
        if item.key in keys:
            raise UserError(f"suite {suite!r} has two items with the key {item.key!r}; keys must differ")
        keys.add(item.key)
