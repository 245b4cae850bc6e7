"""The two stages that teach the language model to see: captions first, then instructions."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from imagebind_llm.common.locate import locate_folder
from imagebind_llm.data.packing import PackedBatch
from imagebind_llm.model.parts import with_stand_ins
from imagebind_llm.training.adapters import prepare_adapters
from imagebind_llm.training.dialog_stage import DialogStage
from imagebind_llm.training.examples import ExampleSource
from imagebind_llm.training.recipe import FinetuneSettings, PretrainSettings
from imagebind_llm.training.stage import Shards

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from imagebind_llm.media.base import MediaReader
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

logger = logging.getLogger(__name__)

_BLIND_FOR = 256
"""Examples of a process without any medium, after which it is said."""


class ModelParts(NamedTuple):
    """A model, its tokenizer, and how its media are opened in use."""

    model: "ImageBindLLMForConditionalGeneration"
    tokenizer: "PreTrainedTokenizerBase"
    media: "MediaReader"


class Align(DialogStage):
    """A whole model with a frozen encoder learns from packed examples, wherever they come from.

    Args:
        recipe: its ``run``, ``row_length`` and ``evaluate_items`` are used.
        parts: the model and what belongs to it.
        examples: what it learns from.
    """

    components: Sequence[str] = ("pretrain",)
    """What is trained, as :func:`~imagebind_llm.model.adaptation.set_stage` names it."""

    def __init__(
        self, recipe: PretrainSettings | FinetuneSettings, parts: ModelParts, examples: ExampleSource
    ) -> None:
        super().__init__()
        self.recipe, self.examples = recipe, examples
        self.model, self.tokenizer, self.media = parts

    def trainable(self) -> dict[str, nn.Parameter]:
        from imagebind_llm.model.adaptation import set_stage

        found = set_stage(self.model, self.components)
        return {f"model.{name}": parameter for name, parameter in found.items()}

    @property
    def language_model(self) -> Any:
        return self.model.language_model

    def shards(self) -> Shards | None:
        """Style ``"value"`` reads attention's projections outside the layer: only the rest is a unit."""
        units = self.blocks()
        if self.model.injection.style == "value":
            units = [layer.get_submodule("mlp") for layer in units]
        return Shards(self.model, units, self.model.encoder)

    def logits(self, batch: PackedBatch, keep: Tensor) -> Tensor:
        output: Tensor = self.model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            conditions=self.conditions(batch),
            condition_ids=batch.condition_ids,
            use_cache=False,
            logits_to_keep=keep,
        ).logits
        return output

    def conditions(self, batch: PackedBatch) -> Tensor | None:
        """The conditions ``[N, D]`` of a batch; ``[N, 1 + G, D]`` with the encoder's tokens.

        In training never None: text alone sees none of them, but then all that is trained takes part in every
        batch of every process, which exchanging gradients needs.
        """
        if batch.conditions is None and self.training:
            return torch.zeros(1, self.model.config.embedding_dim, device=batch.input_ids.device)
        if batch.conditions is None or batch.media is None or batch.media_rows is None:
            return batch.conditions
        encoded = self.model.embed_media(batch.media)
        rows = with_stand_ins(batch.conditions, self.model.bind.encoder_tokens)
        return rows.index_copy(0, batch.media_rows, encoded.to(rows))

    def keep_frozen_as(self, dtype: torch.dtype) -> None:
        for parameter in self.model.language_model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)

    def generation_inputs(self, batch: PackedBatch, length: int) -> dict[str, Any]:
        conditions = self.conditions(batch)
        if conditions is None:
            return {}
        return {"conditions": conditions, "condition_ids": batch.condition_ids[:, :length]}

    def export(self, folder: Path) -> None:
        from imagebind_llm.model.processing import ImageBindLLMProcessor

        self.model.save_pretrained(folder)
        ImageBindLLMProcessor(self.tokenizer, self.media).save_pretrained(folder)

    def extra_metadata(self) -> dict[str, Any]:
        return {"fingerprints": dict(self.model.config.fingerprints), **super().extra_metadata()}


