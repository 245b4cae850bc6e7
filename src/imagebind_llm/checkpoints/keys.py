"""Moving tensors between two key layouts, with every key accounted for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from imagebind_llm.errors import CheckpointError

_SHOWN = 4


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


def require_same_keys(expected: Iterable[str], found: Iterable[str], what: str) -> None:
    """Check two sets of keys for equality.

    Raises:
        CheckpointError: they differ; the message names some of the missing and of the unexpected keys.
    """
    wanted, given = set(expected), set(found)
    if wanted == given:
        return
    parts = [
        f"{len(names)} {kind} ({_some(names)})"
        for kind, names in (("missing", wanted - given), ("unexpected", given - wanted))
        if names
    ]
    raise CheckpointError(
        f"{what} does not hold exactly the {len(wanted)} expected tensors: {', '.join(parts)}; "
        "check that the file is complete and made for this configuration"
    )


def require_same_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str) -> None:
    """Check the shapes of tensors that both sides have, and that whole numbers are where they should be.

    Raises:
        CheckpointError: naming the first tensors that differ, with both shapes, or the first number type.
    """
    wrong = [
        f"{key} {list(found[key].shape)} instead of {list(expected[key].shape)}"
        for key in sorted(expected.keys() & found.keys())
        if expected[key].shape != found[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise CheckpointError(
            f"{what} has tensors of other shapes: {'; '.join(wrong[:_SHOWN])}{more}; "
            "check that it was made for a model of these sizes"
        )
    for key in sorted(expected.keys() & found.keys()):
        if expected[key].is_floating_point() != found[key].is_floating_point():
            raise CheckpointError(
                f"{what} has a tensor of another number type: {key} {found[key].dtype} instead of "
                f"{expected[key].dtype}; check that it was made for a model of this kind"
            )


def _changed(change: Callable[[Tensor], Tensor] | None, tensor: Tensor) -> Tensor:
    return tensor if change is None else change(tensor)


def _some(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (", …" if len(names) > _SHOWN else "")
