"""What the stages share whose language model sees conditions: a whole model on packed dialogs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagebind_llm.data.packing import PackedBatch
from imagebind_llm.training.dialog_stage import DialogStage
from imagebind_llm.training.stage import Shards

if TYPE_CHECKING:
    from imagebind_llm.media.base import MediaReader
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration


class ConditionStage(DialogStage):
    """A whole model with a frozen encoder. ``media`` says how its media are opened, in use."""

    model: "ImageBindLLMForConditionalGeneration"
    media: "MediaReader"

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
        """The conditions ``[N, D]`` of a batch.

        In training never None: text alone sees none of them, but then all that is trained takes part in every
        batch of every process, which exchanging gradients needs.
        """
        if batch.conditions is None and self.training:
            return torch.zeros(1, self.model.config.embedding_dim, device=batch.input_ids.device)
        if batch.conditions is None or batch.media is None or batch.media_rows is None:
            return batch.conditions
        encoded = self.model.embed_media(batch.media)
        return batch.conditions.index_copy(0, batch.media_rows, encoded.to(batch.conditions))

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
        return {"fingerprints": dict(self.model.config.fingerprints)}
