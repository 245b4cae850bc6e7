"""Training one tower of an encoder towards images. Its data come from subclasses."""

from typing import NamedTuple

from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.training.contrastive import symmetric_loss
from imagebind_llm.training.contrastive_stage import ContrastiveStage
from imagebind_llm.training.recipe import BindRecipe


class SenseBatch(NamedTuple):
    """``media [B, …]`` with labels; ``images [K, D]`` image embeddings with labels; ``own [B, D]`` the
    embedding of the image each example belongs to, and ``has_own [B]`` whether there is one."""

    media: Tensor
    labels: Tensor
    images: Tensor
    image_labels: Tensor
    own: Tensor
    has_own: Tensor


class TowerStage(ContrastiveStage):
    """Multi-positive symmetric InfoNCE from one modality to frozen image embeddings, and, for examples that
    belong to an image, the cosine to that very image."""

    def __init__(self, recipe: BindRecipe, encoder: ImageBindModel, modality: Modality) -> None:
        super().__init__(recipe, encoder, (modality,))
        self.modality = modality

    def size(self, batch: SenseBatch) -> int:
        return len(batch.media)

    def loss(self, batch: SenseBatch) -> tuple[Tensor, dict[str, Tensor]]:
        recipe, scale = self.recipe, self.scale
        embeddings = self.encoder.encode(self.modality, batch.media)
        loss = symmetric_loss(
            embeddings, batch.images, batch.labels, batch.image_labels, scale, recipe.label_smoothing
        )
        metrics = {"scale": scale.detach(), "contrastive": loss.detach()}
        if recipe.instance_weight and bool(batch.has_own.any()):
            cosine = (embeddings * batch.own).sum(1)[batch.has_own]
            loss = loss + recipe.instance_weight * (1 - cosine).mean()
            metrics["own_cosine"] = cosine.detach().mean()
        return loss, metrics
