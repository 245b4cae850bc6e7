"""Saving a run so that it goes on bit for bit: trained tensors, optimizer moments, step.

A checkpoint is continued only by the run it belongs to; the run's configuration and versions lie beside it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imagebind_llm.common.errors import CheckpointError, ConfigError, reason_of
from imagebind_llm.common.files import atomic_write, check_sums, load_json, write_sums
from imagebind_llm.common.folders import (
    atomic_directory,
    claim,
    foreign_file,
    remove_folder,
    require_replaceable,
)
from imagebind_llm.common.leftovers import sweep
from imagebind_llm.common.provenance import commit, versions
from imagebind_llm.common.settings import build, flatten, to_plain, unflatten
from imagebind_llm.training.parallel import divided_like, full, local

_HARMLESS = (
    "run.folder", "run.threads", "run.prefetch", "run.workers", "run.log_every", "run.evaluate_every",
    "run.checkpoint_every", "run.checkpoint_minutes", "run.keep", "run.resume", "run.samples",
    "run.tensorboard", "run.explosion", "run.sharding", "run.compile", "run.attention",
    "run.gradient_checkpointing", "evaluate_items", "data.test_sources", "data.max_bad_share",
)  # fmt: skip
"""Settings that may change between a run and its continuation without changing what is learnt."""


def refuse_another_recipe(checkpoint: Path, before: Mapping[str, Any], recipe: Any) -> None:
    """Compare the flat recipe stored in ``checkpoint`` with ``recipe``.

    Raises:
        ConfigError: a setting changed that matters for what is learnt.
    """
    then = _members(_with_defaults(before, type(recipe)))
    now = _members(flatten(to_plain(recipe)))
    changed = [
        f"{key} ({then.get(key)!r} then, {now.get(key)!r} now)"
        for key in sorted(set(then) | set(now))
        if key.partition("[")[0] not in _HARMLESS and then.get(key) != now.get(key)
    ]
    if changed:
        raise ConfigError(
            f"{checkpoint} was made by another recipe: {'; '.join(changed[:4])}; use another run.folder, "
            "or run.resume=never to start over, or run.resume=force to go on regardless"
        )


def refuse_other_data(checkpoint: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Compare fingerprints of data sources.

    Raises:
        ConfigError: one changed, came or went.
    """
    changed = sorted(name for name in set(before) | set(now) if before.get(name) != now.get(name))
    if changed:
        raise ConfigError(
            f"{checkpoint} was made with other data ({', '.join(changed[:4])} changed); put them back, "
            "or use run.resume=never to start over, or run.resume=force to go on regardless"
        )


def _with_defaults(flat: Mapping[str, Any], kind: type[Any]) -> Mapping[str, Any]:
    """A recipe stored before a setting existed had what is now that setting's default."""
    try:
        return flatten(to_plain(build(kind, unflatten(flat))))
    except ConfigError:  # it has a setting that is gone: say so by comparing as it is
        return flat


