"""A linear layer with the low-rank update that belongs to the model.

It is no layer of peft's, on purpose. peft takes an adapter of a name that exists already for the same one,
lets only those run that were asked for last, and merges and removes all together. With a user's adapter, the
model's own update would go without a word. So peft is shown a plain linear layer: what users add lies around
it, and leaves it as it was.
"""

import math
import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from imagebind_llm.common.errors import ConfigError

FILE_ADAPTER = "default"
"""The update's name in files, as peft gave it."""


class Half(nn.Module):
    """One of the two maps of an update. (Not ``nn.Linear``, which peft would take for one of the model's.)"""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """``[…, inputs]`` → ``[…, outputs]``."""
        return functional.linear(x, self.weight)


class OwnLinear(nn.Linear):
    """``base(x) + scale · B(A(dropout(x)))``.

    Args:
        base_layer: the linear layer.
        rank: inner width of the update.
        scale: factor of the update.
        dropout: on the input of the update, in training.

    Attributes:
        merged: the update is folded into the weight of ``base_layer``.
        disabled: the update does not count.
    """

    base_layer: Any

    def __init__(self, base_layer: nn.Module, rank: int, scale: float, dropout: float) -> None:
        nn.Module.__init__(self)
        base: Any = base_layer
        self.in_features, self.out_features = base.in_features, base.out_features
        self.scale = scale
        self.merged = self.disabled = False
        self.base_layer = base
        self.lora_A = nn.ModuleDict({FILE_ADAPTER: Half(self.in_features, rank)})
        self.lora_B = nn.ModuleDict({FILE_ADAPTER: Half(rank, self.out_features)})
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        # peft draws them in this order, so a seed gives the update that it always gave
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        nn.init.zeros_(self.up)
        dtype = base.weight.dtype if base.weight.is_floating_point() else None
        for half in (self.lora_A, self.lora_B):
            half.to(device=base.weight.device, dtype=dtype)
        self.train(base.training)

    def __getattr__(self, name: str) -> Any:
        # peft digs for the innermost "base_layer"; to peft, this layer is it
        if name == "base_layer" and str(sys._getframe(1).f_globals.get("__name__")).startswith("peft."):
            raise AttributeError(name)
        return super().__getattr__(name)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight of the layer below, to read and to change in place."""
        found: Tensor = self._modules["base_layer"].weight  # type: ignore[union-attr,assignment]
        return found

    @property
    def bias(self) -> Tensor | None:  # type: ignore[override]
        """The bias of the layer below."""
        found: Tensor | None = self._modules["base_layer"].bias  # type: ignore[union-attr,assignment]
        return found

    @property
    def down(self) -> nn.Parameter:
        """``A [rank, in]``."""
        found: nn.Parameter = self.lora_A[FILE_ADAPTER].weight  # type: ignore[assignment]
        return found

    @property
    def up(self) -> nn.Parameter:
        """``B [out, rank]``."""
        found: nn.Parameter = self.lora_B[FILE_ADAPTER].weight  # type: ignore[assignment]
        return found

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """``[…, in]`` → ``[…, out]``."""
        base: Any = self._modules["base_layer"]
        result: Tensor = base(x, *args, **kwargs)
        if self.disabled or self.merged:
            return result
        return (result + self.update(x)).to(result.dtype)

    def update(self, x: Tensor) -> Tensor:
        """What the update alone adds: ``[…, in]`` → ``[…, out]``."""
        dropped = self.dropout(x.to(self.down.dtype))
        added: Tensor = self.lora_B[FILE_ADAPTER](self.lora_A[FILE_ADAPTER](dropped)) * self.scale
        return added

    def delta(self) -> Tensor:
        """``scale · B A [out, in]``; halves of 16 bits on a CPU are multiplied in float32, as peft does."""
        down, up = self.down, self.up
        wide = up.device.type == "cpu" and up.dtype in (torch.float16, torch.bfloat16)
        product = (up.float() @ down.float() if wide else up @ down) * self.scale
        return product.to(up.dtype)

    @torch.no_grad()
    def merge(self) -> None:
        """Fold the update into the weight."""
        if not self.merged:
            self.weight.data += self.delta()
            self.merged = True

    def enable_adapters(self, enabled: bool) -> None:
        """Whether the update counts."""
        self.disabled = not enabled


def below_foreign(module: Any) -> Any:
    """The model's own layer under what users' peft adapters wrapped around it."""
    while not isinstance(module, OwnLinear) and isinstance(getattr(module, "base_layer", None), nn.Module):
        module = module.base_layer
    return module


def foreign_adapters(*parts: nn.Module) -> list[str]:
    """Names of all peft adapters in ``parts``."""
    if "peft.tuners" not in sys.modules:  # then nobody added any
        return []
    from peft.tuners.tuners_utils import BaseTunerLayer

    found: dict[str, None] = {}
    for module in (inner for part in parts for inner in part.modules()):
        if isinstance(module, BaseTunerLayer):
            found.update(dict.fromkeys(module._all_available_adapter_names()))
    return list(found)


def refuse_twice(model: nn.Module) -> None:
    """Refuse peft adapters that lie inside the model's own updates, or twice around one.

    That is what ``target_modules="all-linear"`` makes: the layer and its insides are all linear.

    Raises:
        ConfigError: there are some.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in model.named_modules():
        inner = module._modules.get("base_layer")
        if not isinstance(inner, BaseTunerLayer) or not isinstance(below_foreign(module), OwnLinear):
            continue
        raise ConfigError(
            f"two adapters lie around {name}, which holds the model's own update; load the model again, "
            "and name the layers (target_modules=['q_proj', 'v_proj']) instead of 'all-linear'"
        )
