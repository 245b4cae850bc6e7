"""Ways of feeding one model: dialogs packed into rows, or the plain way, each in a padded row of its own."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.data.packing import Example, pack
from imagebind_llm.model.loss import IGNORED_LABEL
from imagebind_llm.training.optimization import parameter_groups
from imagebind_llm.training.stage import step_rng

LOSS_TOLERANCE = 1e-5


class Padded(NamedTuple):
    """A batch the plain way: a row for each dialog."""

    input_ids: Tensor
    labels: Tensor
    attention_mask: Tensor
    condition_ids: Tensor
    conditions: Tensor | None


def padded(examples: Sequence[Example], length: int, pad_token: int) -> Padded:
    """Right-padded to ``length``; longer dialogs are cut there."""
    shape = (len(examples), length)
    ids = torch.full(shape, pad_token)
    labels, seen = torch.full(shape, IGNORED_LABEL), torch.full(shape, -1)
    mask = torch.zeros(shape, dtype=torch.long)
    conditions: list[Tensor] = []
    first = 0
    for row, example in enumerate(examples):
        used = min(len(example), length)
        own = torch.tensor(example.input_ids[:used])
        ids[row, :used], mask[row, :used] = own, 1
        labels[row, :used] = torch.where(torch.tensor(example.loss_mask[:used]), own, IGNORED_LABEL)
        condition = torch.tensor(example.condition_ids[:used])
        seen[row, :used] = torch.where(condition >= 0, condition + first, -1)
        if example.conditions is not None:
            conditions.append(example.conditions)
            first += len(example.conditions)
    return Padded(ids, labels, mask, seen, torch.cat(conditions) if conditions else None)


class Trainer:
    """One model and one optimizer, shared by the ways of feeding them."""

    def __init__(self, stage: Any, batch_size: int) -> None:
        self.stage, self.batch_size = stage, batch_size
        parameters = stage.trainable()
        stage.requires_grad_(False)
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        self._parameters = list(parameters.values())
        self._optimizer = torch.optim.AdamW(parameter_groups(parameters, 0.05), lr=1e-4)
        pad = stage.tokenizer.pad_token_id
        self.pad = pad if isinstance(pad, int) else 0
        stage.train()

    def draw(self, rng: np.random.Generator) -> list[Example]:
        return [self.stage.examples.draw(rng) for _ in range(self.batch_size)]

    def learn(self, loss: Tensor) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def packed_loss(self, examples: Sequence[Example]) -> Tensor:
        loss: Tensor = self.stage.loss(pack(examples, self.stage.recipe.row_length, self.pad))[0]
        return loss

    def padded_loss(
        self, examples: Sequence[Example], length: int, conditions: Tensor | None = None
    ) -> Tensor:
        batch = padded(examples, length, self.pad)
        loss: Tensor = self.stage.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            labels=batch.labels,
            conditions=batch.conditions if conditions is None else conditions,
            condition_ids=batch.condition_ids,
            use_cache=False,
        ).loss
        return loss


class Way:
    """A way of training: call it for one optimizer step. Counts what it was fed and where the time went."""

    def __init__(self, trainer: Trainer, loss: Callable[[list[Example]], Tensor], seed: int) -> None:
        self._trainer, self._loss, self._seed = trainer, loss, seed
        self._step = 0
        self.tokens: list[int] = []
        self.drawing: list[float] = []

    def __call__(self) -> None:
        start = time.perf_counter()
        examples = self._trainer.draw(step_rng(self._seed, self._step))
        self.drawing.append(time.perf_counter() - start)
        self._step += 1
        self._trainer.learn(self._loss(examples))
        self.tokens.append(sum(len(example) for example in examples))


def same_loss(trainer: Trainer, length: int) -> float:
    """The difference between the loss packed and padded, of the same dialogs, in evaluation mode."""
    trainer.stage.eval()
    examples = [e for e in trainer.draw(step_rng(9, 9)) if len(e) <= length]
    with torch.no_grad():
        difference = float((trainer.packed_loss(examples) - trainer.padded_loss(examples, length)).abs())
    trainer.stage.train()
    if difference > LOSS_TOLERANCE:
        raise SystemExit(f"packed and padded losses of the same dialogs differ by {difference:.3g}")
    return difference
