"""Several sources as one: drawn by weight, bad samples put aside."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from imagebind_llm.data.errors import BadSample, TrainingDataError
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.sources.base import Record, Source, StreamingSource
from imagebind_llm.errors import ConfigError

if TYPE_CHECKING:
    from imagebind_llm.media.limits import Limits


class SourceMixture:
    """Draws samples from sources in proportion to their weights; pictures come opened.

    Args:
        sources: at least one, with different names.
        weights: one each, at least one above 0; only the ratios count.
        quarantine: takes bad samples; by default one that counts only.
        limits: of the pictures.
    """

    def __init__(
        self,
        sources: Sequence[Source | StreamingSource],
        weights: Sequence[float],
        quarantine: Quarantine | None = None,
        limits: "Limits | None" = None,
    ) -> None:
        shares = np.asarray(weights, dtype=float)
        if not sources or len(shares) != len(sources) or not np.isfinite(shares).all() or (shares < 0).any():
            raise ConfigError(
                f"{len(sources)} sources with weights {list(weights)}; expected at least one source and a "
                "weight of 0 or more for each"
            )
        if not shares.sum() > 0:
            raise ConfigError(f"all weights are 0 ({list(weights)}); give at least one source a share")
        names = [source.name for source in sources]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"two sources are called {twice!r}; give them different names")
        self.sources = list(sources)
        self.quarantine = quarantine if quarantine is not None else Quarantine()
        self._edges = np.cumsum(shares) / np.cumsum(shares)[-1]
        self._limits = limits

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of each source by name, to be saved with a run and compared when it goes on."""
        return {source.name: source.fingerprint for source in self.sources}

    def draw(self, rng: np.random.Generator) -> Record:
        """A sample: a pure function of ``rng``'s state, whatever was drawn before.

        A bad one goes to the quarantine, and the same ``rng`` draws again.

        Raises:
            TrainingDataError: the quarantine has had enough.
            ConfigError: the source drawn is a stream, which has no sample number n.
        """
        while True:
            source = self.sources[int(np.searchsorted(self._edges, rng.random(), side="right"))]
            if not isinstance(source, Source):
                raise ConfigError(
                    f"source {source.name!r} is a stream and cannot be drawn from at random; "
                    "embed it first with: imagebind-llm data embed"
                )
            index = int(rng.integers(len(source)))
            try:
                record = source.read(index).load(self._limits)
            except BadSample as bad:
                self.quarantine.report(source.name, bad)
                continue
            self.quarantine.passed()
            return record

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
                f"none of {self.quarantine.tried} samples is good ({self.quarantine.summary()})"
            )


def samples(source: Source | StreamingSource, start: int = 0) -> Iterator[Record | BadSample]:
    """The samples of any source in order, bad ones as :class:`BadSample` objects in their place."""
    if isinstance(source, StreamingSource):
        yield from source.stream(start)
        return
    for index in range(start, len(source)):
        try:
            yield source.read(index)
        except BadSample as bad:
            yield bad
