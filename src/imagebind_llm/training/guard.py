"""Stopping a run that has gone wrong, before it overwrites what was good."""

import math
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError

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
