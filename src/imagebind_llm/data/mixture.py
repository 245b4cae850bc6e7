"""Several sources as one: drawn by weight, bad samples put aside."""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from imagebind_llm.common.errors import (
    BadSample,
    ConfigError,
    MissingExtraError,
    TrainingDataError,
    UserError,
)
from imagebind_llm.data.order import MixedOrder, SourceOrder
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.sources.base import Record, Source, StreamingSource, read_sample

if TYPE_CHECKING:
    from imagebind_llm.media.base import Limits

T = TypeVar("T")

_MOST_IN_A_ROW = 1000
"""Bad samples drawn one after the other: with an allowed share of 1 nothing else would end the search."""


class SourceMixture:
    """Draws samples from sources in proportion to their weights; pictures come opened.

    Args:
        sources: at least one, with different names.
        weights: one each, at least one above 0; only the ratios count.
        quarantine: takes bad samples; by default one that counts only.
        limits: of the pictures.
        seed: of the order in which :meth:`numbered` goes through the sources.

    Several threads may draw from it. They take turns in reading, not in opening pictures.
    """

    def __init__(
        self,
        sources: Sequence[Source | StreamingSource],
        weights: Sequence[float],
        quarantine: Quarantine | None = None,
        limits: "Limits | None" = None,
        seed: int = 0,
    ) -> None:
        shares = np.asarray(weights, dtype=float)
        if not sources or len(shares) != len(sources) or not np.isfinite(shares.sum()) or (shares < 0).any():
            raise ConfigError(
                f"{len(sources)} sources with weights {list(weights)}; expected at least one source and a "
                "weight of 0 or more for each, with a finite sum"
            )
        if not shares.sum() > 0:
            raise ConfigError(f"all weights are 0 ({list(weights)}); give at least one source a share")
        names = [source.name for source in sources]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(
                f"two sources are called {twice!r}; give them different names (name: … in a recipe)"
            )
        self.sources = list(sources)
        self.quarantine = quarantine if quarantine is not None else Quarantine()
        self._edges = np.cumsum(shares) / np.cumsum(shares)[-1]
        self._limits = limits
        self._shares = shares.tolist()
        self._seed = seed
        self._reading = threading.Lock()

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of each source by name, to be saved with a run and compared when it goes on."""
        return {source.name: source.fingerprint for source in self.sources}

    def draw(self, rng: np.random.Generator) -> Record:
        """A sample: a pure function of ``rng``'s state, whatever was drawn before.

        A bad one goes to the quarantine, and the same ``rng`` draws again.

        Raises:
            TrainingDataError: the quarantine has had enough, or nothing good is found.
            ConfigError: the source drawn is a stream, which has no sample number n.
        """
        return self.draw_as(rng, lambda record: record)

    def draw_as(self, rng: np.random.Generator, make: Callable[[Record], T]) -> T:
        """What ``make`` makes of a sample; one that it refuses with a ``UserError`` is a bad sample too.

        Raises:
            TrainingDataError: the quarantine has had enough, or nothing good is found.
            ConfigError: the source drawn is a stream, which has no sample number n.
        """
        for _ in range(_MOST_IN_A_ROW):
            source = self.sources[int(np.searchsorted(self._edges, rng.random(), side="right"))]
            if not isinstance(source, Source):
                raise ConfigError(
                    f"source {source.name!r} is a stream and cannot be drawn from at random; "
                    "embed it first with: imagebind-llm data embed"
                )
            made = self._made(source, int(rng.integers(len(source))), make)
            if made is not None:
                return made[0]
        raise TrainingDataError(
            f"{_MOST_IN_A_ROW} samples drawn one after the other are bad, the last: {self.quarantine.last}; "
            "mend the data"
        )

    @cached_property
    def _order(self) -> MixedOrder:
        orders = []
        for number, source in enumerate(self.sources):
            if not isinstance(source, Source):
                raise ConfigError(
                    f"source {source.name!r} is a stream and cannot be drawn from at random; "
                    "embed it first with: imagebind-llm data embed"
                )
            blocks = getattr(source, "blocks", None)
            orders.append(SourceOrder(len(source), blocks, self._seed + (number << 32)))
        return MixedOrder(self._shares, orders, self._seed)

    def numbered(self, number: int, rng: np.random.Generator, make: Callable[[Record], T]) -> T:
        """What ``make`` makes of the sample of draw ``number``.

        Draws ``0, 1, 2, …`` go through each source again and again, each time in another order. A bad sample
        is replaced by one that :meth:`draw_as` draws with ``rng``.

        Raises:
            TrainingDataError: the quarantine has had enough, or nothing good is found.
            ConfigError: a source is a stream, which has no sample number n.
        """
        with self._reading:
            source, index = self._order.at(number)
        chosen = self.sources[source]
        assert isinstance(chosen, Source), "the order has checked it"
        made = self._made(chosen, index, make)
        return made[0] if made is not None else self.draw_as(rng, make)

    def spread(self, count: int, make: Callable[[Record], T]) -> Iterator[T]:
        """Up to ``count`` different samples, spread over all sources, the same at every call.

        Weights do not matter; bad samples are put aside and not replaced.

        Raises:
            TrainingDataError: the quarantine has had enough.
            ConfigError: a source is a stream.
        """
        lengths = []
        for source in self.sources:
            if not isinstance(source, Source):
                raise ConfigError(f"source {source.name!r} is a stream; embed it first to hold it out")
            lengths.append(len(source))
        total = sum(lengths)
        ends = np.cumsum(lengths)
        chosen = np.random.default_rng(0).choice(total, min(count, total), replace=False, shuffle=False)
        for place in np.sort(chosen).tolist():
            number = int(np.searchsorted(ends, place, side="right"))
            source = self.sources[number]
            assert isinstance(source, Source), "checked above"
            made = self._made(source, place - int(ends[number] - lengths[number]), make)
            if made is not None:
                yield made[0]

    def _made(self, source: Source, index: int, make: Callable[[Record], T]) -> tuple[T] | None:
        """What ``make`` makes of a sample, in a tuple; None if it is bad."""
        try:
            with self._reading:
                found = read_sample(source, index)
            record = found.load(self._limits)
            try:
                made = make(record)
            except (ConfigError, MissingExtraError):
                raise  # not this sample's fault
            except UserError as error:
                raise BadSample(record.key, str(error)) from error
        except BadSample as bad:
            with self._reading:
                self.quarantine.report(source.name, bad)
            return None
        with self._reading:
            self.quarantine.passed()
        return (made,)

    def iterate(self, start: int = 0) -> Iterator[Record]:
        """Every good sample once, source after source; ``start`` counts samples, bad ones included.

        Raises:
            TrainingDataError: the quarantine has had enough, or no sample at all is good.
            ConfigError: a stream stands before another source, so that ``start`` would be ambiguous.
        """
        early = [source.name for source in self.sources[:-1] if not isinstance(source, Source)]
        if start and early:
            raise ConfigError(
                f"source {early[0]!r} is a stream of unknown length; put it last to go on within"
            )
        seen = good = 0
        for source in self.sources:
            if isinstance(source, Source) and seen + len(source) <= start:
                seen += len(source)
                continue
            for item in samples(source, max(0, start - seen)):
                try:
                    if isinstance(item, BadSample):
                        raise item
                    record = item.load(self._limits)
                except BadSample as bad:
                    self.quarantine.report(source.name, bad)
                    continue
                self.quarantine.passed()
                good += 1
                yield record
            seen += len(source) if isinstance(source, Source) else 0
        if not good and self.quarantine.tried:
            raise TrainingDataError(
                f"none of {self.quarantine.tried} samples is good ({self.quarantine.summary()}), the last: "
                f"{self.quarantine.last}"
            )
        self.quarantine.judge()


def samples(source: Source | StreamingSource, start: int = 0) -> Iterator[Record | BadSample]:
    """The samples of any source in order, bad ones as :class:`BadSample` objects in their place."""
    if isinstance(source, StreamingSource):
        yield from source.stream(start)
        return
    for index in range(start, len(source)):
        try:
            yield read_sample(source, index)
        except BadSample as bad:
            yield bad
