"""Samples that could not be used: reported, counted, never fatal by themselves, never silent.

The report is a file of JSON lines ``{"source", "key", "reason"}``, one for each bad sample however often it
is met. When the share of bad ones passes the limit, the run stops with a message that says what is wrong:
on the way once some bad ones were met, at the end of the data in any case.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from imagebind_llm.common.errors import BadSample, ConfigError, TrainingDataError

DEFAULT_MAX_RATE = 0.05
"""Largest share of bad samples."""
DEFAULT_MIN_COUNT = 20
"""Bad samples met before the share is judged on the way: a bad one among the first ten says little."""
_EXAMPLES = 3
"""Reasons kept of each source."""


class Quarantine:
    """Counts good and bad samples.

    Args:
        path: of the report; what it holds already (from an interrupted run) is kept and not repeated. None =
            count only. Each process of a distributed run needs its own.
        max_rate: largest share of bad samples among those tried, 0 to 1.
        min_count: bad samples tried before the share is judged on the way.

    Attributes:
        counts: distinct bad samples by source, those of an earlier report included.
        tried: samples tried, good and bad, in this process; one that is drawn twice counts twice.
        examples: the first few bad samples of this process by source, ``key: reason``.
        last: the latest bad sample of this process, with its source; empty without any.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        max_rate: float = DEFAULT_MAX_RATE,
        min_count: int = DEFAULT_MIN_COUNT,
    ) -> None:
        if not 0 <= max_rate <= 1 or min_count < 1:
            raise ConfigError(
                f"quarantine: max_rate is {max_rate} and min_count {min_count}; expected a share from 0 to 1 "
                "and at least 1"
            )
        self.path = None if path is None else Path(path)
        self.max_rate = max_rate
        self.min_count = min_count
        self.counts: Counter[str] = Counter()
        self.tried = 0
        self.last = ""
        self.examples: dict[str, list[str]] = {}
        self._bad = 0
        self._met: set[tuple[str, str]] = set()
        self._known: set[tuple[str, str]] = set()
        if self.path is not None and self.path.exists():
            self._read(self.path)

    @property
    def total(self) -> int:
        """Distinct bad samples."""
        return len(self._known)

    def passed(self, count: int = 1) -> None:
        """``count`` samples were fine."""
        self.tried += count

    def report(self, source: str, bad: BadSample) -> None:
        """A sample was bad.

        Raises:
            TrainingDataError: and with it too many.
        """
        self.tried += 1
        self.last = f"{source}: {bad}"
        self._bad += 1
        if (source, bad.key) not in self._met:
            self._met.add((source, bad.key))
            first = self.examples.setdefault(source, [])
            if len(first) < _EXAMPLES:
                first.append(str(bad))
        if (source, bad.key) not in self._known:
            self._known.add((source, bad.key))
            self.counts[source] += 1
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                line = json.dumps(
                    {"source": source, "key": bad.key, "reason": bad.reason}, ensure_ascii=False
                )
                with self.path.open("ab") as file:
                    file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        if self._bad >= self.min_count:
            self.judge()

    def judge(self) -> None:
        """The share as it is now, however few samples it is of: for the end of the data.

        Raises:
            TrainingDataError: too many were bad.
        """
        if self._bad <= self.max_rate * self.tried:
            return
        again = f" ({len(self._met)} different ones, drawn repeatedly)" if len(self._met) < self._bad else ""
        where = "" if self.path is None else f"; all are listed in {self.path}"
        raise TrainingDataError(
            f"{self._bad} of {self.tried} samples are bad, more than the allowed share "
            f"{self.max_rate:g}; the last: {self.last}{again}{where}; mend the data, or allow more "
            "(data.max_bad_share in a recipe, --max-bad on the command line)"
        )

    def counts_with(self, reports: Iterable[Path]) -> dict[str, int]:
        """``counts`` with the samples in the reports of other processes, each counted once."""
        known = self._known.union(*(_entries(path.read_bytes(), path) for path in reports))
        return dict(sorted(Counter(source for source, _ in known).items()))

    def summary(self) -> str:
        """One line for the end of a run: ``3 bad samples (captions.tsv 2, tars 1)``."""
        parts = ", ".join(f"{source} {count}" for source, count in sorted(self.counts.items()))
        return f"{self.total} bad sample{'s' * (self.total != 1)}" + (f" ({parts})" if parts else "")

    def _read(self, path: Path) -> None:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # a line that a killed process did not finish
            with path.open("r+b") as file:
                file.truncate(len(whole))
        self._known = _entries(whole, path)
        self.counts = Counter(source for source, _ in self._known)


def _entries(content: bytes, path: Path) -> set[tuple[str, str]]:
    """Source and key of each finished line of a report.

    Raises:
        TrainingDataError: it is no report.
    """
    found = set()
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            entry = json.loads(line)
            found.add((str(entry["source"]), str(entry["key"])))
        except (ValueError, KeyError, TypeError):
            raise TrainingDataError(
                f"{str(path)!r}, line {number} is no line of a quarantine report; give another path"
            ) from None
    return found
