"""The bind stage's first run: images and text, which every other modality is anchored to."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.training.contrastive import ContrastiveStage, nearest_class_accuracy, symmetric_loss
from imagebind_llm.training.stage import step_rng
from imagebind_llm.training.towers import open_encoder
from nano_lab.data.worlds import PictureWorld
from nano_lab.recipes import NanoBindRecipe

_CAPTIONS_PER_LABEL = 400
_TEST_CAPTIONS = 40


class ImageTextBatch(NamedTuple):
    """``images [B, 3, H, W]`` or clips ``[B, 3, 2, H, W]``, ``captions [C, context]`` and their labels."""

    images: Tensor
    image_labels: Tensor
    captions: Tensor
    caption_labels: Tensor


class BindImages(ContrastiveStage):
    """Multi-positive symmetric InfoNCE between images and captions of the same label."""

    name = "nano.bind"
    recipe: NanoBindRecipe

    def __init__(self, recipe: NanoBindRecipe, world: PictureWorld) -> None:
        encoder = open_encoder(recipe.encoder, recipe.config, recipe.run.seed)
        super().__init__(recipe, encoder, (Modality.IMAGE, Modality.TEXT))
        self.world = world
        self.pool = world.images("train", recipe.data.limit)
        self.caption_tokens = [
            self._tokens(world.captions(label, _CAPTIONS_PER_LABEL, recipe.run.seed))
            for label in range(world.label_count)
        ]

    def _tokens(self, captions: object) -> Tensor:
        from imagebind_llm.media.settings import TextSettings
        from imagebind_llm.media.text import tokenize

        text = self.encoder.config.text
        assert text is not None, "its tower would have been missed"
        settings = TextSettings(context_length=text.context)
        return tokenize(list(captions), settings)  # type: ignore[call-overload]

    def size(self, batch: ImageTextBatch) -> int:
        return len(batch.images)

    def batch(self, index: int) -> ImageTextBatch:
        recipe = self.recipe
        rng = step_rng(recipe.run.seed, index)
        rows = self.pool.draw(rng, recipe.run.batch_size, recipe.data.shares)
        labels = self.pool.labels[rows]
        images = self.world.augment(
            self.world.fresh(self.pool, rows, rng), labels, rng, recipe.clip_probability
        )
        caption_labels = _spread(rng, np.unique(labels), recipe.captions)
        captions = torch.stack(
            [
                self.caption_tokens[label][rng.integers(len(self.caption_tokens[label]))]
                for label in caption_labels.tolist()
            ]
        )
        return ImageTextBatch(images, torch.from_numpy(labels), captions, torch.from_numpy(caption_labels))

    def loss(self, batch: ImageTextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        images = self._encode_images(batch.images)
        captions = self.encoder.encode(Modality.TEXT, batch.captions)
        scale = self.scale
        loss = symmetric_loss(
            images, captions, batch.image_labels, batch.caption_labels, scale, self.recipe.label_smoothing
        )
        return loss, {"scale": scale.detach()}

    def _encode_images(self, images: Tensor) -> Tensor:
        if images.ndim == 5:
            return self.encoder.encode(Modality.VIDEO, images)
        return self.encoder.encode(Modality.IMAGE, images)

    @cached_property
    def _test(self) -> tuple[Tensor, Tensor]:
        pool = self.world.images("test")
        judged = np.flatnonzero(pool.labels < self.world.judged_labels)
        count = min(self.recipe.evaluate_items, len(judged))
        rows = np.random.default_rng(0).choice(judged, count, replace=False)
        return self.world.plain(pool.pixels[rows]), torch.from_numpy(pool.labels[rows])

    def text_prototypes(self) -> Tensor:
        """Unit mean text embedding of each label to recognise, ``[judged_labels, D]``."""
        means = []
        for label in range(self.world.judged_labels):
            tokens = self._tokens(self.world.captions(label, _TEST_CAPTIONS, self.recipe.run.seed + 1))
            means.append(self.embeddings(Modality.TEXT, tokens).mean(0))
        return F.normalize(torch.stack(means), dim=-1)

    def evaluate(self) -> dict[str, float]:
        images, labels = self._test
        embeddings = self.embeddings(Modality.IMAGE, images)
        prototypes = self.text_prototypes()
        measured = {"accuracy": nearest_class_accuracy(embeddings, labels, prototypes)}
        for domain, rows in self.world.images("test").domains.items():
            wanted = torch.isin(labels, torch.from_numpy(np.unique(self.world.images("test").labels[rows])))
            if wanted.any():
                measured[domain] = nearest_class_accuracy(embeddings[wanted], labels[wanted], prototypes)
        return measured


def _spread(rng: np.random.Generator, labels: np.ndarray, count: int) -> np.ndarray:
    """``count`` labels that cover ``labels`` as evenly as possible, so that every image finds a caption."""
    rounds = -(-max(count, len(labels)) // len(labels))
    order = np.concatenate([rng.permutation(labels) for _ in range(rounds)])
    return order[: max(count, len(labels))].astype(np.int64)
