"""What the stages that train on dialogs share: drawing, packing, the loss and its held-out measures."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.data.packing import Example, PackedBatch, examples_right, laid_for, pack
from imagebind_llm.data.world import Phrasing
from imagebind_llm.model.loss import labelled_loss, logits_at, predicts_label
from imagebind_llm.training.stage import AnsweredTurn, SampleAnswer, Shards, Stage, step_rng

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_EVALUATION_BATCH = 64
_EVALUATION_STREAM = 2**40
"""Batch numbers from here on are held out: no training step reaches them."""
_ATTEMPTS = 100
_SUFFIXES: dict[Phrasing, str] = {"train": "", "heldout": "_new"}
"""How the measures of known and of new phrasings are marked."""
_LONGEST_SAMPLE = 128
"""Tokens of an answer to look at."""


def _learnt_runs(learnt: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Start and stop of each answer. Nothing comes before a dialog's first token, so it is not asked for."""
    start = 1
    while start < len(learnt):
        if not learnt[start]:
            start += 1
            continue
        stop = next((at for at in range(start, len(learnt)) if not learnt[at]), len(learnt))
        yield start, stop
        start = stop


class DialogStage(Stage):
    """Training on packed dialogs. ``run.batch_size`` counts dialogs; they take as many rows as they need."""

    tokenizer: "PreTrainedTokenizerBase"
    recipe: Any
    model: Any
    unit = "tokens"
    phrasings: tuple[Phrasing, ...] = ("train", "heldout")
    """What is evaluated; none without held-out data."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, split: Phrasing, held_out: bool) -> Example:
        """One example; ``split`` names the phrasings, ``held_out`` the images."""

    @abstractmethod
    def logits(self, batch: PackedBatch, keep: Tensor) -> Tensor:
        """Of a batch laid out for its attention; ``keep`` is ``logits_to_keep`` of the language model."""

    @property
    @abstractmethod
    def language_model(self) -> Any:
        """The causal language model, inside ``model`` or that itself."""

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

    def size(self, batch: PackedBatch) -> int:
        return int((batch.owner >= 0).sum())

    def blocks(self) -> list[nn.Module]:
        from imagebind_llm.model.families import decoder_layers

        return decoder_layers(self.language_model)

    def shards(self) -> Shards | None:
        return Shards(self.model, self.blocks(), None)

    def recompute_activations(self) -> bool:
        model = self.language_model
        enable = getattr(model, "activation_checkpointing_enable", None)  # its name from transformers 5.2x on
        (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
        return True

    def labelled_logits(self, batch: PackedBatch) -> tuple[Tensor, PackedBatch]:
        """The logits ``[n, V]`` of all tokens that predict a label, and the batch in the layout they belong
        to."""
        laid = laid_for(batch, self.language_model.config._attn_implementation)
        predicting = predicts_label(laid.labels)
        return logits_at(lambda keep: self.logits(laid, keep), predicting), laid

    def loss(self, batch: PackedBatch) -> tuple[Tensor, dict[str, Tensor]]:
        logits, laid = self.labelled_logits(batch)
        loss = labelled_loss(logits, laid.labels)
        filled = (batch.owner >= 0).float().mean()
        return loss, {"row_fill": filled, "rows": torch.tensor(float(len(batch.owner)))}

    @cached_property
    def _held_out_examples(self) -> dict[Phrasing, list[Example]]:
        """Test examples with known phrasings and with phrasings that training never shows."""
        found = {}
        for place, split in enumerate(self.phrasings):
            rng = step_rng(self.recipe.run.seed, _EVALUATION_STREAM + place)
            found[split] = [self._fitting(rng, split, True) for _ in range(self.recipe.evaluate_items)]
        return found

    @cached_property
    def _held_out(self) -> dict[Phrasing, list[PackedBatch]]:
        found = {}
        for split, examples in self._held_out_examples.items():
            parts = range(0, len(examples), _EVALUATION_BATCH)
            found[split] = [self._packed(examples[at : at + _EVALUATION_BATCH]) for at in parts]
        return found

    def evaluate(self) -> dict[str, float]:
        """``loss`` and ``exact`` (all answers of a dialog right, word for word) on held-out images; ``…_new``
        with phrasings that were never trained on."""
        return self.measures(self.evaluation_sums(0, 1))

    def evaluation_sums(self, rank: int, count: int) -> dict[str, float]:
        sums: dict[str, float] = {}
        for split, batches in self._held_out.items():
            total, tokens, right, dialogs = 0.0, 0.0, 0.0, 0.0
            # A divided model computes together: all take part as often, with a batch that does not count.
            for first in range(0, len(batches), count):
                own = first + rank < len(batches)
                batch = self.to_device(batches[first + rank if own else first])
                logits, laid = self.labelled_logits(batch)
                if own:
                    total += float(labelled_loss(logits, laid.labels)) * batch.learnt_tokens
                    found = examples_right(logits, laid)
                    tokens, dialogs = tokens + batch.learnt_tokens, dialogs + len(found)
                    right += float(found.sum())
            sums |= {f"{split}/loss": total, f"{split}/tokens": tokens}
            sums |= {f"{split}/right": right, f"{split}/dialogs": dialogs}
        return sums

    def measures(self, sums: dict[str, float]) -> dict[str, float]:
        measured = {}
        for split in self.phrasings:
            measured[f"loss{_SUFFIXES[split]}"] = sums[f"{split}/loss"] / sums[f"{split}/tokens"]
            measured[f"exact{_SUFFIXES[split]}"] = sums[f"{split}/right"] / sums[f"{split}/dialogs"]
        return measured

    def samples(self, count: int) -> list[SampleAnswer]:
        """Greedy answers to every question of held-out dialogs (known phrasings)."""
        found = self._held_out_examples.get("train", [])
        return [self._answer(example) for example in found[:count]]

    def _answer(self, example: Example) -> SampleAnswer:
        """Each turn is asked after the data's own turns, as ``exact`` judges it."""
        batch = self.to_device(self._packed([example]))
        turns, before = [], 0
        for start, stop in _learnt_runs(example.learnt):
            ids = batch.input_ids[:, :start]
            found = self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=min(2 * (stop - start) + 8, _LONGEST_SAMPLE),
                do_sample=False,
                **self.generation_inputs(batch, start),
            )[0]
            whole = batch.input_ids[0]
            tokens = (whole[before:start], whole[start:stop], found[start:])
            texts = (str(self.tokenizer.decode(part, skip_special_tokens=True)).strip() for part in tokens)
            turns.append(AnsweredTurn(*texts))
            before = stop
        shows = any(seen >= 0 for seen in example.condition_ids)
        about = f"{example.name}{'' if shows else ' (text only)'}" if example.name else ""
        return SampleAnswer(turns, about)

    def generation_inputs(self, batch: PackedBatch, length: int) -> dict[str, Any]:
        """What ``generate`` needs besides the first ``length`` tokens of a batch of one example."""
        return {}

    def to_device(self, batch: PackedBatch) -> PackedBatch:
        """``batch`` where the model is."""
        device = next(self.model.parameters()).device
        moved: list[Any] = [None if part is None else part.to(device) for part in batch]
        return PackedBatch(*moved)
