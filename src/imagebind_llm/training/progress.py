"""The progress bar: steps, loss, rate, time left."""

import sys
import time
from types import TracebackType
from typing import Any

from imagebind_llm.training.run_settings import RunSettings


class Progress:
    """A bar on stderr over all steps (in one process of a run), and the rate of work.

    Args:
        step: where this call starts.
        unit: what the rate counts (``tokens``, ``examples``).
    """

    def __init__(self, run: RunSettings, step: int, unit: str, visible: bool) -> None:
        self._run, self._first, self._unit, self._visible = run, step, unit, visible
        self._done = 0.0
        self._since = time.monotonic()

    def __enter__(self) -> "Progress":
        from tqdm import tqdm

        pace = 1.0 if sys.stderr.isatty() else 30.0  # a log file needs no animation
        self._bar: Any = tqdm(
            total=self._run.steps,
            initial=self._first,
            unit="step",
            mininterval=pace,
            maxinterval=pace,
            disable=not self._visible,
        )
        self._since = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def advance(self, step: int, loss: float, size: float) -> dict[str, float]:
        """One step done; the mean rate since the last log line, empty between lines."""
        self._bar.update()
        self._done += size
        if step % self._run.log_every and step != self._run.steps:
            return {}
        now = time.monotonic()
        rate = self._done / max(now - self._since, 1e-9)
        self._done, self._since = 0.0, now
        self._bar.set_postfix_str(f"loss {loss:.4f}, {rate:,.0f} {self._unit}/s", refresh=False)
        return {f"{self._unit}_per_second": rate}
