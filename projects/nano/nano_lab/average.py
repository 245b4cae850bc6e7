"""The mean of fine-tuned models of which one went on from the other: one model, mostly as good as the better
of them (Wortsman et al. 2022, "Model soups").

    python -m nano_lab.build average OUT MODEL MODEL
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.folders import atomic_directory

_WEIGHTS = "model.safetensors"


def average(models: Sequence[Path], out: Path) -> None:
    """Write ``out``: the last of the model folders with the mean of all their weights.

    Tensors that are the same in all of them stay as they are, bit for bit.

    Raises:
        CheckpointError: they are fewer than two, one has no weights, or other tensors or sizes of them.
    """
    if len(models) < 2:
        raise CheckpointError(f"{len(models)} model folders were given; a mean needs two or more")
    for folder in models:
        if not (folder / _WEIGHTS).is_file():
            raise CheckpointError(f"{folder} has no {_WEIGHTS}; give the export of a finished run")
    every = [load_file(folder / _WEIGHTS) for folder in models]
    last = every[-1]
    for folder, other in zip(models, every, strict=True):
        if {name: t.shape for name, t in other.items()} != {name: t.shape for name, t in last.items()}:
            raise CheckpointError(f"{folder} has other weights than {models[-1]}; give rounds of one model")
    mean = {
        name: tensor
        if all(other[name].equal(tensor) for other in every)
        else torch.stack([other[name] for other in every]).mean(0)
        for name, tensor in last.items()
    }
    with safe_open(models[-1] / _WEIGHTS, "pt") as file:
        metadata = file.metadata()
    with atomic_directory(out, CheckpointError) as temporary:
        shutil.copytree(models[-1], temporary, dirs_exist_ok=True)
        save_file(mean, temporary / _WEIGHTS, metadata=metadata)
