"""The image tower anew, of other sizes, into the space of the former one.

Every picture is to be near to the mean of the former embeddings of its label, and nearest among the means of
all labels. What the language model learnt about the space then still holds; the senses are bound anew.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import overlay
from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, load_imagebind
from imagebind_llm.training.stage import step_rng
from imagebind_llm.training.towers import in_tower
from nano_lab.data.worlds import PictureWorld
from nano_lab.recipes import NanoBindRecipe
from nano_lab.stages.bind_modality import image_bank
from nano_lab.stages.labelled_images import ImageStage


def renewed_encoder(former: ImageBindModel, overrides: dict[str, Any], seed: int) -> ImageBindModel:
    """The encoder with a new image tower: its configuration changed by nested ``overrides``, weights from
    ``seed``; all other towers are the former's."""
    config = ImageBindConfig.from_dict(overlay(former.config.to_dict(), overrides))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = ImageBindModel(config)
    kept = {name: tensor for name, tensor in former.state_dict().items() if not in_tower(name, "vision")}
    encoder.load_state_dict({**encoder.state_dict(), **kept})
    return encoder


class LabelledImages(NamedTuple):
    """``images [B, 3, H, W]`` or clips ``[B, 3, 2, H, W]`` with their labels ``[B]``."""

    images: Tensor
    labels: Tensor


class RenewImages(ImageStage):
    """A new image tower towards the means of the former one's embeddings."""

    means: Tensor

    def __init__(self, recipe: NanoBindRecipe, world: PictureWorld) -> None:
        former = load_imagebind(recipe.encoder)
        if recipe.start is None:
            encoder = renewed_encoder(former, recipe.config or {}, recipe.run.seed)
        else:
            encoder = load_imagebind(recipe.start)
        super().__init__(recipe, encoder, (Modality.IMAGE,), world)
        folder = Path(recipe.bank) if recipe.bank else Path(recipe.run.folder) / "bank"
        bank = image_bank(folder, former, world, self.pool, recipe.bank_views, recipe.bank_seed)
        self.register_buffer("means", bank.class_means(world.label_count), persistent=False)
        self.former_fingerprint = bank.fingerprint

    def size(self, batch: LabelledImages) -> int:
        return len(batch.images)

    def batch(self, index: int) -> LabelledImages:
        images, labels = self.draw_images(step_rng(self.recipe.run.seed, index))
        return LabelledImages(images, torch.from_numpy(labels))

    def loss(self, batch: LabelledImages) -> tuple[Tensor, dict[str, Tensor]]:
        cosines = self.encode_images(batch.images) @ self.means.T
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(self.scale * cosines, batch.labels, label_smoothing=smoothing)
        own = cosines.gather(1, batch.labels[:, None]).mean()
        named = (cosines.detach().argmax(1) == batch.labels).float().mean()
        return loss + self.recipe.class_weight * (1 - own), {"named": named, "class_cosine": own.detach()}

    def evaluate(self) -> dict[str, float]:
        """By the means of the former tower."""
        return self.named_by(self.means[: self.world.judged_labels].cpu())

    def extra_metadata(self) -> dict[str, Any]:
        return {**super().extra_metadata(), "former_vision": self.former_fingerprint}
