"""Training one tower of an encoder towards images: whole, or by low-rank updates. Its data come from
subclasses."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imagebind_llm.imagebind import ImageBindModel, save_imagebind
from imagebind_llm.modality import Modality, trunk_name
from imagebind_llm.training.contrastive import symmetric_loss
from imagebind_llm.training.encoders import set_training, tower_buffers, tower_parameters
from imagebind_llm.training.recipe import BindRecipe
from imagebind_llm.training.stage import Stage
from imagebind_llm.training.tower_lora import add_tower_lora, merged_encoder

_MAX_SCALE = 100.0
_ENCODED_AT_ONCE = 128


class SenseBatch(NamedTuple):
    """``media [B, …]`` with labels; ``images [K, D]`` image embeddings with labels; ``own [B, D]`` the
    embedding of the image each example belongs to, and ``has_own [B]`` whether there is one."""

    media: Tensor
    labels: Tensor
    images: Tensor
    image_labels: Tensor
    own: Tensor
    has_own: Tensor


class TowerStage(Stage):
    """Multi-positive symmetric InfoNCE from one modality to frozen image embeddings, and, for examples that
    belong to an image, the cosine to that very image.

    With ``recipe.lora`` the tower stays as it is, batch statistics included, and low-rank updates of its
    linear maps learn; the export has them folded in.
    """

    name = "bind"

    def __init__(self, recipe: BindRecipe, encoder: ImageBindModel, modality: Modality) -> None:
        super().__init__()
        self.recipe, self.encoder, self.modality = recipe, encoder, modality
        self.log_scale = nn.Parameter(torch.tensor(1 / recipe.temperature).log())
        self._updates: dict[str, nn.Parameter] | None = None
        if recipe.lora is not None:
            tower_parameters(encoder, modality)  # complains of a missing tower
            trunk = trunk_name(modality)
            self._updates = add_tower_lora(encoder, trunk, recipe.lora, recipe.run.seed)

    def trainable(self) -> dict[str, nn.Parameter]:
        learnt = self._updates
        if learnt is None:
            learnt = tower_parameters(self.encoder, self.modality)
        found = {f"encoder.{name}": parameter for name, parameter in learnt.items()}
        if self.recipe.learn_temperature:
            found["log_scale"] = self.log_scale
        return found

    def moving_buffers(self) -> dict[str, Tensor]:
        if self._updates is not None:
            return {}
        return {
            f"encoder.{name}": buffer for name, buffer in tower_buffers(self.encoder, self.modality).items()
        }

    def train(self, mode: bool = True) -> "TowerStage":
        super().train(mode)
        set_training(self.encoder, set() if self._updates is not None else {trunk_name(self.modality)}, mode)
        return self

    def loss(self, batch: SenseBatch) -> tuple[Tensor, dict[str, Tensor]]:
        recipe = self.recipe
        embeddings = self.encoder.encode(self.modality, batch.media)
        scale = self.log_scale.exp().clamp(max=_MAX_SCALE)
        loss = symmetric_loss(
            embeddings, batch.images, batch.labels, batch.image_labels, scale, recipe.label_smoothing
        )
        metrics = {"scale": scale.detach(), "contrastive": loss.detach()}
        if recipe.instance_weight and bool(batch.has_own.any()):
            cosine = (embeddings * batch.own).sum(1)[batch.has_own]
            loss = loss + recipe.instance_weight * (1 - cosine).mean()
            metrics["own_cosine"] = cosine.detach().mean()
        return loss, metrics

    def embeddings(self, media: Tensor) -> Tensor:
        """Unit rows ``[n, D]`` on the CPU of media ``[n, …]``."""
        device = self.log_scale.device
        parts = media.split(_ENCODED_AT_ONCE)
        return torch.cat([self.encoder.encode(self.modality, part.to(device)).cpu() for part in parts])

    def export(self, folder: Path) -> None:
        save_imagebind(self.encoder if self._updates is None else merged_encoder(self.encoder), folder)

    def extra_metadata(self) -> dict[str, Any]:
        return {"modality": self.modality.value}