class Pretrain(Align):
    """Captions of pictures; the bind network and the gates learn."""

    name = "pretrain"

    def __init__(self, recipe: PretrainSettings, parts: ModelParts, examples: ExampleSource) -> None:
        super().__init__(recipe, parts, examples)
        self._sees = self._sees_whole = self._warned = False
        self._trained_on = 0

    def loss(self, batch: PackedBatch) -> tuple[Tensor, dict[str, Tensor]]:
        if not self._sees:
            self._sees_whole |= batch.conditions is not None
            self._sees = batch.conditions is not None and self._all_shown(batch)
            self._trained_on += int(batch.segment_ids.max()) + 1
            if self._trained_on >= _BLIND_FOR:
                self._warn_if_blind()
        return super().loss(batch)

    def export(self, folder: Path) -> None:
        self._warn_if_blind()
        super().export(folder)

    def _all_shown(self, batch: PackedBatch) -> bool:
        """Whether the encoder's tokens, if the model asks for them, are there or can be made."""
        if not self.model.bind.encoder_tokens or (batch.conditions is not None and batch.conditions.ndim > 2):
            return True
        given = set() if batch.media is None else set(batch.media.groups)
        return not given.isdisjoint(self.model.config.bind["tokens_of"])

    def _warn_if_blind(self) -> None:
        """Text alone moves neither the bind network nor the gates, and a loss that falls does not show it."""
        if self._sees or self._warned or not self._trained_on:
            return
        self._warned = True
        if self._sees_whole:
            logger.warning(
                "the first %d examples bring no medium that has tokens (embeddings have none), so nothing is "
                "learnt of bind.encoder_tokens = %d; give media of bind.tokens_of themselves in data.sources",
                self._trained_on,
                self.model.bind.encoder_tokens,
            )
            return
        logger.warning(
            "none of the first %d examples shows a picture or another medium, so nothing is learnt about "
            "seeing; check data.sources (alpaca is text only, llava needs image fields)",
            self._trained_on,
        )


class Finetune(Align):
    """Instructions with and without media; low-rank updates, biases and norms learn."""

    name = "finetune"

    def __init__(self, recipe: FinetuneSettings, parts: ModelParts, examples: ExampleSource) -> None:
        super().__init__(recipe, parts, examples)
        self.components = ("pretrain", "finetune") if recipe.train_bind else ("finetune",)
        prepare_adapters(self.model, recipe.adapters, recipe.run.seed)


def open_parts(name: str) -> ModelParts:
    """The model ``name`` (folder, ``nano`` or hub id) with its tokenizer and media settings.

    The encoder is taken out of the half precision it may be stored in: it sees every picture, its batch norms
    do not mix precisions, and autocast makes it cheaper where that is asked for.
    """
    from imagebind_llm.model.folders import restore_stored_values
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    folder = locate_folder(name)
    model = ImageBindLLMForConditionalGeneration.from_pretrained(folder)
    restore_stored_values(model, folder)
    if model.encoder is not None:
        model.encoder.float()
    processor = ImageBindLLMProcessor.from_pretrained(folder)
    return ModelParts(model, processor.tokenizer, processor.media)


def with_tokenizer(parts: ModelParts, name: str | None) -> ModelParts:
    """``parts`` with the tokenizer in the folder ``name``, which is exported with them; None: their own.

    Raises:
        ConfigError: it has more tokens than the language model.
        UserError: there is none, or its chat template cannot be used.
    """
    if name is None:
        return parts
    from imagebind_llm.model.assembly import check_vocabulary, open_tokenizer

    tokenizer, _ = open_tokenizer(name)
    check_vocabulary(parts.model.language_model, tokenizer)
    return parts._replace(tokenizer=tokenizer)


def new_parts(recipe: PretrainSettings, media: "MediaReader | None" = None) -> ModelParts:
    """The recipe's model, or a new one of its encoder and language model.

    Args:
        media: how media are opened; None: as the model or the encoder has it.
    """
    if recipe.model is not None:
        return open_parts(recipe.model)
    from imagebind_llm.encoders import load_encoder
    from imagebind_llm.encoders.registry import media_of_encoder
    from imagebind_llm.model.assembly import assemble, open_language_model, open_tokenizer

    assert recipe.encoder is not None, "the recipe has checked it"
    assert recipe.language_model is not None, "the recipe has checked it"
    encoder = load_encoder(recipe.encoder)
    media = media or media_of_encoder(recipe.encoder, encoder)
    language_model = open_language_model(recipe.language_model)
    tokenizer, _ = open_tokenizer(recipe.language_model)
    fresh = assemble(language_model, encoder, media, recipe.bind, recipe.injection, recipe.run.seed)
    return ModelParts(fresh, tokenizer, media)
