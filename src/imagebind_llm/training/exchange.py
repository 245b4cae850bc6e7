"""The numbers of a step: summed over processes in one exchange, read from the device only when asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from imagebind_llm.training.parallel import Processes


@dataclass(frozen=True)
class StepNumbers:
    """What all processes know of a step."""

    step: int
    """0-based."""
    weight: float
    """Valid units in all micro-batches."""
    size: float
    """Work done, for the rate that is shown."""
    late: bool
    """Whether the time for a checkpoint has come."""
    signal: int | None
    """A signal that some process received before its part of the step was done."""
    values: dict[str, float]
    """``loss``, the stage's own numbers, ``grad_norm`` and ``lr``."""


class OwnPart(NamedTuple):
    """What one process brings to a step."""

    weight: float
    size: int
    late: bool
    signal: int | None


class _Unread(NamedTuple):
    step: int
    rate: float
    names: Sequence[str]
    numbers: Tensor


_HOST = 5
"""Numbers before those of the stage: weight, size, late, sum of signals, number of processes with one."""


class Exchange:
    """Sums the steps' numbers over ``processes`` and keeps them on the device until :meth:`read`."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._names: list[str] | None = None
        self._unread: list[_Unread] = []

    def add_up(self, own: OwnPart, weighted: Mapping[str, Any]) -> Tensor:
        """Sum this process's part with the others'.

        Args:
            own: known on the host.
            weighted: the loss and further numbers, each times its weight. A name that only other processes
                have counts as 0.

        Returns:
            What :meth:`keep` takes; its first number is the total weight.
        """
        processes = self._processes
        if self._names is None or processes.count == 1:
            self._names = processes.union(weighted)
        kind: dict[str, Any] = {"dtype": processes.exact, "device": processes.device}
        host = [own.weight, own.size, own.late, own.signal or 0, own.signal is not None]
        stage = [torch.as_tensor(weighted.get(name, 0.0), **kind) for name in self._names]
        return processes.sum_(torch.cat((torch.tensor(host, **kind), torch.stack(stage))))

    def keep(self, step: int, rate: float, summed: Tensor, norm: Tensor) -> None:
        """Have a step's numbers read later; ``norm`` is that of its gradient."""
        numbers = torch.cat((summed, norm.to(summed).reshape(1)))
        self._unread.append(_Unread(step, rate, list(self._names or ()), numbers))

    def read(self) -> list[StepNumbers]:
        """The numbers of the steps since the last call: waits for the device once."""
        unread, self._unread = self._unread, []
        if not unread:
            return []
        rows = torch.cat([entry.numbers for entry in unread]).tolist()
        found, start = [], 0
        for entry in unread:
            row = rows[start : start + len(entry.numbers)]
            start += len(entry.numbers)
            weight, size, late, signals, signalled = row[:_HOST]
            total = weight if weight > 0 else float("nan")
            values = {name: value / total for name, value in zip(entry.names, row[_HOST:-1], strict=True)}
            values |= {"grad_norm": row[-1], "lr": entry.rate}
            signal = round(signals / signalled) if signalled else None
            found.append(StepNumbers(entry.step, weight, size, late > 0, signal, values))
        return found
