"""The authors' way to decode, written anew from what their code does (LLaMA-Adapter, ``imagebind_LLM``).

What costs time there is kept: float32, one prompt at a time, the visual token sent through every layer's
value map again for each new token, low-rank updates and biases apart from the weights, rotary positions as
products of complex numbers, attention written out over a key-value cache of fixed size, and tokens decided
one by one. Nothing is made slower than it is: there is a key-value cache, and the output projection reads the
last position only.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _LowRank(nn.Module):
    """A map with bias and its low-rank update, computed side by side."""

    def __init__(self, module: Any, order: Tensor | None = None) -> None:
        super().__init__()
        base = module.base_layer
        rows = slice(None) if order is None else order
        self.weight = base.weight.detach()[rows].clone()
        self.bias = None if base.bias is None else base.bias.detach()[rows].clone()
        self.down = module.lora_A["default"].weight.detach().clone()
        self.up = module.lora_B["default"].weight.detach()[rows] * module.scale

    def plain(self, states: Tensor) -> Tensor:
        return functional.linear(states, self.weight, self.bias)

    def forward(self, states: Tensor) -> Tensor:
        return self.plain(states) + functional.linear(functional.linear(states, self.down), self.up)


class _Layer:
    def __init__(self, layer: Any, gate: Tensor, query: Tensor, heads: int, epsilon: float) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        size = attention.q_proj.base_layer.out_features // heads
        # pairs of neighbours turn together here, halves of a head in transformers
        pairs = torch.arange(heads * size).view(heads, 2, size // 2).transpose(1, 2).reshape(-1)
        self.wq, self.wk = _LowRank(attention.q_proj, pairs), _LowRank(attention.k_proj, pairs)
        self.wv, self.wo = _LowRank(attention.v_proj), _LowRank(attention.o_proj)
        self.w1, self.w2, self.w3 = map(_LowRank, (mlp.gate_proj, mlp.down_proj, mlp.up_proj))
        self.attention_norm = layer.input_layernorm.weight.detach()
        self.ffn_norm = layer.post_attention_layernorm.weight.detach()
        self.gate, self.query = gate.detach(), query.detach()
        self.heads, self.size, self.epsilon = heads, size, epsilon
        self.cache_k = self.cache_v = torch.empty(0)

    def start(self, length: int) -> None:
        self.cache_k = torch.zeros(1, length, self.heads, self.size)
        self.cache_v = torch.zeros(1, length, self.heads, self.size)

    def forward(self, x: Tensor, start: int, rotation: Tensor, mask: Tensor, visual: Tensor) -> Tensor:
        h = x + self.attention(_norm(x, self.attention_norm, self.epsilon), start, rotation, mask, visual)
        normed = _norm(h, self.ffn_norm, self.epsilon)
        return h + self.w2(functional.silu(self.w1(normed)) * self.w3(normed))

    def attention(self, x: Tensor, start: int, rotation: Tensor, mask: Tensor, visual: Tensor) -> Tensor:
        rows, length, _ = x.shape
        shape = (rows, length, self.heads, self.size)
        query, key, value = (each(x).view(shape) for each in (self.wq, self.wk, self.wv))
        query, key = _rotate(query, rotation), _rotate(key, rotation)
        end = start + length
        self.cache_k[:rows, start:end] = key
        self.cache_v[:rows, start:end] = value
        keys = self.cache_k[:rows, :end].transpose(1, 2)
        values = self.cache_v[:rows, :end].transpose(1, 2)
        adapter = self.wv.plain(visual + self.query).view(rows, 1, self.heads, self.size).transpose(1, 2)
        scores = torch.matmul(query.transpose(1, 2), keys.transpose(2, 3)) / self.size**0.5
        scores = functional.softmax((scores + mask).float(), dim=-1).type_as(query)
        output = torch.matmul(scores, values)
        output = output + self.gate.tanh().view(1, -1, 1, 1) * adapter
        return self.wo(output.transpose(1, 2).contiguous().view(rows, length, -1))


class OriginalDecoder:
    """Greedy answers as the authors' ``generate`` gives them, with the weights of a model of ours.

    Args:
        model: Llama, style ``"value"`` in all layers, with low-rank updates that are not folded; its weights
            are copied.
    """

    def __init__(self, model: Any) -> None:
        language_model, config = model.language_model, model.config.text_config
        self.bind = model.bind
        self.epsilon = config.rms_norm_eps
        self.embedding = language_model.model.embed_tokens.weight.detach()
        self.norm = language_model.model.norm.weight.detach()
        self.output = language_model.lm_head.weight.detach()
        heads = config.num_attention_heads
        self.layers = [
            _Layer(layer, gate, query, heads, self.epsilon)
            for layer, gate, query in zip(
                language_model.model.layers, model.injection.gate, model.injection.query, strict=True
            )
        ]
        size = config.hidden_size // heads
        speeds = 1.0 / (10000.0 ** (torch.arange(0, size, 2).float() / size))
        angles = torch.outer(torch.arange(2 * config.max_position_embeddings).float(), speeds)
        self.rotations = torch.polar(torch.ones_like(angles), angles)

    @torch.inference_mode()
    def generate(self, prompt: Tensor, condition: Tensor, new_tokens: int) -> list[int]:
        """New tokens after ``prompt [1, T]`` about ``condition [1, D]``."""
        visual = self.bind(condition)[:, None]
        length = prompt.shape[1]
        tokens = torch.zeros(1, length + new_tokens, dtype=torch.long)
        tokens[:, :length] = prompt
        given = tokens != 0
        for layer in self.layers:
            layer.start(length + new_tokens)
        previous = 0
        for current in range(length, length + new_tokens):
            logits = self._forward(visual, tokens[:, previous:current], previous)
            chosen = torch.argmax(logits, dim=-1).reshape(-1)
            tokens[:, current] = torch.where(given[:, current], tokens[:, current], chosen)
            previous = current
        found: list[int] = tokens[0, length:].tolist()
        return found

    def _forward(self, visual: Tensor, tokens: Tensor, start: int) -> Tensor:
        length = tokens.shape[1]
        states = functional.embedding(tokens, self.embedding)
        rotation = self.rotations[start : start + length]
        mask = torch.full((1, 1, length, length), float("-inf")).triu(diagonal=start + 1)
        for layer in self.layers:
            states = layer.forward(states, start, rotation, mask, visual)
        return functional.linear(_norm(states, self.norm, self.epsilon)[:, -1], self.output).float()


def _norm(states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    full = states.float()
    return (full * torch.rsqrt(full.pow(2).mean(-1, keepdim=True) + epsilon)).type_as(states) * weight


def _rotate(states: Tensor, rotation: Tensor) -> Tensor:
    pairs = torch.view_as_complex(states.float().reshape(*states.shape[:-1], -1, 2))
    turned = pairs * rotation.view(1, pairs.shape[1], 1, pairs.shape[-1])
    return torch.view_as_real(turned).flatten(3).type_as(states)
