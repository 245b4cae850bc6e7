"""The bind network: from the joint embedding space to the width of the language model."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from imagebind_llm.common.errors import ConfigError, short

NORM_KINDS = ("rms", "layer")
_RMS_EPSILON = 1e-6
"""Fixed in the reference, whatever the language model's own norm uses."""
_LAYER_EPSILON = 1e-5
"""Of the older checkpoints, which have LayerNorm and biases everywhere."""
MAX_TOKENS = 256
"""More vectors than that are no summary of a condition: ImageBind's picture has 257 tokens."""


def check_tokens(tokens: int, style: str = "value") -> None:
    """Refuse a number of vectors per condition that makes no sense, or not with a style of injection.

    Raises:
        ConfigError: it is no whole number from 1 to ``MAX_TOKENS``; or several in style ``"residual"``.
    """
    if type(tokens) is not int or not 1 <= tokens <= MAX_TOKENS:
        raise ConfigError(f"bind.tokens is {short(tokens)}; expected a whole number from 1 to {MAX_TOKENS}")
    if tokens > 1 and style != "value":
        raise ConfigError(
            f"bind.tokens is {tokens}, but injection style {style!r} adds one vector to the stream, and "
            "nothing attends there; set injection.style to 'value', or bind.tokens to 1"
        )


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 and cast back before the weight is applied."""

    def __init__(self, width: int, epsilon: float = _RMS_EPSILON) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, states: Tensor) -> Tensor:
        """``[…, C]`` → ``[…, C]``, same dtype."""
        full = states.float()
        scaled = full * torch.rsqrt(full.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return scaled.to(states.dtype) * self.weight


class BindBlock(nn.Module):
    """``x + f2(silu(f1(norm x)) * f3(norm x))``."""

    def __init__(self, width: int, hidden: int, norm: Literal["rms", "layer"]) -> None:
        super().__init__()
        legacy = norm == "layer"
        self.norm: nn.Module = nn.LayerNorm(width, eps=_LAYER_EPSILON) if legacy else RMSNorm(width)
        self.f1 = nn.Linear(width, hidden, bias=legacy)
        self.f2 = nn.Linear(hidden, width, bias=legacy)
        self.f3 = nn.Linear(width, hidden, bias=legacy)

    def forward(self, states: Tensor) -> Tensor:
        """``[…, C]`` → ``[…, C]``."""
        normed = self.norm(states)
        out: Tensor = states + self.f2(functional.silu(self.f1(normed)) * self.f3(normed))
        return out


class BindNetwork(nn.Module):
    """A linear layer and ``depth`` gated residual blocks (paper, section 3.2).

    Args:
        embedding_dim: ``D``, width of the joint space.
        width: ``C``, hidden size of the language model.
        depth: number of residual blocks.
        norm: ``"rms"`` (no biases but the first map's), or ``"layer"`` for the older form with LayerNorm and
            biases everywhere.
        hidden: inner width of the blocks; ``None`` means ``4 * width``.
        tokens: ``K``, vectors that a condition becomes. For more than one the first map has ``K`` times as
            many rows; the blocks are the same for all.
    """

    def __init__(
        self,
        embedding_dim: int,
        width: int,
        depth: int = 3,
        norm: Literal["rms", "layer"] = "rms",
        hidden: int | None = None,
        tokens: int = 1,
    ) -> None:
        super().__init__()
        check_tokens(tokens)
        if norm not in NORM_KINDS:
            raise ValueError(f"norm is {norm!r}; expected one of {', '.join(NORM_KINDS)}")
        self.embedding_dim = embedding_dim
        self.width = width
        self.tokens = tokens
        self.project = nn.Linear(embedding_dim, tokens * width)
        self.blocks = nn.ModuleList(BindBlock(width, hidden or 4 * width, norm) for _ in range(depth))

    def forward(self, conditions: Tensor) -> Tensor:
        """Conditions ``[N, D]`` → ``[N, C]`` (``[N, K, C]`` for ``K`` > 1), in the dtype of the weights."""
        if conditions.ndim != 2 or conditions.shape[1] != self.embedding_dim:
            raise ValueError(
                f"conditions have shape {list(conditions.shape)}; expected [N, {self.embedding_dim}]"
            )
        states: Tensor = self.project(conditions.to(self.project.weight))
        if self.tokens > 1:
            states = states.unflatten(1, (self.tokens, self.width))
        for block in self.blocks:
            states = block(states)
        return states
