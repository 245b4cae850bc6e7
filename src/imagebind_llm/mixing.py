"""Embedding arithmetic: several media become one condition."""

from collections.abc import Iterable

import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError

_EPSILON = 1e-6
"""Added to the sum of weights, as the reference does (it keeps a sum of zero finite)."""


LEAST_TOTAL = 1e-3
"""Below it ``_EPSILON`` would shrink a mixture by more than a thousandth, at last to nothing."""


def check_total(weights: Iterable[float]) -> None:
    """Refuse media that weigh nothing together.

    Raises:
        UserError: their absolute weights sum to less than :data:`LEAST_TOTAL`.
    """
    given = [abs(weight) for weight in weights]
    if sum(given) < LEAST_TOTAL:
        raise UserError(
            f"{len(given)} media have a total weight of {sum(given):g}; give at least one another weight"
        )


def mix(embeddings: Tensor, weights: Tensor, index: Tensor, count: int) -> Tensor:
    """Weighted sums of unit embeddings.

    ``out[n] = Σ wᵢ eᵢ / (Σ |wᵢ| + 1e-6)`` over all ``i`` with ``index[i] == n``.

    The sum is not renormalised (the reference's behaviour); the visual cache, when used, renormalises.
    Negative weights subtract ("king - man + woman").

    Args:
        embeddings: ``[M, D]`` unit rows.
        weights: ``[M]``, any sign.
        index: ``[M]`` int64 in ``0 … count-1``, the condition each row belongs to.
        count: number of conditions ``N``.

    Returns:
        ``[N, D]`` in the dtype of ``embeddings``.
    """
    weights = weights.to(embeddings)
    total = torch.zeros(count, dtype=embeddings.dtype, device=embeddings.device)
    total = total.index_add(0, index, weights.abs())
    share = weights / (total[index] + _EPSILON)
    mixed = torch.zeros(count, embeddings.shape[1], dtype=embeddings.dtype, device=embeddings.device)
    return mixed.index_add(0, index, embeddings * share[:, None])
