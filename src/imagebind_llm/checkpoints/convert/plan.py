"""What a conversion will do: every tensor of the result, where it comes from, and its key on both sides."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.tensor_files import TensorInfo, TensorSource, require_same_keys


@dataclass(frozen=True)
class KeyRule:
    """One tensor: its key there, its key here, and what happens to its values on the way here and back."""

    theirs: str
    ours: str
    forward: Callable[[Tensor], Tensor] | None = None
    backward: Callable[[Tensor], Tensor] | None = None


def to_ours(rules: Iterable[KeyRule], state: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Rename (and reorder) the tensors of ``state`` to our layout.

    Args:
        rules: one for each expected tensor.
        state: tensors by their key there.
        what: what ``state`` is, for the message.

    Raises:
        CheckpointError: a key is missing or unexpected.
    """
    by_key = {rule.theirs: rule for rule in rules}
    require_same_keys(by_key, state, what)
    return {rule.ours: _changed(rule.forward, state[key]) for key, rule in by_key.items()}


def to_theirs(rules: Iterable[KeyRule], state: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The inverse of :func:`to_ours`."""
    by_key = {rule.ours: rule for rule in rules}
    require_same_keys(by_key, state, what)
    return {rule.theirs: _changed(rule.backward, state[key]) for key, rule in by_key.items()}


def _changed(change: Callable[[Tensor], Tensor] | None, tensor: Tensor) -> Tensor:
    return tensor if change is None else change(tensor)


DTYPES = {"keep": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class OutTensor:
    """One tensor of the result.

    Attributes:
        name: its name in the result.
        info: its shape and number type there.
        origin: its name in the source.
        read: gives its values; called once, when it is written.
        change: what happens to the values on the way, in words.
    """

    name: str
    info: TensorInfo
    origin: str
    read: Callable[[], Tensor]
    change: str = ""

    @property
    def bytes(self) -> int:
        """Size on disk."""
        count = 1
        for side in self.info.shape:
            count *= side
        return count * self.info.dtype.itemsize

    def cast(self, dtype: torch.dtype | None) -> "OutTensor":
        """The same tensor in another precision; whole numbers stay, ``None`` changes nothing."""
        if dtype is None or not self.info.dtype.is_floating_point or self.info.dtype == dtype:
            return self
        name = str(dtype).removeprefix("torch.")
        change = ", ".join(filter(None, (self.change, f"{name} from {str(self.info.dtype)[6:]}")))
        read = self.read
        return OutTensor(
            self.name, TensorInfo(self.info.shape, dtype), self.origin, lambda: read().to(dtype), change
        )

    def to_dict(self) -> dict[str, Any]:
        """For the dry run."""
        return {
            "from": self.origin,
            "to": self.name,
            "shape": list(self.info.shape),
            "dtype": str(self.info.dtype).removeprefix("torch."),
            "change": self.change,
        }


@dataclass(frozen=True)
class Plan:
    """A conversion before it happens.

    Attributes:
        kind: the command's name: ``imagebind``, ``llama``, ``delta`` or ``adapter``.
        tensors: the whole result, in the order of writing.
        sources: what they are read from.
        finish: writes the small files (configuration, tokenizer) into the folder given.
        dropped: tensors of the source that are left out, and why.
        summary: what is worth telling people, for example the stage.
        stem: name of the weight file without its suffix.
        metadata: of the safetensors files.
        single: keep all tensors in one file.
    """

    kind: str
    tensors: Sequence[OutTensor]
    sources: Sequence[TensorSource]
    finish: Callable[[Path], None]
    dropped: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    stem: str = "model"
    metadata: Mapping[str, str] = field(default_factory=lambda: {"format": "pt"})
    single: bool = False

    @property
    def bytes(self) -> int:
        """Size of all tensors."""
        return sum(tensor.bytes for tensor in self.tensors)

    def release(self) -> None:
        """Forget mapped pages of all sources."""
        for source in self.sources:
            source.release()

    def to_dict(self) -> dict[str, Any]:
        """For the dry run: what becomes what."""
        return {
            "kind": self.kind,
            "bytes": self.bytes,
            "tensors": [tensor.to_dict() for tensor in self.tensors],
            "dropped": dict(self.dropped),
            **self.summary,
        }


def parse_dtype(name: str) -> torch.dtype | None:
    """The precision to write; ``None`` for ``"keep"``.

    Raises:
        UserError: there is none of that name.
    """
    if name not in DTYPES:
        raise UserError(f"unknown dtype {name!r}; use {', '.join(DTYPES)}")
    return DTYPES[name]


def as_they_are(source: TensorSource, names: Iterable[str]) -> list[OutTensor]:
    """Tensors that keep their name and values."""
    return [OutTensor(name, source.infos[name], name, _reader(source, name)) for name in names]


def _reader(source: TensorSource, name: str) -> Callable[[], Tensor]:
    return lambda: source.get(name)
