"""What the stages that train on dialogs share: drawing, packing, the loss and its held-out measures."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError, reason_of
from imagebind_llm.data.packing import Example, PackedBatch, examples_right, laid_for, pack
from imagebind_llm.model.loss import labelled_loss, logits_at, predicts_label
from imagebind_llm.training.examples import ExampleSource
from imagebind_llm.training.stage import AnsweredTurn, SampleAnswer, Shards, Stage, step_rng

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_EVALUATION_BATCH = 64
_EVALUATION_STREAM = 2**40
"""Batch numbers from here on are held out: no training step reaches them."""
_ATTEMPTS = 100
_LONGEST_SAMPLE = 128
"""Tokens of an answer to look at."""


def _answer_spans(loss_mask: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Start and stop of each answer. Nothing comes before a dialog's first token, so it is not asked for."""
    start = 1
    while start < len(loss_mask):
        if not loss_mask[start]:
            start += 1
            continue
        stop = next((at for at in range(start, len(loss_mask)) if not loss_mask[at]), len(loss_mask))
        yield start, stop
        start = stop


class DialogStage(Stage):
    """Training on packed dialogs. ``run.batch_size`` counts dialogs; they take as many rows as they need."""

    tokenizer: "PreTrainedTokenizerBase"
    recipe: Any
    model: Any
    unit = "tokens"
    examples: ExampleSource

    @abstractmethod
    def logits(self, batch: PackedBatch, keep: Tensor) -> Tensor:
        """Of a batch laid out for its attention; ``keep`` is ``logits_to_keep`` of the language model."""

    @property
    @abstractmethod
    def language_model(self) -> Any:
        """The causal language model, inside ``model`` or that itself."""

    def batch(self, index: int) -> PackedBatch:
        rng = step_rng(self.recipe.run.seed, index)
        size = self.recipe.run.batch_size
        numbers = range(index * size, (index + 1) * size)
        return self._packed([self._fitting(rng, number=number) for number in numbers])

    def _packed(self, examples: list[Example]) -> PackedBatch:
        pad = self.tokenizer.pad_token_id
        return pack(examples, self.recipe.row_length, pad if isinstance(pad, int) else 0)

    def _fitting(
        self, rng: np.random.Generator, test_set: str | None = None, number: int | None = None
    ) -> Example:
        """An example that fits a row: longer ones are drawn again, never cut."""
        shortest = None
        for _ in range(_ATTEMPTS):
            example = self.examples.draw(rng, test_set, number)
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
        return int((batch.segment_ids >= 0).sum())

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

    def compute_attention_by(self, name: str) -> bool:
        try:
            self.language_model.set_attn_implementation(name)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"run.attention {name!r} cannot be used here ({reason_of(error)}); install what it needs, or "
                "drop run.attention"
            ) from error
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
        filled = (batch.segment_ids >= 0).float().mean()
        return loss, {"row_fill": filled, "rows": torch.tensor(float(len(batch.segment_ids)))}

    @cached_property
    def _held_out_examples(self) -> dict[str, list[Example]]:
        """The examples of each held-out set, always the same."""
        found = {}
        for number, name in enumerate(self.examples.test_sets):
            rng = step_rng(self.recipe.run.seed, _EVALUATION_STREAM + number)
            found[name] = [self._fitting(rng, name) for _ in range(self.recipe.evaluate_items)]
        return found

    @cached_property
    def _held_out(self) -> dict[str, list[PackedBatch]]:
        found = {}
        for name, examples in self._held_out_examples.items():
            parts = range(0, len(examples), _EVALUATION_BATCH)
            found[name] = [self._packed(examples[at : at + _EVALUATION_BATCH]) for at in parts]
        return found

    def evaluate(self) -> dict[str, float]:
        """``loss`` and ``exact`` (all answers of a dialog right, word for word) of each held-out set, with
        its suffix."""
        return self.measures(self.evaluation_sums(0, 1))

    def evaluation_sums(self, rank: int, count: int) -> dict[str, float]:
        sums: dict[str, float] = {}
        for name, batches in self._held_out.items():
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
            sums |= {f"{name}/loss": total, f"{name}/tokens": tokens}
            sums |= {f"{name}/right": right, f"{name}/dialogs": dialogs}
        return sums

    def measures(self, sums: dict[str, float]) -> dict[str, float]:
        measured = {}
        for name in self.examples.test_sets:
            measured[f"loss{name}"] = sums[f"{name}/loss"] / sums[f"{name}/tokens"]
            measured[f"exact{name}"] = sums[f"{name}/right"] / sums[f"{name}/dialogs"]
        return measured

    def samples(self, count: int) -> list[SampleAnswer]:
        """Greedy answers to every question of dialogs of the held-out set ``""``."""
        found = self._held_out_examples.get("", [])
        return [self._answer(example) for example in found[:count]]

    def _answer(self, example: Example) -> SampleAnswer:
        """Each turn is asked after the data's own turns, as ``exact`` judges it."""
        batch = self.to_device(self._packed([example]))
        turns, before = [], 0
        for start, stop in _answer_spans(example.loss_mask):
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

    def data_fingerprints(self) -> dict[str, str]:
        return self.examples.fingerprints()

    def extra_metadata(self) -> dict[str, Any]:
        return self.examples.metadata()

    def generation_inputs(self, batch: PackedBatch, length: int) -> dict[str, Any]:
        """What ``generate`` needs besides the first ``length`` tokens of a batch of one example."""
        return {}

    def to_device(self, batch: PackedBatch) -> PackedBatch:
        """``batch`` where the model is."""
        device = next(self.model.parameters()).device
        moved: list[Any] = [None if part is None else part.to(device) for part in batch]
        return PackedBatch(*moved)
