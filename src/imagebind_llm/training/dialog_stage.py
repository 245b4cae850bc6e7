"""What the stages that train on dialogs share: drawing, packing, the loss and its held-out measures."""

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.data.packing import Example, PackedBatch, examples_right, pack
from imagebind_llm.data.world import Phrasing
from imagebind_llm.errors import ConfigError
from imagebind_llm.training.stage import Stage, step_rng

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_EVALUATION_BATCH = 64
_EVALUATION_STREAM = 2**40
"""Batch numbers from here on are held out: no training step reaches them."""
_ATTEMPTS = 100


class DialogStage(Stage):
    """Training on packed dialogs. ``run.batch_size`` counts dialogs; they take as many rows as they need."""

    tokenizer: "PreTrainedTokenizerBase"
    recipe: Any

    @abstractmethod
    def draw(self, rng: np.random.Generator, split: Phrasing, held_out: bool) -> Example:
        """One example; ``split`` names the phrasings, ``held_out`` the images."""

    @abstractmethod
    def logits(self, batch: PackedBatch) -> Tensor:
        """``[R, T, V]``."""

    def batch(self, index: int) -> PackedBatch:
        rng = step_rng(self.recipe.run.seed, index)
        return self._packed([self._fitting(rng, "train", False) for _ in range(self.recipe.run.batch_size)])

    def _packed(self, examples: list[Example]) -> PackedBatch:
        pad = self.tokenizer.pad_token_id
        return pack(examples, self.recipe.row_length, pad if isinstance(pad, int) else 0)

    def _fitting(self, rng: np.random.Generator, split: Phrasing, held_out: bool) -> Example:
        """An example that fits a row: longer ones are drawn again, never cut."""
        shortest = None
        for _ in range(_ATTEMPTS):
            example = self.draw(rng, split, held_out)
            if len(example) <= self.recipe.row_length:
                return example
            shortest = min(len(example), shortest or len(example))
        raise ConfigError(
            f"{_ATTEMPTS} dialogs in a row were longer than row_length {self.recipe.row_length} "
            f"(the shortest has {shortest} tokens); make rows longer"
        )

    def weight(self, batch: PackedBatch) -> float:
        return float(batch.learnt_tokens)

    def loss(self, batch: PackedBatch) -> tuple[Tensor, dict[str, Tensor]]:
        from imagebind_llm.modeling import causal_loss

        loss = causal_loss(self.logits(batch), batch.labels)
        filled = (batch.owner >= 0).float().mean()
        return loss, {"row_fill": filled, "rows": torch.tensor(float(len(batch.owner)))}

    @cached_property
    def _held_out(self) -> dict[Phrasing, list[PackedBatch]]:
        """Test batches with known phrasings and with phrasings that training never shows."""
        found = {}
        phrasings: tuple[Phrasing, ...] = ("train", "heldout")
        for place, split in enumerate(phrasings):
            rng = step_rng(self.recipe.run.seed, _EVALUATION_STREAM + place)
            examples = [self._fitting(rng, split, True) for _ in range(self.recipe.evaluate_items)]
            parts = range(0, len(examples), _EVALUATION_BATCH)
            found[split] = [self._packed(examples[at : at + _EVALUATION_BATCH]) for at in parts]
        return found

    def evaluate(self) -> dict[str, float]:
        """``loss`` and ``exact`` (all answers of a dialog right, word for word) on held-out images; ``…_new``
        with phrasings that were never trained on."""
        from imagebind_llm.modeling import causal_loss

        measured = {}
        suffixes: dict[Phrasing, str] = {"train": "", "heldout": "_new"}
        for split, suffix in suffixes.items():
            total, tokens, right, count = 0.0, 0.0, 0, 0
            for batch in self._held_out[split]:
                logits = self.logits(batch)
                total += float(causal_loss(logits, batch.labels)) * batch.learnt_tokens
                tokens += batch.learnt_tokens
                found = examples_right(logits, batch)
                right, count = right + int(found.sum()), count + len(found)
            measured[f"loss{suffix}"] = total / tokens
            measured[f"exact{suffix}"] = right / count
        return measured
