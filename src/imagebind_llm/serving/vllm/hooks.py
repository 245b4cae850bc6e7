"""The hooks that add deltas inside vLLM's decoder layers.

vLLM packs a batch as ``hidden_states [T, C]``. Buffers are registered on the layers themselves (not saved),
so that compilers see them as they see weights. A hook does one ``index_select`` and one addition; it holds no
Python state.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from imagebind_llm.serving.vllm.rows import ConditionRows

_TABLE, _ROWS = "condition_table", "condition_rows"


def attach(model: nn.Module, settings: Mapping[str, Any], rows: ConditionRows) -> None:
    """Put hooks on the injected layers.

    Args:
        model: vLLM's causal language model.
        settings: ``style``, ``layers`` (indices), ``layers_path`` and ``attention_path`` (as in
            :class:`~imagebind_llm.model.families.Family`).
        rows: the buffers; the ``i``-th table belongs to the ``i``-th of ``layers``.

    Raises:
        RuntimeError: the model has no such layers, or already has hooks.
    """
    try:
        layers: Any = model.get_submodule(settings["layers_path"])
    except AttributeError:
        raise RuntimeError(
            f"vLLM's {type(model).__name__} has no layers at {settings['layers_path']!r}"
        ) from None
    for place, index in enumerate(settings["layers"]):
        layer = layers[index]
        if type(layer).__name__ == "PPMissingLayer":
            continue  # another process of a pipeline has it
        residual = settings["style"] == "residual"
        target = layer if residual else layer.get_submodule(settings["attention_path"])
        if hasattr(target, _TABLE):
            raise RuntimeError("the model already has hooks for conditions")
        target.register_buffer(_TABLE, rows.table[place], persistent=False)
        target.register_buffer(_ROWS, rows.rows, persistent=False)
        if residual:
            place_of_states = _place_of(layer, "hidden_states")
            target.register_forward_pre_hook(_ADD_BEFORE[place_of_states], with_kwargs=True)
        else:
            target.register_forward_hook(_add_after)


def _place_of(layer: nn.Module, name: str) -> int:
    """Where a layer's ``forward`` takes an argument, without ``self``."""
    names = list(inspect.signature(layer.forward).parameters)
    if name not in names[: len(_ADD_BEFORE)]:
        raise RuntimeError(f"{type(layer).__name__}.forward takes {', '.join(names)}; expected {name} early")
    return names.index(name)


def _delta(module: Any, tokens: int) -> Tensor:
    """``[tokens, C]`` of the layer's table."""
    table: Tensor = module.condition_table
    return table.index_select(0, module.condition_rows[:tokens])


def _before_first(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return (args[0] + _delta(module, args[0].shape[0]), *args[1:]), kwargs
    return args, _with_states(module, kwargs)


def _before_second(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if len(args) > 1:
        return (args[0], args[1] + _delta(module, args[1].shape[0]), *args[2:]), kwargs
    return args, _with_states(module, kwargs)


_ADD_BEFORE = (_before_first, _before_second)
"""By the place of the stream among a layer's arguments."""


def _with_states(module: nn.Module, kwargs: dict[str, Any]) -> dict[str, Any]:
    states = kwargs["hidden_states"]
    return {**kwargs, "hidden_states": states + _delta(module, states.shape[0])}


def _add_after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """The attention block's output, a tensor or the first of a tuple."""
    if isinstance(output, tuple):
        return (output[0] + _delta(module, output[0].shape[0]), *output[1:])
    return output + _delta(module, output.shape[0])
