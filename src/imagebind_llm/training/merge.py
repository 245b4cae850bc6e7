"""Collect towers that were trained in separate runs into one encoder."""

from collections.abc import Sequence
from pathlib import Path

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.encoders.imagebind import load_imagebind, save_imagebind
from imagebind_llm.training.encoders import in_tower


def merge_towers(base: Path, towers: Sequence[Path], out: Path) -> str:
    """Write ``out``: the encoder ``base`` with, from each folder of ``towers``, the one tower that differs
    from base.

    Returns:
        The fingerprint of the new encoder.

    Raises:
        CheckpointError: a folder has another configuration or other vision weights, or differs in no tower,
            or two folders bring the same tower.
    """
    model = load_imagebind(base)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    taken: dict[str, Path] = {}
    for folder in towers:
        other = load_imagebind(folder)
        if other.config != model.config:
            raise CheckpointError(
                f"{folder} has another encoder configuration than {base}; train it from {base}"
            )
        found = other.state_dict()
        names = [name for name, _ in model.config.parts()]
        changed = [
            trunk
            for trunk in names
            if any(
                in_tower(name, trunk) and not tensor.equal(found[name])
                for name, tensor in model.state_dict().items()
            )
        ]
        if "vision" in changed:
            raise CheckpointError(
                f"{folder} has other vision weights than {base}, so its towers lead into another space; "
                f"train them from {base}"
            )
        if not changed:
            raise CheckpointError(
                f"{folder} differs from {base} in no tower; give the export of a finished run"
            )
        for trunk in changed:
            if trunk in taken:
                raise CheckpointError(
                    f"{folder} and {taken[trunk]} both bring the tower {trunk!r}; give one of them"
                )
            taken[trunk] = folder
            state.update({name: tensor for name, tensor in found.items() if in_tower(name, trunk)})
    model.load_state_dict(state)
    save_imagebind(model, out)
    return load_imagebind(out).fingerprint
