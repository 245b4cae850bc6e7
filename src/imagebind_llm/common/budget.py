"""Building modules that a configuration describes: no larger than the weight files beside it allow.

A configuration is a few kilobytes that anybody may write; ``num_hidden_layers: 1000000000`` would take all
memory before the first weight is compared. So every tensor that is made is counted before it is made.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from imagebind_llm.common.errors import CheckpointError, UserError, one_line, reason_of
from imagebind_llm.common.tensor_files import TensorInfo

NUMBERS_A_BYTE = 2
"""Weights of four bits are the narrowest that are stored; those of two names (tied) may be stored once."""
MORE_NUMBERS = 10**7
"""For what is computed, not stored: masks, tables of positions."""
TENSORS_A_TENSOR, MORE_TENSORS = 4, 2000
MOST_TENSORS = 200_000
MOST_LAYERS = 4096
"""Of anything that is counted in layers or blocks. The deepest published models have some hundred."""

_SIZED = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn)


class _Budget(TorchFunctionMode):
    """Refuses to make the tensor that is too many, or one number too many."""

    def __init__(self, numbers: int, tensors: int) -> None:
        super().__init__()
        self._numbers, self._tensors = numbers, tensors

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _SIZED or func is torch.full or func is torch.arange:
            self._tensors -= 1
            self._numbers -= _count(func, args, kwargs)
            if self._numbers < 0 or self._tensors < 0:
                raise CheckpointError("it describes more weights than there are")
        return func(*args, **kwargs)


def _count(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many numbers a call will make; 0 if its arguments are none (it will say so itself)."""
    if func is torch.arange:
        start, end, step = (0, *args, 1) if len(args) == 1 else (*args, 1)[:3] if args else (0, 0, 1)
        end = kwargs.get("end", end)
        sides: Any = ((end - start) / step,)
    else:
        sides = kwargs.get("size", args)
        if sides and isinstance(sides[0], list | tuple):
            sides = sides[0]
    return math.prod(int(side) for side in sides if isinstance(side, int | float))


@contextmanager
def built_from(config: Path | str, stored: Mapping[str, TensorInfo] | None) -> Iterator[None]:
    """Make modules from a configuration inside; in memory or on the meta device.

    Args:
        config: where it is, for messages.
        stored: the weights that belong to it; ``None``: not known, only the number of tensors is bounded, so
            use the meta device.

    Raises:
        CheckpointError: no modules can be made of it, or larger ones than the weights are.
    """
    numbers, tensors = 2**62, MOST_TENSORS
    if stored is not None:
        size = sum(math.prod(info.shape) * info.dtype.itemsize for info in stored.values())
        numbers = NUMBERS_A_BYTE * size + MORE_NUMBERS
        tensors = TENSORS_A_TENSOR * len(stored) + MORE_TENSORS
    try:
        with _Budget(numbers, tensors):
            yield
    except CheckpointError as error:
        raise CheckpointError(f"no model can be built from {str(config)!r}: {error}") from error
    except UserError:
        raise
    except Exception as error:  # what modules make of odd values has many names
        reason = one_line(f"{type(error).__name__}: {reason_of(error)}", 200)
        raise CheckpointError(
            f"no model can be built from {str(config)!r} ({reason}); get the file again"
        ) from error


def refuse_many_layers(values: Any, where: str) -> None:
    """Find counts of layers beyond all reason in plain values, before a list of as many is made of them.

    Raises:
        CheckpointError: naming the setting.
    """
    if isinstance(values, Mapping):
        for key, value in values.items():
            counts = isinstance(key, str) and ("layer" in key or "block" in key or key.endswith("depth"))
            if counts and isinstance(value, int | float) and value > MOST_LAYERS:
                raise CheckpointError(
                    f"{where} has {one_line(key, 60)} {value}; expected at most {MOST_LAYERS}"
                )
            refuse_many_layers(value, where)
    elif isinstance(values, list):
        for value in values:
            refuse_many_layers(value, where)
