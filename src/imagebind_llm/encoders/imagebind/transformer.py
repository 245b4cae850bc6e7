"""The one transformer trunk that every modality uses.

The point encoder was published with other parameter names than the rest (``norm1`` for ``norm_1``, ``qkv``
for ``in_proj``), so a block and its attention exist under two sets of names. What they compute is written
once.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.encoders.imagebind.config import TrunkConfig


class DropPath(nn.Module):
    """In training, drops a residual branch for whole samples with chance ``rate``; scales up the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"


class Mlp(nn.Module):
    """Linear → GELU (exact, by the error function) → Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(F.gelu(self.fc1(x))))


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: int,
    bias_k: Tensor | None = None,
    bias_v: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Multi-head attention of ``query [B, Q, W]`` to ``key`` and ``value [B, T, W]``, giving ``[B, Q, W]``.

    ``bias_k`` and ``bias_v`` (``[1, 1, W]``) join the keys and values as one more position, as they are.
    """
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    if bias_k is not None and bias_v is not None:
        one = (1, heads, 1, key.shape[-1])
        key = torch.cat([key, bias_k.view(one).expand(len(key), -1, -1, -1).to(key.dtype)], dim=2)
        value = torch.cat([value, bias_v.view(one).expand(len(value), -1, -1, -1).to(value.dtype)], dim=2)
    out = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    return out.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Self-attention under the parameter names of ``torch.nn.MultiheadAttention``."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width)) if config.qkv_bias else None
        self.bias_k = nn.Parameter(torch.empty(1, 1, width)) if config.bias_kv else None
        self.bias_v = nn.Parameter(torch.empty(1, 1, width)) if config.bias_kv else None
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                nn.init.xavier_normal_(extra)

    def forward(self, x: Tensor, causal: bool = False, first: bool = False) -> Tensor:
        """``[B, T, W]`` → the same, or ``[B, 1, W]``: what the ``first`` token reads."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if first:
            width = x.shape[-1]
            query = F.linear(x[:, :1], weight[:width], None if bias is None else bias[:width])
            key, value = F.linear(x, weight[width:], None if bias is None else bias[width:]).chunk(2, -1)
        else:
            query, key, value = F.linear(x, weight, bias).chunk(3, -1)
        read = attend(query, key, value, self.heads, self.bias_k, self.bias_v, causal)
        return cast(Tensor, self.out_proj(read))


class PointAttention(nn.Module):
    """Self-attention under the parameter names of the point encoder."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.qkv_bias)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, causal: bool = False, first: bool = False) -> Tensor:
        """``[B, T, W]`` → the same, or ``[B, 1, W]``: what the ``first`` token reads."""
        query, key, value = self.qkv(x).chunk(3, -1)
        if first:
            query = query[:, :1]
        return cast(Tensor, self.proj(attend(query, key, value, self.heads, causal=causal)))


class BlockParts(NamedTuple):
    """What a block is made of, whatever the names of its parameters."""

    norm_1: nn.LayerNorm
    attention: Callable[[Tensor, bool, bool], Tensor]
    norm_2: nn.LayerNorm
    mlp: Mlp
    output: nn.Linear
    """The attention's output projection (for the initial scale)."""


class Block(nn.Module):
    """``x + attention(norm x)``, then ``x + mlp(norm x)``."""

    def __init__(self, config: TrunkConfig, drop_path: float) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path)
        self._build(config)

    def _build(self, config: TrunkConfig) -> None:
        self.attn: nn.Module = Attention(config)
        self.norm_1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = Mlp(config.width, config.mlp_ratio * config.width)
        self.norm_2 = nn.LayerNorm(config.width, eps=config.norm_eps)

    def parts(self) -> BlockParts:
        attention = cast(Attention, self.attn)
        return BlockParts(self.norm_1, attention, self.norm_2, self.mlp, attention.out_proj)

    def forward(self, x: Tensor, causal: bool = False, first: bool = False) -> Tensor:
        """``[B, T, W]`` → the same, or only the ``first`` token's ``[B, 1, W]``."""
        parts = self.parts()
        read = parts.attention(parts.norm_1(x), causal, first)
        x = (x[:, :1] if first else x) + self.drop_path(read)
        return cast(Tensor, x + self.drop_path(parts.mlp(parts.norm_2(x))))


class PointBlock(Block):
    """A block under the parameter names of the point encoder."""

    def _build(self, config: TrunkConfig) -> None:
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = Mlp(config.width, config.mlp_ratio * config.width)
        self.attn = PointAttention(config)

    def parts(self) -> BlockParts:
        attention = cast(PointAttention, self.attn)
        return BlockParts(self.norm1, attention, self.norm2, self.mlp, attention.proj)


class Trunk(nn.Module):
    """Transformer blocks over ``[B, T, W]``. There is no norm after the last: the head brings its own."""

    def __init__(self, config: TrunkConfig, block: type[Block] = Block) -> None:
        super().__init__()
        if config.pre_norm:
            # A sequence of one, because the published key is pre_transformer_layer.0.
            self.pre_transformer_layer = nn.Sequential(nn.LayerNorm(config.width, eps=config.norm_eps))
        rates = torch.linspace(0.0, config.drop_path, config.blocks, device="cpu").tolist()
        self.blocks = nn.ModuleList(block(config, rate) for rate in rates)
        self.pre_norm = config.pre_norm
        self._reset()

    def _reset(self) -> None:
        """Xavier weights, zero biases; branch outputs shrink with depth so the sum keeps its size."""
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            for module in self.blocks:
                parts = cast(Block, module).parts()
                for output in (parts.output, parts.mlp.fc2):
                    output.weight.mul_((2 * len(self.blocks)) ** -0.5)

    def forward(
        self, x: Tensor, position: Tensor | None = None, causal: bool = False, first: bool = False
    ) -> Tensor:
        """Run the blocks.

        Args:
            x: ``[B, T, W]`` tokens.
            position: ``[B, T, W]`` added to the stream before *every* block and left in it (point only).
            causal: a token sees only itself and earlier ones (text only).
            first: give only the first token's output, ``[B, 1, W]``. The last block looks at all tokens, but
                carries just that one on: most of a block less work.
        """
        if self.pre_norm:
            x = self.pre_transformer_layer(x)
        for number, block in enumerate(self.blocks):
            if position is not None:
                x = x + position
            x = block(x, causal, first and number == len(self.blocks) - 1)
        return x
