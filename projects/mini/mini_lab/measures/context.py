"""What every part needs: the model, the data, and a place where answers are kept as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.engine import Engine, LocalEngine
from imagebind_llm.evaluation.folder import write_outcome
from imagebind_llm.evaluation.runner import run_suite
from imagebind_llm.evaluation.suite import Item, Suite
from mini_lab.flickr import rows_of

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant

COMMAND = "python -m mini_lab.evaluate"
ANSWERS = "answers"
"""Folder, below the results, of what came back; one folder for each way of asking."""


@dataclass(frozen=True)
class Context:
    """What is measured, on what, and where it goes.

    Attributes:
        bot: the model, with its cache if it has one.
        folder: of the model.
        facts: of the model, as plain JSON (:func:`imagebind_llm.evaluation.provenance.model_facts`).
        data: folder of the shared data.
        parts: folder of the pulled parts.
        words: folder of ``imagebind-llm data fetch imagenet-words``.
        work: folder that the build left: tables of furniture.
        caption_question: what is asked of pictures whose captions are scored.
        text: a file or folder of plain English; None: the package that :mod:`.plain_text` names.
        out: folder of the results.
        limit: most items of a part; None: all.
        progress: show progress bars on a terminal.
    """

    bot: Assistant
    folder: Path
    facts: Mapping[str, Any]
    data: Path
    parts: Path
    words: Path
    work: Path
    out: Path
    caption_question: str
    text: Path | None = None
    limit: int | None = None
    progress: bool = True
    _kept: dict[str, Any] = field(default_factory=dict)

    def ask(
        self, name: str, suite: Suite, engine: Engine | None = None, options: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ask all items of a suite, keep what comes, and return its results.

        Args:
            name: of the folder below ``answers``; the same name goes on there.
            suite: what is asked; its items are those of :attr:`data`.
            engine: who answers; None: the model.
            options: of every question (``cache``, ``max_new_tokens``).
        """
        started = time.time()
        folder = self.out / ANSWERS / name
        outcome = run_suite(
            suite,
            engine or LocalEngine(self.bot),
            self.data,
            out=folder,
            about=self.facts,
            options=options,
            arguments={"part": name},
            progress=self.progress,
            batch_size=32,
        )
        write_outcome(outcome, folder, COMMAND, started)
        return outcome.results

    def rows(self, data_set: str, split: str = "test") -> Sequence[Mapping[str, Any]]:
        """Rows of a data set of :attr:`data`, no more than :attr:`limit`; read once.

        Raises:
            UserError: it is not there, or holds nothing.
        """
        key = f"{data_set}/{split}"
        if key not in self._kept:
            found = list(self.some(rows_of(self.data / data_set / f"{split}.parquet")))
            if not found:
                raise UserError(f"{str(self.data / data_set / f'{split}.parquet')!r} holds no rows")
            self._kept[key] = found
        rows: Sequence[Mapping[str, Any]] = self._kept[key]
        return rows

    def some(self, rows: Iterator[Any]) -> Iterator[Any]:
        """The first :attr:`limit` of them."""
        for number, row in enumerate(rows):
            if self.limit is not None and number >= self.limit:
                return
            yield row

    def cache_ways(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """``cache off`` and, if the model has a cache, ``cache on``: the name and the options of each."""
        ways: list[tuple[str, Mapping[str, Any]]] = [("cache off", {"cache": False})]
        if self.bot.cache is not None:
            ways.append(("cache on", {"cache": True}))
        return ways

    def has(self, *modalities: str) -> bool:
        """Whether the encoder takes all of these."""
        return set(modalities) <= set(self.bot.modalities)


class Listed(Suite):
    """A suite whose items are ready.

    Args:
        name: of it.
        items: its items.
    """

    def __init__(self, name: str, items: Sequence[Item]) -> None:
        self.name, self._items = name, items

    def items(self, data: Path | None) -> Iterator[Item]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        yield from self._items
