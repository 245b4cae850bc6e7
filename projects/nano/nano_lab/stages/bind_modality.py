"""The bind stage for one more modality: its tower learns to land where the frozen one puts such images."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.training.contrastive import TowerBatch, TowerStage, nearest_class_accuracy
from imagebind_llm.training.stage import step_rng
from imagebind_llm.training.towers import open_encoder, vision_fingerprint
from nano_lab.data.bank import EmbeddingBank, open_or_build_bank
from nano_lab.data.pool import ImagePool
from nano_lab.data.worlds import PictureWorld
from nano_lab.recipes import NanoBindRecipe


def image_bank(
    folder: Path,
    encoder: ImageBindModel,
    world: PictureWorld,
    pool: ImagePool,
    views: int,
    seed: int,
    encode: Callable[[Tensor], Tensor] | None = None,
    groups: int = 0,
) -> EmbeddingBank:
    """Embeddings of the pool's images by this encoder's vision tower, computed if they are not in
    ``folder``; with ``encode`` and ``groups`` those of its tokens too."""
    encoder.eval()
    with torch.no_grad():
        return open_or_build_bank(
            folder,
            pool,
            encode or (lambda images: encoder.encode(Modality.IMAGE, images)),
            world.augment,
            vision_fingerprint(encoder),
            views,
            seed,
            groups,
        )


class BindModality(TowerStage):
    """A tower of nano's: its examples, derived or recorded, against a bank of image embeddings."""

    name = "nano.bind"
    recipe: NanoBindRecipe

    def __init__(self, recipe: NanoBindRecipe, world: PictureWorld) -> None:
        encoder = open_encoder(recipe.encoder, recipe.config, recipe.run.seed)
        super().__init__(recipe, encoder, Modality.parse(recipe.modalities[0]))
        self.world = world
        self.pool = world.images("train", recipe.data.limit)
        folder = Path(recipe.bank) if recipe.bank else Path(recipe.run.folder) / "bank"
        self.bank = image_bank(folder, self.encoder, world, self.pool, recipe.bank_views, recipe.bank_seed)

    def batch(self, index: int) -> TowerBatch:
        recipe = self.recipe
        rng = step_rng(recipe.run.seed, index)
        examples = self.world.modality_batch(self.modality, rng, recipe.run.batch_size)
        rows = self.pool.draw_balanced(rng, recipe.bank_sample)
        # The rows of a limited pool are not those of the whole, so nothing has an image of its own there.
        has_own = (examples.image_rows >= 0) & (recipe.data.limit is None)
        own_rows = np.where(has_own.numpy(), examples.image_rows.numpy(), 0)
        return TowerBatch(
            media=examples.media,
            labels=examples.labels,
            images=self.bank.take(rng, rows),
            image_labels=torch.from_numpy(self.pool.labels[rows]),
            own=self.bank.take(rng, own_rows),
            has_own=has_own,
        )

    @cached_property
    def _prototypes(self) -> Tensor:
        return self.bank.class_means(self.world.judged_labels)

    @cached_property
    def _test(self) -> Any:
        return self.world.modality_test(self.modality, self.recipe.evaluate_items)

    def evaluate(self) -> dict[str, float]:
        embeddings = self.embeddings(self.modality, self._test.media)
        labels = self._test.labels
        judged = labels < self.world.judged_labels
        # All labels are candidates, also those this modality never has, as in use.
        measured = {"accuracy": nearest_class_accuracy(embeddings[judged], labels[judged], self._prototypes)}
        own = self._prototypes[labels[judged]]
        measured["class_cosine"] = float((embeddings[judged] * own).sum(1).mean())
        return measured

    def extra_metadata(self) -> dict[str, Any]:
        return {**super().extra_metadata(), "vision": self.bank.fingerprint}
