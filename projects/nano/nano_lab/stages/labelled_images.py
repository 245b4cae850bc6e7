"""What the stages that train the image tower share: how its pictures are drawn, and how well they are told
apart."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.training.contrastive import ContrastiveStage, nearest_class_accuracy
from nano_lab.data.worlds import PictureWorld
from nano_lab.recipes import NanoBindRecipe


class ImageStage(ContrastiveStage):
    """Training of the image tower on labelled pictures of a world."""

    name = "nano.bind"
    recipe: NanoBindRecipe

    def __init__(
        self,
        recipe: NanoBindRecipe,
        encoder: ImageBindModel,
        modalities: tuple[Modality, ...],
        world: PictureWorld,
    ) -> None:
        super().__init__(recipe, encoder, modalities)
        self.world = world
        self.pool = world.images("train", recipe.data.limit)

    def draw_images(self, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
        """``[B, 3, H, W]`` or clips ``[B, 3, 2, H, W]``, augmented, and their labels ``[B]``."""
        rows = self.pool.draw(rng, self.recipe.run.batch_size, self.recipe.data.shares)
        labels = self.pool.labels[rows]
        fresh = self.world.fresh(self.pool, rows, rng)
        return self.world.augment(fresh, labels, rng, self.recipe.clip_probability), labels

    def encode_images(self, images: Tensor) -> Tensor:
        """Unit rows ``[B, D]`` of pictures or clips."""
        return self.encoder.encode(Modality.VIDEO if images.ndim == 5 else Modality.IMAGE, images)

    @cached_property
    def _test(self) -> tuple[Tensor, Tensor]:
        pool = self.world.images("test")
        judged = np.flatnonzero(pool.labels < self.world.judged_labels)
        count = min(self.recipe.evaluate_items, len(judged))
        rows = np.random.default_rng(0).choice(judged, count, replace=False)
        return self.world.plain(pool.pixels[rows]), torch.from_numpy(pool.labels[rows])

    def named_by(self, prototypes: Tensor) -> dict[str, float]:
        """Shares of test pictures that are nearest to the prototype ``[judged_labels, D]`` of their label:
        of all, and of each domain."""
        images, labels = self._test
        embeddings = self.embeddings(Modality.IMAGE, images)
        measured = {"accuracy": nearest_class_accuracy(embeddings, labels, prototypes)}
        test = self.world.images("test")
        for domain, rows in test.domains.items():
            wanted = torch.isin(labels, torch.from_numpy(np.unique(test.labels[rows])))
            if wanted.any():
                measured[domain] = nearest_class_accuracy(embeddings[wanted], labels[wanted], prototypes)
        return measured
