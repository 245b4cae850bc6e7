"""What a suite is, and which suites there are: those of this package, and those that other packages bring.

A package offers a suite by an entry point of the group ``imagebind_llm.suites``, whose value is a
:class:`SuiteKind`: a command that ``imagebind-llm eval NAME`` runs. A :class:`Suite` of items and scores
becomes such a command with :func:`imagebind_llm.cli.suites.command_of`.

A suite brings items, judges the answers, and makes metrics from sums. Every metric is a function of sums over
items (right answers and items; n-gram counts; true and false positives), so one bootstrap serves them all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from imagebind_llm.checkpoints.card import CardSection
from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.plugins import Plugins
from imagebind_llm.evaluation.benchmarks import BENCHMARKS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
else:  # a list of suites needs no numbers
    Floats = Any

GROUP = "imagebind_llm.suites"

SUITES = Plugins(GROUP, "suite", BENCHMARKS)


@dataclass(frozen=True)
class Item:
    """One question of a suite, or one medium to embed.

    Attributes:
        key: tells it from the others, and stays the same from run to run.
        request: what is asked, as :meth:`imagebind_llm.inference.assistant.Assistant.ask_batch` takes it
            (``{"question": "What is this?", "image": "cat.png"}``). Of a suite of embeddings: one medium,
            without a question (``{"audio": "bark.wav"}``).
        expected: what the suite compares the answer with, as plain JSON.
        group: metrics are reported by group too.
        unit: items of one unit are not independent (the questions about one picture), and are drawn together
            by the bootstrap. Empty: the item alone.
        always: asked also when only some items are (the class names of a zero-shot suite). Not counted as an
            item in results if its sample has no sums.
    """

    key: str
    request: Mapping[str, Any]
    expected: Any = None
    group: str = ""
    unit: str = ""
    always: bool = False


@dataclass(frozen=True)
class Sample:
    """What a suite found in one answer.

    Attributes:
        sums: what the item adds to the sums that metrics are made of. Names that a sample lacks count as 0.
        read: how the answer was understood (``"yes"``, the class named …), as plain JSON.
        score: how good it was, 0 … 1, to find the worst; None where a single answer has no score.
    """

    sums: Mapping[str, float]
    read: Any = None
    score: float | None = None


Answer = str | Floats | None
"""What came back for an item: a text; of a suite of embeddings a unit row ``[D]``; None: an error."""


class Suite(ABC):
    """Items, what their answers are worth, and what is reported.

    A suite of right and wrong answers overrides :meth:`right` only; others :meth:`judge` and
    :meth:`metrics`.
    """

    name: str
    """How it is called in results."""
    asks: Literal["answers", "embeddings"] = "answers"
    """What it needs of a model."""
    main: str = "accuracy"
    """The metric that is shown first."""
    units: Mapping[str, str] = {}
    """Metric → how it is shown: ``"share"`` (the default; in per cent), ``"points"`` (as it is)."""

    @abstractmethod
    def items(self, data: Path | None) -> Iterator[Item]:
        """The items in a fixed order.

        Args:
            data: folder (or file) that the user gave, if any.

        Raises:
            UserError: the data are missing or cannot be read.
        """

    def right(self, item: Item, answer: str) -> bool:
        """Whether ``answer`` is right."""
        raise NotImplementedError(f"suite {self.name!r} has neither right() nor judge()")

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """A sample for each item, of all answers at once. An answer that is None counts as wrong."""
        outcomes = [
            isinstance(answer, str) and self.right(item, answer)
            for item, answer in zip(items, answers, strict=True)
        ]
        return [Sample({"n": 1, "right": right}, None, float(right)) for right in outcomes]

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Metrics of sums over items.

        Args:
            sums: name → array of any shape; each place in it is one draw of the bootstrap. A name that no
                sample has is not in it (``sums.get(name, 0.0)``).

        Returns:
            Metric → array of the same shape; NaN where it is not defined.
        """
        return {"accuracy": ratio(sums.get("right", 0.0), sums["n"])}


def ratio(part: Floats | float, whole: Floats | float) -> Floats:
    """``part / whole``, NaN where ``whole`` is 0."""
    import numpy as np

    whole = np.asarray(whole, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole == 0, np.nan, np.asarray(part, dtype=np.float64) / whole)


@dataclass(frozen=True)
class Facts:
    """What a table of benchmarks says of one.

    Attributes:
        layout: the files that the folder must hold, as they are published.
        metric: what is reported, main one first.
        source: where the data are to be had.
        licence: of the data.
        published: the paper's own number, or another with its source; empty: none is known.
    """

    layout: str
    metric: str
    source: str
    licence: str
    published: str = ""


@dataclass(frozen=True)
class SuiteKind:
    """A way to measure a model, and its command.

    Attributes:
        command: its annotations are Typer's, its docstring is its help. Heavy imports belong into it. None:
            the standard command around ``make``.
        summary: one line for the list of suites.
        examples: lines shown below its help.
        card: what a model card says of its results; None: the metrics by group.
        read: checks the whole of a results file and returns it; None: :func:`.report.read_results` is enough.
        make: returns the suite. Parameters of its own become options of the standard command; each has a
            default, and is annotated ``Annotated[type, "help text"]``. Its docstring is the help.
        facts: for the table of benchmarks.
    """

    command: Callable[..., None] | None = None
    summary: str = ""
    examples: str = ""
    card: Callable[[Mapping[str, Any]], CardSection] | None = None
    read: Callable[[Path], Mapping[str, Any]] | None = None
    make: Callable[..., Suite] | None = None
    facts: Facts | None = None


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
    """Refuse a suite without items, or with a key twice or of half letters (lone surrogates).

    Raises:
        UserError: naming the key.
    """
    if not items:
        raise UserError(f"suite {suite!r} has no items in these data")
    keys: set[str] = set()
    for item in items:
        if not all(_is_text(name) for name in (item.key, item.group, item.unit)):
            raise UserError(f"suite {suite!r} has an item whose key is no text: {item.key!a:.80}")
        if item.key in keys:
            raise UserError(f"suite {suite!r} has two items with the key {item.key!r}; keys must differ")
        keys.add(item.key)


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
