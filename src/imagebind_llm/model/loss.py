"""The training objective."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

IGNORED_LABEL = -100
"""Marks tokens that are read but not learned (transformers' and torch's convention)."""


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


def predicts_label(labels: Tensor) -> Tensor:
    """``[B, T]`` booleans: does the token after this one have a label? Only there logits are needed."""
    found = torch.zeros_like(labels, dtype=torch.bool)
    found[:, :-1] = labels[:, 1:] != IGNORED_LABEL
    return found


def next_labels(labels: Tensor, predicting: Tensor) -> Tensor:
    """The labels ``[n]`` that the positions ``predicting`` (of :func:`predicts_label`) are to predict."""
    return labels[:, 1:][predicting[:, :-1]]


def labelled_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """:func:`causal_loss` from the logits ``[n, V]`` of the positions that predict a label alone."""
    targets = next_labels(labels, predicts_label(labels))
    total = functional.cross_entropy(logits.float(), targets.to(logits.device), reduction="sum")
    return total / max(1, len(targets))


def logits_at(forward: Callable[[Tensor], Tensor], positions: Tensor) -> Tensor:
    """Logits of chosen tokens, without computing those of the others.

    Args:
        forward: a language model's forward pass: ``logits_to_keep`` → logits.
        positions: ``[B, T]`` booleans.

    Returns:
        ``[n, V]``, the chosen tokens row by row.
    """
    from transformers import modeling_utils

    if hasattr(modeling_utils, "slice_logits_to_keep"):  # then the argument may be a mask
        return forward(positions)
    columns = positions.any(0).nonzero().flatten()  # an older transformers keeps the same in all rows
    return forward(columns)[positions[:, columns]]
