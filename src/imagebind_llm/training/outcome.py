"""What a run writes besides its checkpoints, by one of its processes."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from imagebind_llm.common.files import atomic_directory
from imagebind_llm.training.parallel import Processes
from imagebind_llm.training.report import Events, MetricsLog, can_plot, plot_loss, write_samples
from imagebind_llm.training.run_settings import RunSettings
from imagebind_llm.training.sharding import undivide
from imagebind_llm.training.stage import SampleAnswer, Stage

logger = logging.getLogger(__name__)


class Outcome:
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
