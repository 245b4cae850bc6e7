"""A tiny encoder, and pairs of arrays and pictures that show one of three colours."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, save_imagebind

SIZE = 8
COLOURS = ("blue", "green", "red")
TRUNK = {"width": 12, "blocks": 1, "heads": 2}
GRID = {"channels": 8, "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1]}
CONFIG: dict[str, Any] = {
    "embedding_dim": 10,
    "vision": {
        "channels": 3,
        "size": [SIZE, SIZE],
        "frames": 2,
        "stem": {"channels": 12, "kernel": [2, 4, 4], "stride": [2, 4, 4], "padding": [0, 0, 0]},
        "trunk": TRUNK,
    },
    "depth": {
        "channels": 1,
        "size": [SIZE, SIZE],
        "stem": {**GRID, "convs": [{"channels": 12, "pool": 2}]},
        "trunk": {**TRUNK, "bias_kv": True},
    },
}


def tiny_encoder() -> ImageBindModel:
    torch.manual_seed(3)
    return ImageBindModel(ImageBindConfig.from_dict(CONFIG)).eval()


def encoder_folder(folder: Path) -> Path:
    save_imagebind(tiny_encoder(), folder)
    return folder


def write_pairs(root: Path, shape: tuple[int, ...], train: int = 36, test: int = 12) -> Path:
    """``root/{train,test}/COLOUR/NN.npy`` with pictures: the colour's number is the array's level."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for number in range(count):
            label = number % 3
            folder = root / split / COLOURS[label]
            folder.mkdir(parents=True, exist_ok=True)
            array = rng.normal(3.0 * label, 0.3, shape) + np.arange(shape[-1]) * 0.1
            np.save(folder / f"{number:02d}.npy", array.astype(np.float32))
            pixels = rng.integers(0, 40, (SIZE, SIZE, 3)).astype(np.uint8)
            pixels[..., 2 - label] += 180
            Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return root


def recipe_file(path: Path, **changes: Any) -> Path:
    """A recipe for a sensor called ``tactile``, changed at the top level."""
    values: dict[str, Any] = {
        "stage": "bind",
        "source": "pairs",
        "modalities": ["tactile"],
        "sensor": {"kind": "grid", "shape": [1, 8, 8], "width": 12, "blocks": 1, "heads": 2, "patch": 4},
        "run": {
            "steps": 30,
            "batch_size": 12,
            "log_every": 1,
            "checkpoint_every": 0,
            "checkpoint_minutes": 0,
            "device": "cpu",
        },
        "optimizer": {"lr": 0.01, "warmup_steps": 2},
        "bank_sample": 24,
        **changes,
    }
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return path


def train(recipe: Path, *overrides: str) -> Any:
    from imagebind_llm.training.recipe import load_recipe
    from imagebind_llm.training.run import run_recipe

    return run_recipe(load_recipe("bind", recipe, overrides))
