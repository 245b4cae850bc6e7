"""Weights are numbers: NaN and infinity in them are found when they are loaded."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import CheckpointError

_MASK = "mask"
"""The last part of the name of tensors that hold -inf on purpose (ImageBind's causal mask)."""


def require_finite(weights: nn.Module | Iterable[tuple[str, Tensor]], what: str) -> None:
    """Look at every number of a module, or of tensors by name.

    One pass that only adds up, which is quicker than comparing: a sum is finite only if all its terms are.
    Quantised tensors, and those that lie on disk until they are used, are not looked at.

    Args:
        weights: on any device, in any precision.
        what: where they come from, for the message.

    Raises:
        CheckpointError: naming the first tensor with NaN or infinity, and how many of its values are.
    """
    if isinstance(weights, nn.Module):
        weights = [*weights.named_parameters(), *weights.named_buffers()]
    for name, tensor in weights:
        values = tensor.detach()
        if type(values) is not Tensor or values.is_meta or not values.is_floating_point():
            continue
        if math.isfinite(float(values.sum())):
            continue
        wrong = ~values.isfinite()  # the sum of numbers that are finite may not be
        if name.rpartition(".")[2] == _MASK:
            wrong &= values != -torch.inf
        if count := int(wrong.sum()):
            raise CheckpointError(
                f"{what}: {name} has {count} of {values.numel()} values that are NaN or infinite in "
                f"{str(values.dtype).removeprefix('torch.')}; get the weights again, or load them in a wider "
                "precision"
            )
