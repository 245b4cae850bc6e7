"""What the generators on diffusers' pipelines share: opening them, their seeds, their progress bars."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from imagebind_llm.common.errors import CheckpointError, UserError, reason_of, require
from imagebind_llm.inference.loading import choose_device
from imagebind_llm.skills.generation.contract import Settings, Wish


def open_pipeline(class_name: str, name: str, weights: str | None, device: str) -> Any:
    """A pipeline of diffusers from its folder or hub id; safetensors only.

    Args:
        class_name: of diffusers.
        name: of the generator, for messages.
        weights: folder or hub id.
        device: ``"auto"`` is the first GPU, else the CPU. On a GPU the pipeline is in float16.

    Raises:
        UserError: no weights are given.
        CheckpointError: they are not there, or of another pipeline.
        MissingExtraError: diffusers is not installed.
    """
    if weights is None:
        raise UserError(
            f"the generator {name!r} brings no weights; give --weights DIR or HUB_ID, a {class_name} in "
            "diffusers' format"
        )
    diffusers = require("diffusers", "generate", f"the generator {name!r}")
    folder = Path(weights).expanduser()
    if folder.is_dir():
        _check_class(folder, class_name)
    chosen = choose_device(device)
    dtype = torch.float32 if chosen.type == "cpu" else torch.float16
    try:
        pipeline = getattr(diffusers, class_name).from_pretrained(
            folder if folder.is_dir() else weights, use_safetensors=True, torch_dtype=dtype
        )
    except Exception as error:  # the hub's, diffusers' and transformers' own
        raise CheckpointError(
            f"no {class_name} can be opened from {weights!r}: {reason_of(error)}"
        ) from error
    return pipeline.to(chosen)


def _check_class(folder: Path, class_name: str) -> None:
    """Refuse a folder of something else, in one line.

    Raises:
        CheckpointError: it is.
    """
    from imagebind_llm.common.files import read_json

    index = folder / "model_index.json"
    if not index.is_file():
        raise CheckpointError(f"the folder {str(folder)!r} has no model_index.json, so it holds no pipeline")
    found = read_json(index).get("_class_name")
    if found != class_name:
        raise CheckpointError(f"{str(folder)!r} holds a {found}; expected a {class_name}")


def show_progress(pipeline: Any, settings: Settings) -> None:
    """Let the pipeline show its bar on terminals, or not at all."""
    pipeline.set_progress_bar_config(
        desc="imagine", unit="step", disable=None if settings.progress else True, leave=False
    )


def seeded(pipeline: Any, seeds: Sequence[int]) -> list[torch.Generator]:
    """A random generator for each thing, on the CPU, so that no device changes the noise."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def options(settings: Settings, **more: Any) -> dict[str, Any]:
    """The settings that pipelines name alike, and ``more`` that are not None."""
    found = {
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance,
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


def descriptions(wishes: Sequence[Wish]) -> list[str]:
    """The words of the wishes.

    Raises:
        UserError: one has none.
    """
    for wish in wishes:
        if not wish.description.strip():
            raise UserError("this generator reads words; give them with --description")
    return [wish.description for wish in wishes]
