"""Making modules whose values are about to be replaced: no random number is drawn for them."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

_RANDOM = (Tensor.normal_, Tensor.uniform_)
_INITIALISERS = ("torch.nn.init", "transformers.initialization")  # the latter take the former's places


class WithoutRandomValues(TorchFunctionMode):
    """Inside it, in this thread, parameters stay as their memory is; buffers are computed as always.

    Not for modules that draw until a value fits (torch's ``trunc_normal_``), as the encoder's do: those are
    made on the meta device.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _RANDOM or getattr(func, "__module__", None) in _INITIALISERS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
