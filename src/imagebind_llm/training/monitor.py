"""Watching a run: its progress bar and logs, stopping when asked to, stopping when it has gone wrong."""

import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.training.parallel import Processes, undivide
from imagebind_llm.training.report import Events, MetricsLog, can_plot, plot_loss, write_samples
from imagebind_llm.training.settings import RunSettings
from imagebind_llm.training.stage import SampleAnswer, Stage

_FIRST_STEPS = 10
_PATIENCE = 5
_SMALLEST_REFERENCE = 1.0
"""A run that starts near a loss of 0 (a continued one) may rise to a few without having exploded."""


class TrainingError(UserError):
    """Training cannot go on (the loss or the gradient is not a number, or the loss exploded)."""


class LossGuard:
    """Watches the loss. What it knows is part of the run's state, so that a resumed run stops where an
    uninterrupted one would.

    Args:
        ratio: stop when the loss was above this many times the mean of the run's first steps
            (at least 1) for several steps in a row; 0 = never.
        checkpoints: folder of the run's checkpoints, to name the last one.
    """

    def __init__(self, ratio: float, checkpoints: Path) -> None:
        self._ratio, self._checkpoints = ratio, checkpoints
        self._first: list[float] = []
        self._bad = 0

    @property
    def suspicious(self) -> bool:
        """Whether the latest losses were too high: no time to save a checkpoint."""
        return self._bad > 0

    def state(self) -> dict[str, Any]:
        """To go into a checkpoint."""
        return {"first_losses": self._first}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._first = list(state.get("first_losses", []))

    def check(self, step: int, loss: float, norm: float, rate: float) -> None:
        """Look at a step before the weights move.

        Raises:
            TrainingError: it is hopeless.
        """
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"step {step}: loss is {loss} and gradient norm {norm} at learning rate {rate:.3g}; stopped "
                f"before the weights moved, {self._kept()}: lower the learning rate or optimizer.clip"
            )
        if len(self._first) < _FIRST_STEPS:
            self._first.append(loss)
            return
        usual = max(sum(self._first) / len(self._first), _SMALLEST_REFERENCE)
        self._bad = self._bad + 1 if self._ratio and loss > self._ratio * usual else 0
        if self._bad >= _PATIENCE:
            raise TrainingError(
                f"step {step}: the loss exploded: {loss:.4g}, for {self._bad} steps above {self._ratio:g} "
                f"times that of the first steps ({usual:.4g}), at learning rate {rate:.3g}; {self._kept()}: "
                "lower the learning rate or optimizer.clip, or raise run.explosion"
            )

    def _kept(self) -> str:
        from imagebind_llm.training.checkpoint import list_checkpoints

        kept = list_checkpoints(self._checkpoints)
        return f"last good checkpoint is {kept[-1] if kept else 'none yet'}"


class Interrupts:
    """Within the block, the first SIGTERM, SIGHUP or SIGINT is noted in ``received``; a second SIGINT
    interrupts. A SIGHUP that is ignored already (``nohup``) stays so.

    Outside the main thread, where signals cannot be caught, it does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            noted = [signal.SIGTERM, signal.SIGINT]
            if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                noted.append(signal.SIGHUP)
            self._before = {number: signal.signal(number, self._note) for number in noted}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number


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

    def advance(self) -> None:
        """One step done."""
        self._bar.update()

    def add(self, size: float) -> None:
        """So much work is done."""
        self._done += size

    def line(self, loss: float) -> dict[str, float]:
        """Show ``loss`` and the mean rate since the last line; that rate, by its name."""
        now = time.monotonic()
        rate = self._done / max(now - self._since, 1e-9)
        self._done, self._since = 0.0, now
        self._bar.set_postfix_str(f"loss {loss:.4f}, {rate:,.0f} {self._unit}/s", refresh=False)
        return {f"{self._unit}_per_second": rate}


logger = logging.getLogger(__name__)


class RunOutput:
    """The written part of a run in ``folder``; in processes that are not ``main`` it writes nothing.

    Args:
        step: where the run starts or goes on; what is written about later steps is dropped.
    """

    def __init__(self, folder: Path, run: RunSettings, step: int, main: bool) -> None:
        self._folder, self._main = folder, main
        self._events: Events | None = None
        if main:
            self._plots = can_plot()  # said before the work, not after it
            self._metrics = MetricsLog(folder / "metrics.jsonl", step)
            if run.tensorboard:
                self._events = Events(folder / "tensorboard", step)

    def log(self, step: int, values: dict[str, float], rates: dict[str, float]) -> None:
        """A line of metrics. Rates depend on the machine, so they go to TensorBoard only: the metrics of a
        resumed run are those of an uninterrupted one."""
        if not self._main:
            return
        self._metrics.write(step, {key: round(value, 6) for key, value in values.items()})
        if self._events:
            self._events.write(step, {**values, **rates})

    def evaluated(self, step: int, measured: dict[str, float], samples: Sequence[SampleAnswer]) -> None:
        """Held-out measures, and answers to look at."""
        if not self._main:
            return
        if samples:
            write_samples(self._folder / "samples", step, samples)
        if measured:
            self._metrics.write(step, measured)
            logger.info("step %d: %s", step, ", ".join(f"{k[5:]} {v:.4g}" for k, v in measured.items()))
            if self._events:
                self._events.write(step, measured)

    def export(self, stage: Stage, processes: Processes, step: int, measured: dict[str, float]) -> None:
        """Write the result into ``export`` and draw ``loss.png``. A divided model is put together first and
        cannot be trained further."""
        parts = stage.shards() if processes.sharded else None
        if parts is not None:
            undivide(parts.root, keep=self._main)
        if not self._main:
            return
        target = self._folder / "export"
        with atomic_directory(target) as temporary:
            stage.export(temporary)
            result = {"stage": stage.name, "step": step, **measured, **stage.extra_metadata()}
            (temporary / "training.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        if self._events:
            self._events.close()
        if self._plots:
            plot_loss(self._folder / "metrics.jsonl", self._folder / "loss.png")
        logger.info("exported to %s", target)
