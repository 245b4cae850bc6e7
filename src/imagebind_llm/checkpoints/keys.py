"""Moving tensors between two key layouts, with every key accounted for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from imagebind_llm.common.tensor_files import require_same_keys


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
