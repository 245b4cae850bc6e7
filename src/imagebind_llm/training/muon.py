"""Muon (Jordan et al. 2024): matrices move by their momentum made orthogonal, everything else as in AdamW.

A kernel of a convolution counts as the matrix of its output channels by all the rest. torch's own Muon takes
no kernels, and computes in bfloat16, which most CPUs have to imitate.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.training.settings import OptimizerSettings

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial that is applied again and again, as published."""
_ROUNDS = 5
"""Singular values then lie near 1, between about 0.7 and 1.2, as published."""
_TINY = 1e-7


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon moves it: at least two rows of at least two numbers, and no bias, no embedding table and
    no head. As published: what comes first and last is not to be turned in all directions alike."""
    rows = len(parameter) if parameter.ndim > 1 else 1
    first_or_last = "embed" in name or "head" in name
    return min(rows, parameter.numel() // rows) > 1 and not first_or_last and not name.endswith("bias")


def muon_groups(
    parameters: Mapping[str, nn.Parameter], settings: OptimizerSettings, peak: float
) -> list[dict[str, Any]]:
    """Groups for :class:`Muon`: the matrices with ``momentum`` and ``rate_ratio``, their rate as a multiple
    of the others', which is ``peak``; the rest with neither momentum nor decay.

    Raises:
        ConfigError: there is no matrix that Muon moves.
    """
    matrices = [parameter for name, parameter in parameters.items() if is_matrix(name, parameter)]
    if not matrices:
        raise ConfigError(
            "optimizer.kind is 'muon', but this stage trains no matrices besides heads and embeddings; "
            "drop it"
        )
    rest = [parameter for name, parameter in parameters.items() if not is_matrix(name, parameter)]
    groups: list[dict[str, Any]] = [
        {
            "params": matrices,
            "weight_decay": settings.weight_decay,
            "momentum": settings.momentum,
            "rate_ratio": settings.matrix_lr / peak,
        },
        {"params": rest, "weight_decay": 0.0, "momentum": None},
    ]
    return [group for group in groups if group["params"]]


class Muon(torch.optim.AdamW):
    """AdamW whose groups with ``momentum`` move orthogonally; their only state is ``momentum_buffer``."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            if group["momentum"] is None:
                continue
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
                    parameter.grad = None  # AdamW leaves alone what has none
        super().step(closure)

    def _move(self, parameter: Tensor, group: Mapping[str, Any]) -> None:
        state, gradient, momentum = self.state[parameter], parameter.grad, group["momentum"]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"].mul_(momentum).add_(gradient)
        ahead = (gradient + momentum * buffer).flatten(1)  # Nesterov's
        rate = group["lr"] * max(1.0, len(ahead) / ahead.shape[1]) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(orthogonal(ahead).view_as(parameter), alpha=rate)


def orthogonal(matrix: Tensor) -> Tensor:
    """``matrix [A, B]`` with all its singular values near 1: ``U Vᵀ`` of its decomposition, roughly."""
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + _TINY)
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
