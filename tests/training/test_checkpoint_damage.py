"""A run never goes on from a checkpoint that is not what was written."""

import json
import random
from pathlib import Path

import pytest
import torch
from support.builders import make
from torch import nn

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.files import SUMS_FILE, write_sums
from imagebind_llm.training.checkpoint import (
    TrainedTensors,
    list_checkpoints,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from imagebind_llm.training.loop import train
from imagebind_llm.training.report import read_metrics

FLIPS = 40
FILES = ("trained.safetensors", "optimizer.safetensors", "state.json", SUMS_FILE)


def run() -> tuple[TrainedTensors, torch.optim.Optimizer]:
    """A small module after one step."""
    module = nn.Linear(7, 5)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 7)).sum().backward()
    optimizer.step()
    return TrainedTensors(dict(module.named_parameters()), {}, {}), optimizer


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    notes = {"recipe": {"run.steps": 9, "optimizer.lr": 1e-3}, "guard": {"first_losses": [2.5, 2.25]}}
    return save_checkpoint(tmp_path, 3, *run(), notes, keep=1)


def resume(folder: Path) -> None:
    header = read_header(folder)
    assert header["step"] == 3
    load_checkpoint(folder, *run())


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_refused(saved: Path, name: str) -> None:
    resume(saved)
    whole = (saved / name).read_bytes()
    for place in random.Random(name).sample(range(8 * len(whole)), FLIPS):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        (saved / name).write_bytes(changed)
        with pytest.raises(CheckpointError) as raised:
            resume(saved)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [None, b"", b"x"])
def test_files_that_are_gone_or_cut(saved: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (saved / name).unlink()
    else:
        (saved / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"delete it to use an older one|has format"):
        resume(saved)


def test_sums_are_those_of_sha256sum(saved: Path) -> None:
    lines = (saved / SUMS_FILE).read_text().splitlines()
    assert [line.partition("  ")[2] for line in lines] == sorted(FILES[:3])
    assert all(len(line.partition("  ")[0]) == 64 for line in lines)


@pytest.mark.parametrize("value", ["x", -1, 1e30, None, [], {}, [[[[]]]]])
@pytest.mark.parametrize("key", ["format", "step", "recipe", "guard"])
def test_a_state_with_odd_values_is_refused(saved: Path, key: str, value: object) -> None:
    path = saved / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError):
        resume(saved)


def test_a_state_that_someone_wrote(saved: Path) -> None:
    path = saved / "state.json"
    for values in ({"format": 2}, {"format": 2, "step": "x", "recipe": {}}, {"format": 2, "step": 3}, []):
        path.write_text(json.dumps(values))
        write_sums(saved)
        with pytest.raises(CheckpointError):
            resume(saved)


def test_a_run_says_so_and_learns_nothing(tmp_path: Path) -> None:
    train(*make("language", tmp_path / "run", tmp_path, run={"steps": 2}))
    checkpoint = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    (tmp_path / "run" / "export").rename(tmp_path / "old")
    file = checkpoint / "trained.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"step-00000002 is damaged \(trained\.safetensors is not what was"):
        train(*make("language", tmp_path / "run", tmp_path, run={"steps": 2}))
    assert file.read_bytes() == content


def test_lines_of_a_log_that_are_none_are_left_out(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "loss": 2.0}\n{"stxp": 2}\n[3]\n{"step": "4"}\n{"step": 5')
    assert read_metrics(file) == [{"step": 1, "loss": 2.0}]
