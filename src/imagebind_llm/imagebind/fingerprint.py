"""A short name for "this encoder with these weights"."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor, nn

from imagebind_llm.common.fingerprint import fingerprint_state_dict


class Described(Protocol):
    """A configuration that can say all its values."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        ...


def fingerprint(config: Described, weights: Mapping[str, Tensor]) -> str:
    """16 hex digits of SHA-256 over the configuration and every floating-point tensor of ``weights``.

    Tensors count as float16, in any order: a model saved in float16 keeps its fingerprint. Whole-number
    buffers (BatchNorm's batch counter) do not count, as no embedding depends on them. bfloat16 is coarser
    than float16, so weights rounded to it are other weights; ``load_imagebind`` takes the fingerprint before
    it rounds.
    """
    floats = {name: tensor for name, tensor in weights.items() if tensor.is_floating_point()}
    return fingerprint_state_dict(floats, header=json.dumps(config.to_dict(), sort_keys=True))


class FingerprintCache:
    """Remembers a model's fingerprint until one of its tensors is written to or replaced."""

    def __init__(self) -> None:
        self._value: str | None = None
        self._state: tuple[tuple[int, int], ...] = ()

    def get(self, config: Described, model: nn.Module) -> str:
        """The fingerprint of ``model`` as it is now."""
        state = _state(model)
        if self._value is None or state != self._state:
            self._value, self._state = fingerprint(config, model.state_dict()), state
        return self._value

    def put(self, value: str, model: nn.Module) -> None:
        """Take ``value`` as the fingerprint of ``model`` until its weights change."""
        self._value, self._state = value, _state(model)

    @contextmanager
    def kept(self, model: nn.Module) -> Iterator[None]:
        """What happens to the tensors inside (a move, a cast) leaves a known fingerprint valid."""
        valid = self._value is not None and _state(model) == self._state
        yield
        if valid:
            self._state = _state(model)


def _state(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """Where each float tensor lies and how often it was written to (torch counts in-place changes)."""
    floats = (t for t in [*model.parameters(), *model.buffers()] if t.is_floating_point())
    return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in floats)
