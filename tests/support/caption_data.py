"""Small data sets of coloured pictures with captions, and a bind recipe that reads them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support.tiny_training import OPTIMIZER, run_values

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}


def write_captions(folder: Path, count: int = 30, seed: int = 0, bad: int = 0) -> dict[str, Any]:
    """A table of ``count`` pictures, named by their colour; ``bad`` more are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        name = list(COLOURS)[number % 3]
        pixels = np.clip(np.array(COLOURS[name]) + rng.integers(-20, 20, (12, 12, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png\ta {name} square")
    lines += [f"missing-{number}.png\ta red square" for number in range(bad)]
    (folder / "captions.tsv").write_text("url\tcaption\n" + "\n".join(lines) + "\n")
    return {"kind": "tsv", "path": str(folder / "captions.tsv")}


def captions_values(folder: Path, encoder: Path, source: dict[str, Any], /, **changes: Any) -> dict[str, Any]:
    """A recipe that trains the text tower of ``encoder``."""
    return {
        "run": run_values(folder, **changes.pop("run", {})),
        "optimizer": {**OPTIMIZER, **changes.pop("optimizer", {})},
        "data": {"sources": [source], **changes.pop("data", {})},
        "modalities": ["text"],
        "encoder": str(encoder),
        **changes,
    }
