"""Building a model whose weights are about to be replaced."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from imagebind_llm.imagebind.config import ImageBindConfig
from imagebind_llm.imagebind.model import ImageBindModel

_FILLERS = (
    Tensor.normal_,
    Tensor.uniform_,
    Tensor.erfinv_,
    Tensor.clamp_,
    Tensor.add_,
    Tensor.mul_,
    Tensor.fill_,
    Tensor.zero_,
    Tensor.triu,
)


class _WithoutValues(TorchFunctionMode):
    """Skips what would only fill a tensor.

    On the meta device there is nothing to fill, yet the first ``normal_`` or ``triu`` there imports torch's
    compiler, which takes longer than loading a small model.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func in _FILLERS:
            return args[0]
        return func(*args, **kwargs)


def skeleton(config: ImageBindConfig) -> ImageBindModel:
    """The modules of ``config`` on the meta device: names and shapes, no memory, no random numbers drawn."""
    with torch.device("meta"), _WithoutValues():
        return ImageBindModel(config)
