"""What the loop asks of a stage: a trainable set, a batch for each step, a loss, an evaluation, an export."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


class Shards(NamedTuple):
    """How a stage can be divided.

    ``root`` is the module that training and evaluation call; of it, ``units`` are collected one at a time
    when they are computed, the rest when the root is. ``whole`` stays a copy in each process (the frozen
    encoder, which is not called through the root).
    """

    root: nn.Module
    units: list[nn.Module]
    whole: nn.Module | None


class AnsweredTurn(NamedTuple):
    """A held-out question, the answer in the data, and the model's, given the data's turns before it."""

    question: str
    expected: str
    answer: str


class SampleAnswer(NamedTuple):
    """The turns of a held-out dialog, and what it is about: which sample, and whether it shows a medium."""

    turns: Sequence[AnsweredTurn]
    about: str = ""


class Stage(nn.Module):
    """One kind of training. Subclasses hold their models as submodules.

    ``forward(batch)`` is the loss, so that the loop can wrap the stage for several processes.
    """

    name: str
    unit: str = "examples"
    """What :meth:`size` counts."""

    @abstractmethod
    def trainable(self) -> dict[str, nn.Parameter]:
        """Every tensor this stage moves, by name. Everything else is frozen by the loop."""

    def moving_buffers(self) -> dict[str, Tensor]:
        """Buffers that training changes without a gradient (running means of trained batch norms)."""
        return {}

    @abstractmethod
    def batch(self, index: int) -> Any:
        """The micro-batch ``index`` (CPU tensors): a pure function of the recipe's seed and ``index``."""

    def weight(self, batch: Any) -> float:
        """Valid units in a micro-batch: its share in the mean over accumulated micro-batches."""
        return 1.0

    def size(self, batch: Any) -> int:
        """How much work a micro-batch is, for the rate that is shown."""
        return 0

    @abstractmethod
    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss over the batch's valid units and further numbers to log."""

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of ``batch``."""
        return self.loss(batch)

    def evaluate(self) -> dict[str, float]:
        """Held-out measures; called in eval mode, without gradients, with averaged weights if any."""
        return {}

    def evaluation_sums(self, rank: int, count: int) -> dict[str, float] | None:
        """Part ``rank`` of ``count`` of an evaluation, as numbers that add up to what :meth:`measures` takes.

        The same names in every part. None: the evaluation cannot be divided, and :meth:`evaluate` is called.
        """
        return None

    def measures(self, sums: dict[str, float]) -> dict[str, float]:
        """What :meth:`evaluate` returns, from the sums of all parts."""
        raise NotImplementedError

    def samples(self, count: int) -> Sequence[SampleAnswer]:
        """Answers to up to ``count`` held-out questions, always the same; called like :meth:`evaluate`."""
        return ()

    def data_fingerprints(self) -> dict[str, str]:
        """What the data are, by source: a run must not go on with others."""
        return {}

    def keep_frozen_as(self, dtype: torch.dtype) -> None:
        """Store the language model's frozen weights in this precision, where there are any."""
        return

    def blocks(self) -> Sequence[nn.Module]:
        """The repeated layers, to be compiled one by one."""
        return ()

    def shards(self) -> Shards | None:
        """How the stage can be divided over processes; None: it cannot."""
        return None

    def recompute_activations(self) -> bool:
        """Keep activations only between the repeated layers; False: this stage cannot."""
        return False

    def compute_attention_by(self, name: str) -> bool:
        """Have a language model's attention computed by this implementation of transformers.

        Returns:
            False: this stage has none.

        Raises:
            ConfigError: it cannot be used here.
        """
        return False

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the result into ``folder`` (new and empty)."""

    def extra_metadata(self) -> dict[str, Any]:
        """What a reader of the run should know beyond the recipe (fingerprints, counts)."""
        return {}


def step_rng(seed: int, index: int) -> np.random.Generator:
    """The random numbers of one step: independent between steps, the same whenever it is asked for."""
    return np.random.default_rng((seed, index))


def seed_torch(seed: int, step: int) -> None:
    """Seed torch (dropout and the like) for one step, so that no generator state needs saving."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, 1)).generate_state(1, np.uint64)[0] >> 1))
