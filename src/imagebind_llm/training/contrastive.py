"""Contrastive training of an encoder's towers: losses, temperature, and the stage they share."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from imagebind_llm.common.modality import Modality, trunk_name
from imagebind_llm.encoders.imagebind import ImageBindModel, save_imagebind
from imagebind_llm.training.recipe import BindRecipe
from imagebind_llm.training.stage import Stage
from imagebind_llm.training.towers import (
    add_tower_lora,
    merged_encoder,
    set_training,
    tower_blocks,
    tower_buffers,
    tower_parameters,
)


def same_label(first: Tensor, second: Tensor) -> Tensor:
    """Booleans ``[A, B]``: which rows of ``first [A]`` and ``second [B]`` share a label."""
    return first[:, None] == second[None, :]


def multi_positive_loss(logits: Tensor, positive: Tensor, smoothing: float = 0.0) -> Tensor:
    """InfoNCE with several positives: cross entropy to the uniform distribution over them, mean over rows.

    Args:
        logits: ``[A, B]`` scaled similarities.
        positive: booleans ``[A, B]``; rows without any are left out.
        smoothing: part of the target spread evenly over all columns.
    """
    counts = positive.sum(1)
    usable = counts > 0
    target = positive.to(logits) / counts.clamp(min=1)[:, None]
    if smoothing:
        target = target * (1 - smoothing) + smoothing / logits.shape[1]
    losses = -(target * F.log_softmax(logits, 1)).sum(1)
    return (losses * usable).sum() / usable.sum().clamp(min=1)


def symmetric_loss(
    first: Tensor,
    second: Tensor,
    first_labels: Tensor,
    second_labels: Tensor,
    scale: Tensor,
    smoothing: float = 0.0,
) -> Tensor:
    """Both directions of :func:`multi_positive_loss` between unit rows ``[A, D]`` and ``[B, D]``, in mean."""
    logits = scale * first @ second.T
    positive = same_label(first_labels, second_labels)
    forward = multi_positive_loss(logits, positive, smoothing)
    backward = multi_positive_loss(logits.T, positive.T, smoothing)
    return (forward + backward) / 2


def nearest_class_accuracy(embeddings: Tensor, labels: Tensor, prototypes: Tensor) -> float:
    """Share of unit rows ``[N, D]`` whose nearest prototype ``[C, D]`` is that of their label."""
    if not len(labels):
        return float("nan")
    return float((torch.argmax(embeddings @ prototypes.T, 1) == labels).float().mean())


def class_cosine(embeddings: Tensor, labels: Tensor, images: Tensor, image_labels: Tensor) -> Tensor:
    """Cosine of unit rows ``[N, D]`` to the mean direction of the images ``[K, D]`` of their label, ``[M]``:
    rows whose label no image has are left out."""
    shared = same_label(labels, image_labels)
    means = F.normalize(shared.to(images) @ images, dim=1)
    return (embeddings * means).sum(1)[shared.any(1)]


_MAX_SCALE = 100.0
"""Upper limit of the learnt inverse temperature, as in CLIP."""
_ENCODED_AT_ONCE = 128


class ContrastiveStage(Stage):
    """Trains the towers of ``modalities``; everything else of the encoder stays as it is.

    With ``recipe.lora`` the towers stay too, batch statistics included, and low-rank updates of their linear
    maps learn; the export has them folded in.
    """

    name = "bind"

    def __init__(self, recipe: BindRecipe, encoder: ImageBindModel, modalities: Sequence[Modality]) -> None:
        super().__init__()
        self.recipe, self.encoder, self.modalities = recipe, encoder, tuple(modalities)
        self._trunks = {trunk_name(modality) for modality in modalities}
        self.log_scale = nn.Parameter(torch.tensor(1 / recipe.temperature).log())
        self._updates: dict[str, nn.Parameter] | None = None
        for modality in modalities:
            tower_parameters(encoder, modality)  # complains of a missing tower
        if recipe.lora is not None:
            self._updates = add_tower_lora(encoder, self._trunks, recipe.lora, recipe.run.seed)

    def trainable(self) -> dict[str, nn.Parameter]:
        trained = self._updates
        if trained is None:
            trained = {}
            for modality in self.modalities:
                trained |= tower_parameters(self.encoder, modality)
        found = {f"encoder.{name}": parameter for name, parameter in trained.items()}
        if self.recipe.learn_temperature:
            found["log_scale"] = self.log_scale
        return found

    def moving_buffers(self) -> dict[str, Tensor]:
        if self._updates is not None:
            return {}
        return {
            f"encoder.{name}": buffer
            for modality in self.modalities
            for name, buffer in tower_buffers(self.encoder, modality).items()
        }

    def train(self, mode: bool = True) -> "ContrastiveStage":
        super().train(mode)
        set_training(self.encoder, set() if self._updates is not None else self._trunks, mode)
        return self

    def blocks(self) -> list[nn.Module]:
        return tower_blocks(self.encoder, self._trunks)

    def recompute_activations(self) -> bool:
        for block in self.blocks():
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        return True

    @property
    def scale(self) -> Tensor:
        """The inverse temperature, a number tensor."""
        return self.log_scale.exp().clamp(max=_MAX_SCALE)

    def embeddings(self, modality: Modality, media: Tensor) -> Tensor:
        """Unit rows ``[n, D]`` on the CPU of media ``[n, …]``."""
        device = self.log_scale.device
        parts = media.split(_ENCODED_AT_ONCE)
        return torch.cat([self.encoder.encode(modality, part.to(device)).float().cpu() for part in parts])

    def export(self, folder: Path) -> None:
        save_imagebind(self.encoder if self._updates is None else merged_encoder(self.encoder), folder)

    def extra_metadata(self) -> dict[str, Any]:
        return {"modalities": [modality.value for modality in self.modalities]}


class TowerBatch(NamedTuple):
    """``media [B, …]`` with labels; ``images [K, D]`` image embeddings with labels; ``own [B, D]`` the
    embedding of the image each example belongs to, and ``has_own [B]`` whether there is one."""

    media: Tensor
    labels: Tensor
    images: Tensor
    image_labels: Tensor
    own: Tensor
    has_own: Tensor


class TowerStage(ContrastiveStage):
    """Multi-positive symmetric InfoNCE from one modality to frozen image embeddings; for examples that belong
    to an image, the cosine to that very image; and the cosine to the mean of the images of a label."""

    def __init__(self, recipe: BindRecipe, encoder: ImageBindModel, modality: Modality) -> None:
        super().__init__(recipe, encoder, (modality,))
        self.modality = modality

    def size(self, batch: TowerBatch) -> int:
        return len(batch.media)

    def loss(self, batch: TowerBatch) -> tuple[Tensor, dict[str, Tensor]]:
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
        if recipe.class_weight:
            cosine = class_cosine(embeddings, batch.labels, batch.images, batch.image_labels)
            loss = loss + recipe.class_weight * (1 - cosine).mean()
            metrics["class_cosine"] = cosine.detach().mean()
        return loss, metrics
