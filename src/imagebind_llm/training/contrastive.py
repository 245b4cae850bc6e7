"""Contrastive losses for pairs that are known by class."""

import torch
import torch.nn.functional as F
from torch import Tensor


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
