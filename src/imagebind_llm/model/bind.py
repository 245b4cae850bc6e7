"""The bind network: from the joint embedding space to the width of the language model."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from imagebind_llm.common.errors import ConfigError, short
from imagebind_llm.model.parts import vectors, with_stand_ins

NORM_KINDS = ("rms", "layer")
_RMS_EPSILON = 1e-6
"""Fixed in the reference, whatever the language model's own norm uses."""
_LAYER_EPSILON = 1e-5
"""Of the older checkpoints, which have LayerNorm and biases everywhere."""
MAX_TOKENS = 256
"""More vectors than that are no summary of a condition: ImageBind's picture has 257 tokens."""


def vectors_of(bind: Mapping[str, Any]) -> int:
    """How many vectors a condition becomes by these settings of a bind network."""
    return int(bind["tokens"] + bind["encoder_tokens"])


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


def check_encoder_tokens(encoder_tokens: int, tokens: int, style: str = "value") -> None:
    """Refuse a number of groups of the encoder's tokens that makes no sense.

    Raises:
        ConfigError: it is no whole number of at least 0; they are too many with the ``tokens`` that a
            condition's vector becomes; or there are any in style ``"residual"``.
    """
    most = MAX_TOKENS - tokens
    if type(encoder_tokens) is not int or not 0 <= encoder_tokens <= most:
        raise ConfigError(
            f"bind.encoder_tokens is {short(encoder_tokens)}; expected a whole number from 0 to {most}"
        )
    if encoder_tokens and style != "value":
        raise ConfigError(
            f"bind.encoder_tokens is {encoder_tokens}, but injection style {style!r} adds one vector to the "
            "stream, and nothing attends there; set injection.style to 'value', or bind.encoder_tokens to 0"
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
        tokens: ``K``, vectors that a condition's vector becomes. For more than one the first map has ``K``
            times as many rows; the blocks are the same for all.
        encoder_tokens: ``G``, groups of the encoder's tokens (:mod:`imagebind_llm.model.parts`). Each becomes
            one more vector, by a first map of their own and the same blocks.

    Attributes:
        tokens: ``K + G``, all vectors of a condition.
    """

    def __init__(
        self,
        embedding_dim: int,
        width: int,
        depth: int = 3,
        norm: Literal["rms", "layer"] = "rms",
        hidden: int | None = None,
        tokens: int = 1,
        encoder_tokens: int = 0,
    ) -> None:
        super().__init__()
        check_tokens(tokens)
        check_encoder_tokens(encoder_tokens, tokens)
        if norm not in NORM_KINDS:
            raise ValueError(f"norm is {norm!r}; expected one of {', '.join(NORM_KINDS)}")
        self.embedding_dim = embedding_dim
        self.width = width
        self.encoder_tokens = encoder_tokens
        self.tokens = tokens + encoder_tokens
        self.project = nn.Linear(embedding_dim, tokens * width)
        self.blocks = nn.ModuleList(BindBlock(width, hidden or 4 * width, norm) for _ in range(depth))
        self.project_tokens = nn.Linear(embedding_dim, width) if encoder_tokens else None

    def forward(self, conditions: Tensor) -> Tensor:
        """Conditions ``[N, D]`` → ``[N, C]`` (``[N, K, C]`` for ``K`` > 1), in the dtype of the weights.

        With groups of the encoder's tokens: ``[N, 1 + G, D]`` (or ``[N, D]``: the vector stands in for them)
        → ``[N, K + G, C]``.
        """
        groups, dim = self.encoder_tokens, self.embedding_dim
        own = (dim,) if conditions.ndim == 2 or not groups else (1 + groups, dim)
        if tuple(conditions.shape[1:]) != own:
            several = f" or [N, {1 + groups}, {dim}]" if groups else ""
            raise ValueError(f"conditions have shape {list(conditions.shape)}; expected [N, {dim}]{several}")
        conditions = conditions.to(self.project.weight)
        states: Tensor = self.project(vectors(conditions))
        if self.tokens > 1:
            states = states.unflatten(1, (-1, self.width))
        if self.project_tokens is not None:
            parts = self.project_tokens(with_stand_ins(conditions, groups)[:, 1:])
            states = torch.cat((states, parts), dim=1)
        for block in self.blocks:
            states = block(states)
        return states