def _members(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"sources": [{"path": "x"}]}`` as ``{"sources[0].path": "x"}``, so that what changed can be named."""
    found: dict[str, Any] = {}
    for key, value in flat.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value):
                found |= {f"{key}[{number}].{name}": inner for name, inner in flatten(item).items()}
        else:
            found[key] = value
    return found


_REPORTED_PACKAGES = ("imagebind-llm", "torch", "transformers", "accelerate", "peft", "safetensors", "numpy")


def save_run_config(stage: str, recipe: Any, folder: Path) -> None:
    """Write ``recipe.yaml``: the run config, loadable again as it is, and the versions in
    comments."""
    found = [f"# {package} {number}" for package, number in versions(_REPORTED_PACKAGES).items()]
    made_by = commit()
    if made_by:
        found.append(f"# commit {made_by}")
    text = yaml.safe_dump({"stage": stage, **to_plain(recipe)}, sort_keys=False, allow_unicode=True)
    with atomic_write(folder / "recipe.yaml") as temporary:
        temporary.write_text("\n".join(found) + "\n" + text, encoding="utf-8")


FORMAT = 2
"""Version of the checkpoint layout."""

_STATE, _TRAINED, _MOMENTS = "state.json", "trained.safetensors", "optimizer.safetensors"
_FOLDER = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class TrainedTensors:
    """Everything a run changes besides the optimizer, by name; ``average`` is empty without EMA."""

    parameters: dict[str, nn.Parameter]
    buffers: dict[str, Tensor]
    average: dict[str, Tensor]

    def named(self) -> dict[str, Tensor]:
        """Parameters and buffers under the names they have in a checkpoint."""
        found: dict[str, Tensor] = {f"parameter/{name}": tensor for name, tensor in self.parameters.items()}
        return found | {f"buffer/{name}": tensor for name, tensor in self.buffers.items()}

    def named_averages(self) -> dict[str, Tensor]:
        """The averages likewise."""
        return {f"average/{name}": tensor for name, tensor in self.average.items()}


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: TrainedTensors,
    optimizer: torch.optim.Optimizer,
    notes: dict[str, Any],
    keep: int,
    write: bool = True,
) -> Path:
    """Write ``folder/step-XXXXXXXX`` atomically and drop all but the newest ``keep``.

    Divided tensors are collected, so all processes of a run must call this; only one has ``write``.

    Args:
        notes: plain values to be found again in the header: ``recipe`` (flat, to tell on resuming what
            changed), ``guard`` (what the run remembers of its loss), ``data`` (fingerprints).
    """
    weights = _whole({**tensors.named(), **tensors.named_averages()}, write)
    moments = _whole(_optimizer_tensors(tensors, optimizer), write)
    target = folder / f"step-{step:08d}"
    if not write:
        return target
    with atomic_directory(target) as temporary:
        save_file(weights, temporary / _TRAINED)
        save_file(moments, temporary / _MOMENTS)
        header = {"format": FORMAT, "step": step, **notes}
        (temporary / _STATE).write_text(json.dumps(header, indent=1), encoding="utf-8")
        write_sums(temporary)
    for old in list_checkpoints(folder)[:-keep]:
        if foreign_file(old) is None:
            remove_folder(old)
    return target


_WRITES = (
    *("checkpoints", "export", "samples", "tensorboard", "images"),
    *("recipe.yaml", "metrics.jsonl", "loss.png", "quarantine*.jsonl", ".lock"),
)
"""What runs write into their folder."""


def claim_run_folder(folder: Path) -> None:
    """Make ``folder`` a run's, before anything is written there.

    Raises:
        ConfigError: files lie there that a run would write, and no run of ours has.
    """
    claim(folder, _WRITES, ConfigError)


def start_over(folder: Path) -> None:
    """Remove what an earlier run left in a folder of runs, and nothing else.

    Raises:
        ConfigError: there is more in the export or in a checkpoint than a run writes.
    """
    whole = [*list_checkpoints(folder / "checkpoints"), folder / "export"]
    for made in whole:
        require_replaceable(made, ConfigError)  # all or nothing
    for made in whole:
        remove_folder(made, ConfigError)
    for pattern in ("samples/step-*.md", "tensorboard/events.out.tfevents.*"):
        for file in folder.glob(pattern):
            file.unlink()
    for name in ("checkpoints", "samples", "tensorboard"):
        with suppress(OSError):  # somebody put something else into it
            (folder / name).rmdir()


def remove_remains(folder: Path) -> None:
    """Delete what a killed process left half-written in a run's folder."""
    for place in (folder, folder / "checkpoints", folder / "samples"):
        sweep(place)


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = [path for path in folder.glob("step-*") if _FOLDER.fullmatch(path.name)]
    return sorted(found)


def read_header(path: Path) -> dict[str, Any]:
    """``{"format", "step", "recipe", …}`` of a checkpoint.

    Raises:
        CheckpointError: it is not what was written, unreadable, or of another format.
    """
    with _refusing_damage(path):
        header: dict[str, Any] = load_json(path / _STATE)
        if isinstance(header, dict) and header.get("format") == FORMAT:
            check_sums(path, _STATE)
            if type(header.get("step")) is not int or not isinstance(header.get("recipe"), dict):
                raise ValueError(f"{_STATE} has no step and recipe")
            return header
    found = header.get("format") if isinstance(header, dict) else None
    raise CheckpointError(
        f"checkpoint {path} has format {found!r:.60}; this version reads {FORMAT}: "
        "start over with run.resume=never"
    )


@contextmanager
def _refusing_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged ({reason_of(error)}); delete it to use an older one"
        ) from None


def load_checkpoint(path: Path, tensors: TrainedTensors, optimizer: torch.optim.Optimizer) -> None:
    """Copy a checkpoint into the tensors and the optimizer, in place.

    Raises:
        CheckpointError: a file is not what was written, or names or shapes differ from what this run trains.
    """
    with _refusing_damage(path):
        check_sums(path, _TRAINED, _MOMENTS)
        weights, moments = load_file(path / _TRAINED), load_file(path / _MOMENTS)
    expected = {**tensors.named(), **tensors.named_averages()}
    _check(path, weights, expected)
    with torch.no_grad():
        for name, tensor in expected.items():
            local(tensor).copy_(local(divided_like(tensor, weights[name])))
    for name, parameter in tensors.parameters.items():
        state = {
            kind: _like(parameter, moments[f"{kind}/{name}"])
            for kind in ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")
            if f"{kind}/{name}" in moments
        }
        if state:
            optimizer.state[parameter] = state


def _like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """``value`` on the parameter's device and in its memory order: fused AdamW walks both side by side."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    found = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
    local(found).copy_(local(divided_like(found, value)))
    return found


def _optimizer_tensors(tensors: TrainedTensors, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, parameter in tensors.parameters.items():
        for kind, value in optimizer.state.get(parameter, {}).items():
            found[f"{kind}/{name}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return found


def _whole(tensors: dict[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Plain whole copies on the CPU (channels-last weights in the ordinary order); nothing without
    ``keep``."""
    found = {}
    for name, tensor in tensors.items():
        value = full(tensor.detach())
        if keep:
            found[name] = value.cpu().contiguous().clone()
    return found


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
