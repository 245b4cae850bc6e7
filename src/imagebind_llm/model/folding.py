"""A linear layer with its low-rank update folded into a copy of the weight.

Injection style ``"value"`` needs the value projection without its update, tokens need it with the update.
Kept apart, the update costs several small operations a layer in every decoding step. A copy of the weight
with the update folded in costs none; it takes the memory of one more value projection a layer. The weight and
the update themselves do not change: they are saved, fingerprinted and trained as if there were no copy.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from imagebind_llm.model.own_update import OwnLinear


class FoldedLinear(OwnLinear):
    """A low-rank linear layer that computes with its folded copy.

    It becomes a plain low-rank map again when it goes into training mode, reads weights, or is asked for its
    weight.

    Attributes:
        folded_weight: ``[out, in]``; a buffer that moves with the module and is not part of the state dict.
    """

    folded_weight: Tensor

    def forward(  # type: ignore[override]
        self, x: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """``[…, in]`` → ``[…, out]``."""
        if self.disabled or args or kwargs:
            return super().forward(x, *args, **kwargs)
        return functional.linear(x, self.folded_weight, self.bias)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight, which whoever asks may change (peft, to merge a user's adapter): so the copy goes."""
        unfold(self)
        return self.weight

    def train(self, mode: bool = True) -> "FoldedLinear":
        """Training changes the update, so the copy goes."""
        if mode:
            unfold(self)
        OwnLinear.train(self, mode)  # not super(): the class may just have changed
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        unfold(self)
        OwnLinear._load_from_state_dict(self, *args, **kwargs)


@torch.no_grad()
def fold_copy(module: Any) -> None:
    """Let a low-rank linear layer compute with a folded copy of its weight, until it goes into training mode.

    Only for plain matrices of floats in memory. Others stay as they are.
    """
    if type(module) is not OwnLinear or module.merged:
        return
    weight = module.weight
    if not weight.is_floating_point() or weight.ndim != 2 or weight.is_meta:
        return
    copy = weight.detach().clone()
    copy += module.delta().to(copy)
    module.register_buffer("folded_weight", copy, persistent=False)
    module.__class__ = FoldedLinear


def unfold(module: Any) -> None:
    """Drop the folded copy of a map, if it has one. What it leaves is bit for bit what it was."""
    if isinstance(module, FoldedLinear):
        plain: Any = module
        del plain.folded_weight
        plain.__class__ = OwnLinear
