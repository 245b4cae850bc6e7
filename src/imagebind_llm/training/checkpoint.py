"""Saving a run so that it goes on bit for bit: trained tensors, optimizer moments, step. All its state."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imagebind_llm.errors import CheckpointError
from imagebind_llm.files import atomic_directory

FORMAT = 1
"""Version of the checkpoint layout."""

_FOLDER = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class TrainedTensors:
    """Everything a run changes besides the optimizer, by name; ``average`` is empty without EMA."""

    parameters: dict[str, nn.Parameter]
    buffers: dict[str, Tensor]
    average: dict[str, Tensor]


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: TrainedTensors,
    optimizer: torch.optim.Optimizer,
    recipe: dict[str, Any],
    keep: int,
) -> Path:
    """Write ``folder/step-XXXXXXXX`` atomically and drop all but the newest ``keep``.

    ``recipe`` is stored flat, to tell on resuming what changed.
    """
    target = folder / f"step-{step:08d}"
    with atomic_directory(target) as temporary:
        weights: dict[str, Tensor] = {
            f"parameter/{name}": tensor for name, tensor in tensors.parameters.items()
        }
        weights |= {f"buffer/{name}": tensor for name, tensor in tensors.buffers.items()}
        weights |= {f"average/{name}": tensor for name, tensor in tensors.average.items()}
        save_file(_contiguous(weights), temporary / "trained.safetensors")
        save_file(_contiguous(_optimizer_tensors(tensors, optimizer)), temporary / "optimizer.safetensors")
        header = {"format": FORMAT, "step": step, "recipe": recipe}
        (temporary / "state.json").write_text(json.dumps(header, indent=1), encoding="utf-8")
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = [path for path in folder.glob("step-*") if _FOLDER.fullmatch(path.name)]
    return sorted(found)


def read_header(path: Path) -> dict[str, Any]:
    """``{"format", "step", "recipe"}`` of a checkpoint.

    Raises:
        CheckpointError: it is unreadable or of another format.
    """
    try:
        header: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({error}); delete it to use an older one"
        ) from None
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {path} has format {header.get('format')}; this version reads {FORMAT}: "
            "start over with run.resume=never"
        )
    return header


def load_checkpoint(path: Path, tensors: TrainedTensors, optimizer: torch.optim.Optimizer) -> None:
    """Copy a checkpoint into the tensors and the optimizer, in place.

    Raises:
        CheckpointError: names or shapes differ from what this run trains.
    """
    weights = load_file(path / "trained.safetensors")
    expected: dict[str, Tensor] = {f"parameter/{name}": tensor for name, tensor in tensors.parameters.items()}
    expected |= {f"buffer/{name}": tensor for name, tensor in tensors.buffers.items()}
    expected |= {f"average/{name}": tensor for name, tensor in tensors.average.items()}
    _check(path, weights, expected)
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(weights[name])
    moments = load_file(path / "optimizer.safetensors")
    for name, parameter in tensors.parameters.items():
        state = {
            kind: _like(parameter, moments[f"{kind}/{name}"])
            for kind in ("step", "exp_avg", "exp_avg_sq")
            if f"{kind}/{name}" in moments
        }
        if state:
            optimizer.state[parameter] = state


def _like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """``value`` on the parameter's device and in its memory order: fused AdamW walks both side by side."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def _optimizer_tensors(tensors: TrainedTensors, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, parameter in tensors.parameters.items():
        for kind, value in optimizer.state.get(parameter, {}).items():
            found[f"{kind}/{name}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return found


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Plain copies: channels-last weights are stored in the ordinary order."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _check(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, unexpected = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or unexpected:
        raise CheckpointError(
            f"checkpoint {path} lacks {missing[:3]} and has unexpected {unexpected[:3]} "
            f"({len(missing)} and {len(unexpected)} in all); it is of another recipe: use run.resume=never"
        )
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise CheckpointError(
                f"checkpoint {path} holds {name} of shape {tuple(found[name].shape)}, "
                f"expected {tuple(tensor.shape)}; it is of another recipe: use run.resume=never"
            )
