"""The training objective."""

from torch import Tensor
from torch.nn import functional

IGNORED_LABEL = -100
"""Marks tokens that are read but not learned."""


def causal_loss(logits: Tensor, labels: Tensor, count: Tensor | int | None = None) -> Tensor:
    """Next-token cross entropy in float32, averaged over the kept labels (0 if there are none).

    Args:
        logits: ``[B, T, V]``.
        labels: ``[B, T]``, ``-100`` where nothing is learned.
        count: divide the sum by this instead (labels of a whole global batch).
    """
    targets = labels[:, 1:].to(logits.device)
    total = functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED_LABEL, reduction="sum"
    )
    if count is None:
        count = (targets != IGNORED_LABEL).sum().clamp(min=1)
    return total / count
