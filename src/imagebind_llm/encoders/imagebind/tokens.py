"""From a checked batch of one modality to the tokens its trunk reads."""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from imagebind_llm.encoders.imagebind.config import GridConfig, ImuConfig, TextConfig
from imagebind_llm.encoders.imagebind.stems import GridStem, ImuStem

_POSITION_STD = 0.02


class Tokens(NamedTuple):
    """What enters a trunk."""

    values: Tensor
    """``[B, T, W]``."""
    readout: Tensor | None
    """``[B]`` index of the token whose output stands for the whole; ``None`` = the class token at 0."""

    @property
    def causal(self) -> bool:
        """A text reads from left to right; its readout is the only one that is not the class token."""
        return self.readout is not None


class PositionTable(nn.Module):
    """Learned positions for the class token and the grid (a module of its own in the published layout)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + tokens, width))
        nn.init.trunc_normal_(self.pos_embed, std=_POSITION_STD)


class GridTokens(nn.Module):
    """Vision, audio, depth, thermal. ``stem_name`` is the stem's name in the published layout."""

    def __init__(self, config: GridConfig, stem_name: str) -> None:
        super().__init__()
        width = config.trunk.width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.stem_name = stem_name
        self.add_module(stem_name, GridStem(config))
        self.pos_embedding_helper = PositionTable(math.prod(config.grid), width)
        nn.init.trunc_normal_(self.cls_token, std=_POSITION_STD)

    def forward(self, x: Tensor) -> Tokens:
        tokens = cast(Tensor, getattr(self, self.stem_name)(x))
        return Tokens(with_first(self.cls_token, tokens) + self.pos_embedding_helper.pos_embed, None)


class ImuTokens(nn.Module):
    """Inertial windows."""

    def __init__(self, config: ImuConfig) -> None:
        super().__init__()
        width = config.trunk.width
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.length // config.kernel_size, width))
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.imu_stem = ImuStem(config.channels, config.kernel_size, width)
        nn.init.trunc_normal_(self.pos_embed, std=_POSITION_STD)
        nn.init.trunc_normal_(self.cls_token, std=_POSITION_STD)

    def forward(self, x: Tensor) -> Tokens:
        return Tokens(with_first(self.cls_token, self.imu_stem(x)) + self.pos_embed, None)


class TextTokens(nn.Module):
    """Token ids ``[B, context]``.

    The text is read out at its largest id, which is the end of text (49407). Nothing after it can be seen
    there, so the batch is cut after its last readout: same result, less work. A text that was truncated
    without its end id is read out at the start id, where every such text looks the same; the tokenizer of
    this package keeps the end id.
    """

    mask: Tensor

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width = config.trunk.width
        self.token_embedding = nn.Embedding(config.vocabulary, width)
        self.pos_embed = nn.Parameter(torch.empty(1, config.context, width))
        # The published weights carry the causal mask. Attention here knows "causal" by itself; the loader
        # checks that the stored mask says the same.
        self.register_buffer("mask", causal_mask(config.context))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.01)

    def forward(self, ids: Tensor) -> Tokens:
        readout = ids.argmax(dim=-1)
        length = int(readout.max()) + 1 if ids.shape[0] else 1
        return Tokens(self.token_embedding(ids[:, :length]) + self.pos_embed[:, :length], readout)


def causal_mask(context: int) -> Tensor:
    """``[context, context]``: 0 on and below the diagonal, -inf above it."""
    return torch.full((context, context), float("-inf")).triu(1)


def with_first(first: Tensor, tokens: Tensor) -> Tensor:
    """``first`` (``[1, 1, W]``) in front of each row of ``tokens`` (``[B, T, W]``)."""
    return torch.cat([first.expand(tokens.shape[0], -1, -1).to(tokens.dtype), tokens], dim=1)
