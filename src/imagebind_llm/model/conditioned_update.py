"""Low-rank updates that act only on tokens that see a condition.

As published, an update acts on every token, so a model that learned to caption has also changed what it says
about plain words. An update with ``tokens: conditioned`` acts where the injection acts: on tokens that see a
condition. Every other token is computed by the language model as published, bit for bit. The updates of
Phi-4-Multimodal (arXiv 2503.01743, section 2.2) are switched in the same way, there by modality.

What the tokens see travels as an argument to the attention blocks (:mod:`.injection`), but not to the linear
layers inside or to the MLP. So it is noted, per thread, when an attention block is entered. That comes first
in each decoder layer of all families, also when gradient checkpointing computes a layer again. Where
injection style ``"value"`` makes its deltas, all updates count: they are about a condition. A linear
layer that is called alone, outside of its decoder layer, acts as the layer that this thread computed last.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.model.own_update import FILE_ADAPTER, OwnLinear

ARGUMENT = "condition_deltas"
"""The keyword argument under which deltas travel through the language model."""


class _Noted(threading.local):
    """Which tokens of the decoder layer that this thread computes see a condition: ``[B, T, 1]``, or all, or
    none."""

    seeing: Tensor | bool = True


_noted = _Noted()


class ConditionedLinear(OwnLinear):
    """``base(x) + scale · B(A(dropout(x)))`` for tokens that see a condition, ``base(x)`` for others."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """``[B, T, in]`` → ``[B, T, out]``."""
        if _noted.seeing is False:
            base: Any = self._modules["base_layer"]
            plain: Tensor = base(x, *args, **kwargs)
            return plain
        return super().forward(x, *args, **kwargs)

    def update(self, x: Tensor) -> Tensor:
        """What the update adds: ``[B, T, in]`` → ``[B, T, out]``."""
        seeing = _noted.seeing
        inner: Tensor = self.lora_A[FILE_ADAPTER](self.dropout(x.to(self.down.dtype)))
        if isinstance(seeing, Tensor):
            inner = inner.masked_fill(~seeing.to(inner.device), 0)
        added: Tensor = self.lora_B[FILE_ADAPTER](inner) * self.scale
        return added

    def merge(self) -> None:
        """Refused: a weight is the same for all tokens.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "this model's low-rank updates act only on tokens that see a condition, so they cannot be folded "
            "into the weights"
        )


def note_conditions(attention: nn.Module) -> None:
    """Have the attention block of a decoder layer note which tokens see a condition."""
    attention.register_forward_pre_hook(_note, prepend=True, with_kwargs=True)


@contextmanager
def about_conditions() -> Iterator[None]:
    """All that is computed inside is about conditions, not about tokens."""
    before, _noted.seeing = _noted.seeing, True
    try:
        yield
    finally:
        _noted.seeing = before


def _note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    given = kwargs.get(ARGUMENT)
    _noted.seeing = False if given is None else given.seeing
