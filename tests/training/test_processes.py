"""Two processes (gloo, CPU), copies or shards, are the same run as one."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import SUPPORT, worker_environment
from support.builders import encoder_folder, make, pretrained_folder

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.training.checkpoint import list_checkpoints
from imagebind_llm.training.loop import train

pytestmark = pytest.mark.timeout(900)
WORKER = SUPPORT / "training_worker.py"
RUN = {"accumulate": 2, "batch_size": 4, "steps": 6, "checkpoint_every": 3, "keep": 2}
SHARDED = {**RUN, "sharding": "full"}
VALUE = {"injection": {"style": "value"}}
EMA = {"ema": 0.9}
TALK = {"train_bind": True, "mixture": {"text": 0.7, "media": 0.3}}
"""Now and then one process has text only, for which the bind network has nothing to do."""


def changes(run: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"run": run, "optimizer": EMA, **more}


RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "pretrain, copies": ("pretrain", changes(RUN)),
    "pretrain, shards": ("pretrain", changes(SHARDED)),
    "value style, shards": ("pretrain", changes(SHARDED, **VALUE)),
    "finetune, copies": ("finetune", changes(RUN, **TALK)),
    "finetune, shards, recomputing": (
        "finetune",
        changes({**SHARDED, "gradient_checkpointing": True}, **TALK),
    ),
    "bind, copies": ("images", changes(RUN)),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    encoder_folder(folder)
    pretrained_folder(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> Path:
    """All runs by two processes, started once; then one that stops and two that go on with another number or
    kind of processes."""
    folder = tmp_path_factory.mktemp("runs")
    jobs = [
        {"kind": kind, "folder": str(folder / name), "changes": values}
        for name, (kind, values) in RUNS.items()
    ]
    pretrain = str(folder / "pretrain, copies" / "checkpoints" / "step-00000003")
    jobs.append(
        {
            "kind": "pretrain",
            "folder": str(folder / "copies, then shards"),
            "changes": changes(SHARDED),
            "resume_from": pretrain,
        }
    )
    jobs.append(
        {
            "kind": "pretrain",
            "folder": str(folder / "stopped"),
            "changes": changes({**SHARDED, "checkpoint_every": 0}),
            "signal_at": 5,
        }
    )
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(WORKER), str(inputs), str(folder / "jobs.json")],
        capture_output=True,
        text=True,
        env=worker_environment(),
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def last_tensors(folder: Path) -> dict[str, torch.Tensor]:
    newest = list_checkpoints(folder / "checkpoints")[-1]
    return load_file(newest / "trained.safetensors") | load_file(newest / "optimizer.safetensors")


_ALONE: dict[str, Path] = {}


def alone(name: str, inputs: Path, root: Path) -> Path:
    """The same run by one process."""
    kind, values = RUNS[name]
    key = json.dumps([kind, {k: v for k, v in values.items() if k != "run"}])
    if key not in _ALONE:
        train(*make(kind, root / "alone", inputs, **{**values, "run": RUN}))
        _ALONE[key] = root / "alone"
    return _ALONE[key]


def check_same(found: Path, expected: Path, kind: str) -> None:
    pairs = list(zip(lines(found), lines(expected), strict=True))
    assert len(pairs) >= 6
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        if "loss" in ours:
            assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
            assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], abs=1e-3)
        elif kind != "images":
            assert ours["eval/loss"] == pytest.approx(theirs["eval/loss"], abs=1e-4)
    ours, theirs = last_tensors(found), last_tensors(expected)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        if not name.startswith("buffer/"):  # running statistics are means over processes
            torch.testing.assert_close(ours[name], tensor, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("name", RUNS)
def test_the_loss_curve_is_that_of_one_process(
    name: str, folder: Path, inputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kind, _ = RUNS[name]
    check_same(folder / name, alone(name, inputs, tmp_path_factory.mktemp("one")), kind)


def test_a_sharded_result_is_a_whole_model(folder: Path) -> None:
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model

    weights = [
        Model.from_pretrained(folder / name / "export").state_dict()
        for name in ("pretrain, copies", "pretrain, shards")
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=1e-4, rtol=1e-3, msg=name)


def test_a_run_goes_on_with_other_processes(folder: Path, inputs: Path) -> None:
    """Copies made the checkpoint; shards, and one process, finish the run as it would have ended."""
    straight = folder / "pretrain, copies"
    found = last_tensors(folder / "copies, then shards")
    for name, tensor in last_tensors(straight).items():
        torch.testing.assert_close(found[name], tensor, atol=1e-4, rtol=1e-3, msg=name)
    stopped = folder / "stopped"
    results = [json.loads((stopped / f"result-{rank}.json").read_text()) for rank in range(2)]
    # Micro-batch 5 is rank 1's in step 2; both know before they compute step 2, and save after it.
    assert results == [{"finished": False, "step": 3, "signal": signal.SIGTERM, "divided": True}] * 2
    kind, values = RUNS["pretrain, copies"]
    train(*make(kind, stopped, inputs, **values))
    check_same(stopped, straight, kind)


def test_processes_that_cannot_share_are_told(tmp_path: Path, inputs: Path) -> None:
    from imagebind_llm.training.parallel import Processes
    from imagebind_llm.training.settings import RunSettings

    class Two:
        num_processes, process_index, is_main_process, device = 2, 0, True, torch.device("cpu")

    import accelerate

    patch = pytest.MonkeyPatch()
    patch.setattr(accelerate, "Accelerator", lambda **_: Two())
    try:
        with pytest.raises(ConfigError, match=r"run\.accumulate is 3.*multiple of 2"):
            Processes(RunSettings(folder=str(tmp_path), steps=1, batch_size=2, accumulate=3))
    finally:
        patch.undo()
