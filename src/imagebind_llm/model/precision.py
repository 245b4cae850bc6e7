"""Changing the precision of a model that is already there."""

import torch
from torch import nn

_WEIGHT_COPIES = {"folded_weight"}
"""Buffers that are not stored because they follow from weights (:mod:`imagebind_llm.model.folding`)."""


@torch.no_grad()
def cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast what a file of weights holds: floating-point parameters and stored buffers.

    Other buffers, such as the frequencies of rotary positions, follow from the configuration and keep the
    precision they were computed in, as when transformers loads in ``dtype``. ``Module.to(dtype)`` would round
    them: a frequency of 8 bits turns far positions by wrong angles.
    """
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            stored = name not in part._non_persistent_buffers_set or name in _WEIGHT_COPIES
            if stored and buffer.is_floating_point():
                setattr(part, name, buffer.to(dtype))
