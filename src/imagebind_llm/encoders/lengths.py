"""Rows of different length, embedded without padding."""

from collections.abc import Callable

import torch
from torch import Tensor


def by_length(batch: Tensor, lengths: Tensor, embed: Callable[[Tensor, int], Tensor]) -> Tensor:
    """``embed(rows, length)`` for the rows of each length, put together in order.

    So a row never depends on its neighbours.

    Args:
        batch: ``[B, …]``.
        lengths: whole numbers ``[B]``.
        embed: rows ``[n, …]`` of one length → ``[n, D]``.
    """
    values = lengths.unique().tolist()
    parts = [embed(batch[lengths == length], length) for length in values]
    order = torch.cat([(lengths == length).nonzero()[:, 0] for length in values])
    return torch.cat(parts)[order.argsort()]
