"""Conditions of several vectors: every token attends to those of its condition, in every injected layer.

With more than one vector a condition, the published code does not add a value but lets the layer's own
queries attend to them (``adapter_len > 1`` in ``imagebind_LLM/llama/llama.py`` of OpenGVLab/LLaMA-Adapter at
commit 074cb38, class ``Attention``)::

    a = a + W_o · concat_heads( tanh(gate_h) · softmax(q_h · k_h / sqrt(d)) · v_h )
    k = W_k (T + query_l),  v = W_v (T + query_l)

``q`` are the queries that the layer makes of its tokens, with their update, their bias and their rotation by
position; keys and values have none of these. ``W_o`` has its update, and its bias does not count again. As
there, the softmax is one of its own, apart from that over the tokens. What families add to their heads is
kept: norms of queries and keys, and the scale of the scores; Gemma 2's soft cap of the scores is not.

The keys and gated values of a condition are computed once. Unlike a single vector they are no constant: each
token costs another query and output projection per layer.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from imagebind_llm.model.families import (
    DecoderShape,
    Family,
    norm_keys,
    project_outputs,
    project_queries,
    project_values,
)


def keys_and_values(
    layer: nn.Module, family: Family, shape: DecoderShape, states: Tensor, gate: Tensor
) -> Tensor:
    """What tokens attend to in one layer.

    Args:
        layer: the decoder layer.
        family: its family.
        shape: its sizes.
        states: ``[N, K, C]``, the vectors of ``N`` conditions.
        gate: ``[heads]``, before its tanh.

    Returns:
        ``[N, 2, heads, K, head_dim]``: keys, and values times their gate, in the dtype of ``states``.
    """
    count, tokens, _ = states.shape
    parts = []
    names: tuple[Literal["key", "value"], ...] = ("key", "value")
    for part in names:
        rows = project_values(layer, family, shape, states.flatten(0, 1), part)
        heads = rows.unflatten(-1, (shape.kv_heads, shape.head_dim))
        if part == "key":
            heads = norm_keys(layer, family, heads)
        heads = heads.repeat_interleave(shape.heads // shape.kv_heads, dim=1)
        if part == "value":
            heads = heads * torch.tanh(gate).to(heads)[None, :, None]
        parts.append(heads.unflatten(0, (count, tokens)).transpose(1, 2))
    return torch.stack(parts, dim=1).to(states.dtype)


class TokenAttention:
    """What the tokens of one forward pass attend to.

    Args:
        table: ``[L, N, 2, heads, K, head_dim]`` for ``L`` injected layers, the first row being zeros, which
            is what tokens without a condition attend to: that adds exactly nothing.
        rows: ``[B, T]``, each token's row of it.
    """

    def __init__(self, table: Tensor, rows: Tensor) -> None:
        self._table = table
        self.seeing = (rows > 0)[..., None]
        """``[B, T, 1]``: whether a token sees a condition."""
        tokens = table.shape[4]
        self._mask: Tensor | None = None
        if rows.shape[1] == 1:
            self._used = rows
        else:
            self._used = _used_rows(rows, table.shape[1])
            if self._used.shape[1] > 1:
                theirs = self._used[:, None, :] == rows[:, :, None]
                self._mask = theirs.repeat_interleave(tokens, dim=2)[:, None]
        self._gathered: tuple[Tensor, ...] | None = None
        if rows.shape[1] == 1:  # a decode step: one gather serves all layers
            self._gathered = table.index_select(1, rows.reshape(-1)).unbind(0)

    def attended(self, queries: Tensor, position: int, scale: float) -> Tensor:
        """``queries [B, heads, T, head_dim]`` → ``[B, T, heads * head_dim]``, at the ``position``-th injected
        layer."""
        if self._gathered is not None:
            found = self._gathered[position]
        else:
            found = self._table[position].index_select(0, self._used.reshape(-1))
            batch, many = self._used.shape
            # [B * M, 2, heads, K, d] → [B, 2, heads, M * K, d]
            found = found.unflatten(0, (batch, many)).permute(0, 2, 3, 1, 4, 5).flatten(3, 4)
        found = found.to(queries)
        bias = None
        if self._mask is not None:
            # A finite lowest number: rows are then never empty, whatever blocks a kernel works in.
            low = torch.finfo(queries.dtype).min / 2
            bias = torch.zeros_like(self._mask, dtype=queries.dtype, device=queries.device)
            bias = bias.masked_fill(~self._mask.to(queries.device), low)
        keys, values = found.unbind(1)
        out = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=scale)
        return out.transpose(1, 2).flatten(2)


def _used_rows(rows: Tensor, count: int) -> Tensor:
    """``[B, M]``: the rows of the table that the tokens of each row of the batch use, filled up with others.

    Looking how many there are waits for an accelerator, once for all layers. Inside of a compiled graph all
    of them are taken instead.
    """
    if torch.compiler.is_compiling():
        return torch.arange(count, device=rows.device).expand(rows.shape[0], count)
    used = torch.zeros(rows.shape[0], count, dtype=torch.long, device=rows.device)
    used.scatter_(1, rows, 1)
    most = int(used.sum(1).max())
    return used.argsort(dim=1, descending=True, stable=True)[:, :most]


def attended_by(
    attention: nn.Module,
    family: Family,
    shape: DecoderShape,
    given: TokenAttention,
    position: int,
    states: Tensor,
    rotation: tuple[Tensor, Tensor],
) -> Tensor:
    """What is added to the output of an attention module.

    Args:
        attention: the module.
        family: its family.
        shape: its sizes.
        given: what its tokens attend to.
        position: which of the injected layers it is.
        states: ``[B, T, C]``, its input.
        rotation: the cosines and sines of its tokens' positions, each ``[B or 1, T, d]`` for the first ``d``
            values of a head.

    Returns:
        ``[B, T, C]``.
    """
    queries = _rotated(project_queries(attention, family, shape, states), *rotation)
    own: Any = attention
    scale = float(getattr(own, "scaling", 1 / math.sqrt(shape.head_dim)))
    attended = given.attended(queries, position, scale)
    return project_outputs(attention, family, attended)


def _rotated(queries: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary positions on the first values of each head, as all families of the table do it."""
    width = cosines.shape[-1]
    turned, rest = queries[..., :width], queries[..., width:]
    first, second = turned.chunk(2, dim=-1)
    half = torch.cat((-second, first), dim=-1)
    cosines, sines = cosines[:, None].to(queries), sines[:, None].to(queries)
    return torch.cat((turned * cosines + half * sines, rest), dim=-1)
