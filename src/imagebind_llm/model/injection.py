"""Injection: what a condition adds to the language model, layer by layer.

Per layer ``l`` and condition ``n`` one constant vector ``delta[l, n]`` is added to every token that sees
``n``.

* Style ``"residual"`` (paper): ``gate_l * (T_n [+ q_l])``, added to the stream before layer ``l``.
* Style ``"value"`` (the published checkpoint): ``W_o · concat_heads(tanh(gate_{l,h}) · W_v (T_n + q_l))``,
  added to the output of the attention block. ``W_v`` without, ``W_o`` with its low-rank update; no bias
  counts.

With ``K > 1`` vectors a condition, the tokens attend to them instead (style ``"value"`` only, see
:mod:`.attending`).

Nothing is stored on modules at run time. A :class:`TokenDeltas` travels as a keyword argument through the
language model to its decoder layers, where hooks installed by :meth:`Injection.attach` consume it. Calls from
several threads, recomputation under gradient checkpointing and validation before training therefore cannot
see each other's values.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.model.attending import TokenAttention, attended_by, keys_and_values
from imagebind_llm.model.bind import check_tokens
from imagebind_llm.model.conditioned_update import ARGUMENT, about_conditions
from imagebind_llm.model.families import (
    DecoderShape,
    Family,
    apply_without_bias,
    decoder_layers,
    family_of,
    project_values,
)

STYLES = ("residual", "value")
_QUERY_STD = 0.02


class TokenDeltas:
    """What each token of one forward pass receives."""

    def __init__(self, table: Tensor, rows: Tensor) -> None:
        self._table = table
        self._rows = rows
        self.seeing = (rows > 0)[..., None]
        """``[B, T, 1]``: whether a token sees a condition."""
        self._gathered: tuple[Tensor, ...] | None = None
        if rows.shape[1] == 1:
            # A decode step: one gather serves all layers. A longer one gathers layer by layer, because
            # [K, B, T, C] at once would be as large as the activations of the whole network.
            layers, _, width = table.shape
            gathered = table.index_select(1, rows.reshape(-1))
            self._gathered = gathered.view(layers, rows.shape[0], 1, width).unbind(0)

    def add_to(self, states: Tensor, position: int) -> Tensor:
        """``states [B, T, C]`` plus the deltas of the ``position``-th injected layer."""
        if self._gathered is not None:
            delta = self._gathered[position]
        else:
            delta = functional.embedding(self._rows.to(self._table.device), self._table[position])
        if delta.dtype != states.dtype or delta.device != states.device:
            delta = delta.to(states)
        return states + delta


class ConditionDeltas:
    """The vectors of ``count`` conditions for all injected layers, computed once and used at every step.

    It is deliberately not a tensor: ``generate`` passes it on as it is when it expands inputs for beams.
    """

    def __init__(self, deltas: Tensor) -> None:
        """From ``deltas [K, N, C]``: ``K`` injected layers, ``N`` conditions."""
        layers, self.count, *rest = deltas.shape
        nothing = deltas.new_zeros(layers, 1, *rest)
        self._table = torch.cat((nothing, deltas), dim=1)
        self._last_step: tuple[list[list[int]], Any] | None = None

    @property
    def tensor(self) -> Tensor:
        """The deltas ``[K, N, C]``."""
        return self._table[:, 1:]

    def detach(self) -> "ConditionDeltas":
        """The same values without gradient."""
        return type(self)(self.tensor.detach())

    def select(self, condition_ids: Tensor) -> Any:
        """What the tokens with ``condition_ids [B, T]`` (``-1``: nothing, else ``0 … N-1``) receive.

        In decoding, rows go on seeing what they saw in the step before, so that step's deltas are kept and
        given out again. (Not on an accelerator, where comparing the ids would wait for it, nor where the
        gathered deltas are part of a gradient or of a compiled graph.)

        Returns:
            :class:`TokenDeltas`; :class:`ConditionTokens` give a
            :class:`~imagebind_llm.model.attending.TokenAttention`.
        """
        single = condition_ids.shape[1] == 1 and condition_ids.device.type == "cpu"
        if not single or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._select(condition_ids)
        seen, last = condition_ids.tolist(), self._last_step
        if last is None or last[0] != seen:
            last = self._last_step = (seen, self._select(condition_ids))
        return last[1]

    def _select(self, condition_ids: Tensor) -> Any:
        return TokenDeltas(self._table, condition_ids.to(self._table.device) + 1)


class ConditionTokens(ConditionDeltas):
    """What ``count`` conditions of several vectors are to all injected layers: keys and gated values
    ``[K, N, 2, heads, tokens, head_dim]``, computed once like deltas and used in their place."""

    def _select(self, condition_ids: Tensor) -> TokenAttention:
        return TokenAttention(self._table, condition_ids.to(self._table.device) + 1)


class Injection(nn.Module):
    """Gates (and per-layer queries) that turn a bound condition into deltas, and the hooks that add them.

    Args:
        shape: sizes of the language model.
        style: ``"residual"`` or ``"value"``.
        layers: which decoder layers: ``None`` for all, a number for that many last ones, or their indices.
        query: whether each layer has a learned vector added to the condition; ``None``: only in style
            ``"value"``.
        gate_std: spread of the gates before training. 0, as published: the language model starts unchanged.
            More is for comparing with it.
        tokens: vectors per condition, as the bind network gives them. More than one are attended to, in style
            ``"value"``; queries are then ``[layers, tokens, C]``.

    Raises:
        ConfigError: an unknown style or layer, or several tokens in style ``"residual"``.
    """

    def __init__(
        self,
        shape: DecoderShape,
        style: Literal["residual", "value"] = "residual",
        layers: int | Sequence[int] | None = None,
        query: bool | None = None,
        gate_std: float = 0.0,
        tokens: int = 1,
    ) -> None:
        super().__init__()
        if style not in STYLES:
            raise ConfigError(f"injection style is {style!r}; expected one of {', '.join(STYLES)}")
        check_tokens(tokens, style)
        if gate_std < 0:
            raise ConfigError(f"injection gate_std is {gate_std}; expected 0 or more")
        self.gate_std = gate_std
        self.shape = shape
        self.style = style
        self.tokens = tokens
        self.layers = resolve_layers(layers, shape.layers)
        count = len(self.layers)
        self.gate = nn.Parameter(torch.zeros(count, shape.heads) if style == "value" else torch.zeros(count))
        has_query = style == "value" if query is None else query
        each = (count, shape.width) if tokens == 1 else (count, tokens, shape.width)
        self.query = nn.Parameter(torch.empty(each)) if has_query else None
        self._handles: list[Any] = []
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Gates to 0 (the language model is then unchanged) unless asked otherwise, queries to small random
        values."""
        nn.init.zeros_(self.gate)
        if self.gate_std:
            nn.init.normal_(self.gate, std=self.gate_std)
        if self.query is not None:
            nn.init.normal_(self.query, std=_QUERY_STD)

    def deltas(self, bound: Tensor) -> ConditionDeltas:
        """The deltas of conditions that went through the bind network.

        Args:
            bound: ``[N, C]``, or ``[N, tokens, C]`` for several.

        Raises:
            RuntimeError: style ``"value"`` and no language model attached (its projections are needed).
        """
        if self.style == "residual":
            states = bound.expand(len(self.layers), *bound.shape)
            if self.query is not None:
                states = states + self.query[:, None].to(bound)
            return self._table(self.gate[:, None, None].to(bound) * states)
        model = self._language_model
        if model is None:
            raise RuntimeError("injection style 'value' needs the language model's maps: call attach first")
        found = decoder_layers(model)
        target = bound.device
        with about_conditions():
            rows = [
                self._value_delta(found[layer], position, bound).to(target)
                for position, layer in enumerate(self.layers)
            ]
        return self._table(torch.stack(rows))

    def _table(self, deltas: Tensor) -> ConditionDeltas:
        """``deltas`` (or keys and values) in the stream's precision, so that no step has to cast them.

        Where gradients are recorded they keep theirs, in which the gradients of many tokens are summed.
        """
        if self._language_model is not None and not torch.is_grad_enabled():
            stream = self._language_model.get_input_embeddings().weight.dtype
            deltas = deltas.to(stream if stream.is_floating_point else deltas.dtype)
        return self.collect(deltas)

    def collect(self, table: Tensor) -> ConditionDeltas:
        """Put together again what the ``tensor`` of several :meth:`deltas` held, on axis 1."""
        return ConditionDeltas(table) if self.tokens == 1 else ConditionTokens(table)

    def _value_delta(self, layer: nn.Module, position: int, bound: Tensor) -> Tensor:
        family = family_of(self._language_model.config.model_type)
        shape = self.shape
        states = bound if self.query is None else bound + self.query[position].to(bound)
        if self.tokens > 1:
            return keys_and_values(layer, family, shape, states, self.gate[position])
        values = project_values(layer, family, shape, states)
        heads = values.unflatten(-1, (shape.kv_heads, shape.head_dim))
        heads = heads.repeat_interleave(shape.heads // shape.kv_heads, dim=1)
        gated = heads * torch.tanh(self.gate[position]).to(heads)[None, :, None]
        return apply_without_bias(layer.get_submodule(family.output), gated.flatten(1)).to(bound.dtype)

    @property
    def _language_model(self) -> Any:
        return self.__dict__.get("_attached_to")

    def attach(self, language_model: Any) -> None:
        """Install the hooks that consume deltas. Without deltas in a call they change nothing.

        Raises:
            ConfigError: an unknown family, other sizes than this injection was made for, or a model that
                already has an injection.
        """
        if self._handles:
            raise ConfigError("this injection is already attached; call detach first")
        config = language_model.config
        family = family_of(config.model_type)
        if (found := DecoderShape.of(config)) != self.shape:
            raise ConfigError(f"the language model is {found}; this injection was made for {self.shape}")
        layers = decoder_layers(language_model)
        if any(_is_ours(hook) for layer in layers for module in layer.modules() for hook in _hooks(module)):
            raise ConfigError("the language model already has an injection; detach that one first")
        for position, index in enumerate(self.layers):
            layer = layers[index]
            if self.style == "residual":
                hook: Any = partial(_add_before, position)
                self._handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
            else:
                hook = partial(_add_after, position)
                if self.tokens > 1:
                    hook = partial(_attend_after, position, family, self.shape)
                attention = layer.get_submodule(family.attention)
                self._handles.append(attention.register_forward_hook(hook, with_kwargs=True))
        # not a submodule: the model owns the language model, and its weights must not be listed twice
        self.__dict__["_attached_to"] = language_model

    def detach(self) -> None:
        """Remove the hooks; the language model is then exactly what it was."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.__dict__.pop("_attached_to", None)


def resolve_layers(layers: int | Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Indices of the injected layers, ascending.

    Raises:
        ConfigError: an index or a number outside ``count`` layers, or neither.
    """
    if layers is None:
        return tuple(range(count))
    listed = layers if isinstance(layers, (list, tuple)) else [layers]
    if any(isinstance(index, bool) or not isinstance(index, int) for index in listed):
        raise ConfigError(f"injection layers are {layers!r}; expected a number of layers, or their indices")
    if isinstance(layers, int):
        if not 1 <= layers <= count:
            raise ConfigError(f"injection into the last {layers} layers; the language model has {count}")
        return tuple(range(count - layers, count))
    chosen = tuple(sorted(set(layers)))
    if not chosen or chosen[0] < 0 or chosen[-1] >= count or len(chosen) != len(layers):
        raise ConfigError(f"injection layers are {list(layers)}; expected different ones of 0 … {count - 1}")
    return chosen


def _add_before(
    position: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Decoder-layer pre-hook: add to the incoming stream. The argument goes on to the attention block."""
    deltas: TokenDeltas | None = kwargs.get(ARGUMENT)
    if deltas is None:
        return None
    if args:
        return (deltas.add_to(args[0], position), *args[1:]), kwargs
    kwargs["hidden_states"] = deltas.add_to(kwargs["hidden_states"], position)
    return args, kwargs


def _add_after(
    position: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Any:
    """Attention hook: add to the block's output, which decoders return as the first of a tuple."""
    deltas: TokenDeltas | None = kwargs.get(ARGUMENT)
    if deltas is None:
        return None
    return (deltas.add_to(output[0], position), *output[1:])


def _attend_after(
    position: int,
    family: Family,
    shape: DecoderShape,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
) -> Any:
    """Attention hook: add what the tokens see in the several vectors of their conditions."""
    given: TokenAttention | None = kwargs.get(ARGUMENT)
    if given is None:
        return None
    states = args[0] if args else kwargs["hidden_states"]
    added = attended_by(module, family, shape, given, position, states, kwargs["position_embeddings"])
    return (output[0] + added.to(output[0]), *output[1:])


def _hooks(module: nn.Module) -> list[Any]:
    return [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]


def _is_ours(hook: Any) -> bool:
    return isinstance(hook, partial) and hook.func in (_add_before, _add_after, _attend_after)
