"""Copies of model folders in which one thing is another."""

import json
import os
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file


def copy_folder(source, target):
    """Linked, not copied: replace a file, never write into it."""
    for path in sorted(Path(source).rglob("*")):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, place)
    return target


def change_json(file, **values):
    found = json.loads(file.read_text())
    file.unlink()
    file.write_text(json.dumps({**found, **values}))


def change_tensors(file, change):
    """``change`` is given the state dict."""
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    state = load_file(file)
    change(state)
    file.unlink()
    save_file(state, file, metadata=metadata)


def shift(name):
    """Change one value of a tensor."""

    def change(state):
        state[name] = state[name].clone()
        state[name].view(-1)[3] += 0.25

    return change
