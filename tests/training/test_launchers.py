"""The command line under ``accelerate launch``: two processes (gloo, CPU), DDP and FSDP, on data sources."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.builders import encoder_folder, language_folder
from support.caption_data import captions_values, write_captions
from support.tiny_training import OPTIMIZER, run_values

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import build
from imagebind_llm.training.loop import train
from imagebind_llm.training.parallel import Processes
from imagebind_llm.training.recipe import STAGES
from imagebind_llm.training.registry import make_stage
from imagebind_llm.training.settings import RunSettings

pytestmark = pytest.mark.timeout(300)
RUN: dict[str, Any] = {"steps": 4, "batch_size": 4, "accumulate": 2, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_captions(tmp_path_factory.mktemp("data"))


def bind(inputs: Path, source: dict[str, Any]) -> dict[str, Any]:
    """Copies (DDP) on whatever device there is."""
    run = {**RUN, "device": "auto"}
    return captions_values(
        Path("-"), encoder_folder(inputs), source, run=run, data={"test_sources": [source]}
    )


def pretrain(inputs: Path, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": run_values(Path("-"), **RUN),
        "optimizer": OPTIMIZER,
        "data": {"sources": [source], "test_sources": [source]},
        "encoder": str(encoder_folder(inputs)),
        "language_model": str(language_folder(inputs)),
        "row_length": 48,
        "evaluate_items": 4,
    }


LAUNCHES: dict[str, tuple[str, Any, list[str]]] = {
    "copies": ("bind", bind, ["--multi_gpu", "--mixed_precision", "bf16"]),  # the recipe says float32
    "shards": ("pretrain", pretrain, ["--use_fsdp"]),
}


@pytest.mark.parametrize("name", LAUNCHES)
def test_accelerate_launch_gives_the_curve_of_one_process(
    name: str, tmp_path: Path, inputs: Path, source: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, values_of, options = LAUNCHES[name]
    values = values_of(inputs, source)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    launch = [sys.executable, "-m", "accelerate.commands.launch", *options]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"stage": stage, **values}))
    done = subprocess.run(
        [
            *[*launch, "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"],
            *["-m", "imagebind_llm", "train", stage, str(tmp_path / "recipe.yaml")],
            f"run.folder={tmp_path / 'two'}",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"in 2 processes on cpu, {'a copy each' if name == 'copies' else 'sharded'}" in done.stderr
    assert ("ACCELERATE_MIXED_PRECISION=bf16 is ignored" in done.stderr) == (name == "copies")
    values["run"] |= {"folder": str(tmp_path / "one"), "device": "cpu"}
    recipe = build(STAGES[stage], values)
    train(make_stage(recipe), recipe)
    lines = [
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    ]
    for ours, theirs in zip(*lines, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    assert (tmp_path / "two" / "export" / "training.json").exists()


def settings(folder: Path) -> RunSettings:
    return RunSettings(folder=str(folder), steps=1, batch_size=2, device="cpu")


def test_settings_of_a_launcher_do_not_change_what_is_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    processes = Processes(settings(tmp_path))
    assert processes.accelerator.gradient_accumulation_steps == 1
    assert processes.accelerator.mixed_precision == "no"
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match="--use_deepspeed is not supported"):
        Processes(settings(tmp_path))


def test_processes_that_do_not_find_each_other_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would think itself alone and write the same folder."""
    import accelerate
    import torch

    class Alone:
        num_processes, process_index, is_main_process, device = 1, 0, True, torch.device("cpu")

    monkeypatch.setattr(accelerate, "Accelerator", lambda **_: Alone())
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were started but 1 found each other"):
        Processes(settings(tmp_path))
