"""The bind stage for one more modality: its tower learns to land where the frozen one puts such images."""

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from imagebind_llm.data.bank import EmbeddingBank, open_or_build_bank
from imagebind_llm.data.pool import ImagePool
from imagebind_llm.data.world import PictureWorld
from imagebind_llm.imagebind import ImageBindModel, save_imagebind
from imagebind_llm.modality import Modality, trunk_name
from imagebind_llm.training.contrastive import nearest_class_accuracy, symmetric_loss
from imagebind_llm.training.encoders import open_encoder, set_training, tower_buffers, tower_parameters
from imagebind_llm.training.recipe import BindRecipe
from imagebind_llm.training.stage import Stage, step_rng

_MAX_SCALE = 100.0


class SenseBatch(NamedTuple):
    """``media [B, …]`` with labels; ``images [K, D]`` image embeddings with labels; ``own [B, D]`` the
    embedding of the image each example was derived from, and ``has_own [B]`` whether there is one."""

    media: Tensor
    labels: Tensor
    images: Tensor
    image_labels: Tensor
    own: Tensor
    has_own: Tensor


def image_bank(
    folder: Path, encoder: ImageBindModel, world: PictureWorld, pool: ImagePool, views: int, seed: int
) -> EmbeddingBank:
    """Embeddings of the pool's images by this encoder's vision tower, computed if they are not in
    ``folder``."""
    encoder.eval()
    with torch.no_grad():
        return open_or_build_bank(
            folder,
            pool,
            lambda images: encoder.encode(Modality.IMAGE, images),
            world.augment,
            vision_fingerprint(encoder),
            views,
            seed,
        )


def vision_fingerprint(encoder: ImageBindModel) -> str:
    """Hash of the vision tower alone: training other towers does not change it."""
    from imagebind_llm.fingerprint import fingerprint_state_dict
    from imagebind_llm.training.encoders import in_tower

    state = {name: tensor for name, tensor in encoder.state_dict().items() if in_tower(name, "vision")}
    return fingerprint_state_dict(state)


class BindSense(Stage):
    """Multi-positive symmetric InfoNCE from one modality to a bank of image embeddings, and, for examples
    derived from an image, the cosine to that very image."""

    name = "bind"

    def __init__(self, recipe: BindRecipe, world: PictureWorld) -> None:
        super().__init__()
        self.recipe, self.world = recipe, world
        self.modality = Modality.parse(recipe.modalities[0])
        self.encoder = open_encoder(recipe.encoder, recipe.config, recipe.run.seed)
        self.log_scale = nn.Parameter(torch.tensor(1 / recipe.temperature).log())
        self.pool = world.images("train", recipe.data.limit)
        folder = Path(recipe.bank) if recipe.bank else Path(recipe.run.folder) / "bank"
        self.bank = image_bank(folder, self.encoder, world, self.pool, recipe.bank_views, recipe.bank_seed)

    def trainable(self) -> dict[str, nn.Parameter]:
        found = {
            f"encoder.{name}": parameter
            for name, parameter in tower_parameters(self.encoder, self.modality).items()
        }
        if self.recipe.learn_temperature:
            found["log_scale"] = self.log_scale
        return found

    def moving_buffers(self) -> dict[str, Tensor]:
        return {
            f"encoder.{name}": buffer for name, buffer in tower_buffers(self.encoder, self.modality).items()
        }

    def train(self, mode: bool = True) -> "BindSense":
        super().train(mode)
        set_training(self.encoder, {trunk_name(self.modality)}, mode)
        return self

    def batch(self, index: int) -> SenseBatch:
        recipe = self.recipe
        rng = step_rng(recipe.run.seed, index)
        examples = self.world.sense_batch(self.modality, rng, recipe.run.batch_size)
        rows = self.pool.draw_balanced(rng, recipe.bank_sample)
        # The rows of a limited pool are not those of the whole, so nothing has an image of its own there.
        has_own = (examples.image_rows >= 0) & (recipe.data.limit is None)
        own_rows = np.where(has_own.numpy(), examples.image_rows.numpy(), 0)
        return SenseBatch(
            media=examples.media,
            labels=examples.labels,
            images=self.bank.take(rng, rows),
            image_labels=torch.from_numpy(self.pool.labels[rows]),
            own=self.bank.take(rng, own_rows),
            has_own=has_own,
        )

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

    @cached_property
    def _prototypes(self) -> Tensor:
        return self.bank.class_means(self.world.judged_labels)

    @cached_property
    def _test(self) -> Any:
        return self.world.sense_test(self.modality, self.recipe.evaluate_items)

    def evaluate(self) -> dict[str, float]:
        device = self.log_scale.device
        embeddings = torch.cat(
            [
                self.encoder.encode(self.modality, part.to(device)).cpu()
                for part in self._test.media.split(128)
            ]
        )
        labels = self._test.labels
        judged = labels < self.world.judged_labels
        # All labels are candidates, also those this modality never has, as in use.
        measured = {"accuracy": nearest_class_accuracy(embeddings[judged], labels[judged], self._prototypes)}
        own = self._prototypes[labels[judged]]
        measured["class_cosine"] = float((embeddings[judged] * own).sum(1).mean())
        return measured

    def export(self, folder: Path) -> None:
        save_imagebind(self.encoder, folder)

    def extra_metadata(self) -> dict[str, Any]:
        return {"modality": self.modality.value, "vision": self.bank.fingerprint}
