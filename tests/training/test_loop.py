"""The loop: exact resume for every stage, what moves, stopping on signals and on numbers that are none."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.builders import KINDS, make

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.training.checkpoint import list_checkpoints
from imagebind_llm.training.exchange import Exchange, StepNumbers
from imagebind_llm.training.loop import TrainingError, train
from imagebind_llm.training.optimization import learning_rate
from imagebind_llm.training.parallel import Processes
from imagebind_llm.training.recipe import OptimizerSettings
from imagebind_llm.training.stage import Stage


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


def last_tensors(folder: Path) -> dict[str, torch.Tensor]:
    newest = list_checkpoints(folder / "checkpoints")[-1]
    return load_file(newest / "trained.safetensors") | load_file(newest / "optimizer.safetensors")


class Killed(BaseException):
    """Stands for a kill -9: nothing after it runs, nothing is saved."""


def kill_at(stage: Stage, index: int) -> Stage:
    usual = stage.batch

    def batch(number: int) -> Any:
        if number >= index:
            raise Killed
        return usual(number)

    stage.batch = batch  # type: ignore[method-assign]
    return stage


def test_a_folder_that_another_run_trains_in_is_left_alone(tmp_path: Path, inputs: Path) -> None:
    stage, recipe = make("images", tmp_path / "run", inputs, run={"steps": 2})
    usual, refused = stage.batch, []

    def batch(number: int) -> Any:
        if not refused:  # while the first run trains
            with pytest.raises(ConfigError, match=r"another run is training in .*run'; wait for it") as error:
                train(*make("images", tmp_path / "run", inputs, run={"steps": 2, "resume": "never"}))
            refused.append(error)
        return usual(number)

    stage.batch = batch  # type: ignore[method-assign]
    assert train(stage, recipe).finished
    assert refused
    assert train(*make("images", tmp_path / "run", inputs, run={"steps": 2})).finished  # it is free again


def test_starting_over_leaves_nothing_of_the_earlier_run(tmp_path: Path, inputs: Path) -> None:
    folder = tmp_path / "run"
    train(*make("pretrain", folder, inputs, run={"steps": 4, "evaluate_every": 2, "tensorboard": True}))
    assert (folder / "tensorboard").is_dir()
    assert {path.name for path in (folder / "samples").iterdir()} == {"step-00000002.md", "step-00000004.md"}
    train(*make("pretrain", folder, inputs, run={"steps": 1, "resume": "never"}))
    assert not (folder / "tensorboard").exists()
    assert {path.name for path in (folder / "samples").iterdir()} == {"step-00000001.md"}
    assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [
        1,
        1,
    ]


SEVERAL = {"bind": {"tokens": 3}, "injection": {"style": "value"}}
"""A recipe's settings for conditions of several vectors."""


OF_THE_ENCODER = {"bind": {"encoder_tokens": 2}, "injection": {"style": "value"}}
"""The same, with vectors of the encoder's tokens."""


MUON = {"optimizer": {"kind": "muon", "lr": 1e-3}}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        *((kind, {}) for kind in KINDS),
        ("pretrain", SEVERAL),
        ("pretrain", OF_THE_ENCODER),
        ("images", MUON),
        ("finetune", MUON),
    ],
)
def test_killed_and_resumed_is_bitwise_uninterrupted(
    kind: str, more: dict[str, Any], tmp_path: Path, inputs: Path
) -> None:
    run = {"checkpoint_every": 2, "steps": 6}
    settings = {"optimizer": {"ema": 0.9} if kind in ("images", "depth") else {}, **more}
    straight = tmp_path / "straight"
    train(*make(kind, straight, inputs, run=run, **settings))
    broken = tmp_path / "broken"
    stage, recipe = make(kind, broken, inputs, run=run, **settings)
    with pytest.raises(Killed):
        train(kill_at(stage, 5), recipe)  # dies in step 5, one step after a checkpoint
    assert [path.name for path in list_checkpoints(broken / "checkpoints")] == [
        "step-00000002",
        "step-00000004",
    ]
    result = train(*make(kind, broken, inputs, run=run, **settings))
    assert result.finished
    expected, found = last_tensors(straight), last_tensors(broken)
    assert expected.keys() == found.keys()
    assert len(expected) > 5
    for name, tensor in expected.items():
        assert tensor.equal(found[name]), name
    lines = [(folder / "metrics.jsonl").read_text() for folder in (straight, broken)]
    assert lines[0] == lines[1]


def test_accumulated_micro_batches_resume_exactly_too(tmp_path: Path, inputs: Path) -> None:
    run = {"checkpoint_every": 2, "steps": 4, "accumulate": 3, "batch_size": 2, "prefetch": 2}
    train(*make("finetune", tmp_path / "straight", inputs, run=run))
    stage, recipe = make("finetune", tmp_path / "broken", inputs, run=run)
    with pytest.raises(Killed):
        train(kill_at(stage, 8), recipe)
    train(*make("finetune", tmp_path / "broken", inputs, run=run))
    expected, found = last_tensors(tmp_path / "straight"), last_tensors(tmp_path / "broken")
    assert all(tensor.equal(found[name]) for name, tensor in expected.items())


@pytest.mark.parametrize("kind", KINDS)
def test_exactly_the_trainable_set_moves(kind: str, tmp_path: Path, inputs: Path) -> None:
    stage, recipe = make(kind, tmp_path, inputs, run={"steps": 2})
    before = {name: tensor.clone() for name, tensor in stage.state_dict().items()}
    declared = set(stage.trainable()) | set(stage.moving_buffers())
    train(stage, recipe)
    after = stage.state_dict()
    moved = {name for name, tensor in after.items() if not tensor.equal(before[name])}
    tied = {"model.lm_head.weight"} if kind == "language" else set()
    assert moved - tied == declared


@pytest.fixture
def _numbers_stay_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an accelerator, where looking at a number would wait for it."""
    monkeypatch.setattr(Processes, "reading_is_free", False)


def test_numbers_are_read_when_they_are_logged(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the run is the same; what is looked at less often is only the loss."""
    run = {"steps": 6, "log_every": 3, "checkpoint_every": 6}
    train(*make("language", tmp_path / "eager", inputs, run=run))
    monkeypatch.setattr(Processes, "reading_is_free", False)
    reads, usual = [], Exchange.read

    def read(exchange: Exchange) -> list[StepNumbers]:
        found = usual(exchange)
        reads.append([numbers.step for numbers in found])
        return found

    monkeypatch.setattr(Exchange, "read", read)
    train(*make("language", tmp_path / "lazy", inputs, run=run))
    assert reads == [[0, 1, 2], [3, 4, 5]]
    eager, lazy = (last_tensors(tmp_path / name) for name in ("eager", "lazy"))
    assert all(tensor.equal(lazy[name]) for name, tensor in eager.items())
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("eager", "lazy")]
    assert lines[0] == lines[1]


@pytest.mark.usefixtures("_numbers_stay_on_the_device")
def test_a_loss_that_is_seen_late_has_moved_nothing(tmp_path: Path, inputs: Path) -> None:
    test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tmp_path, inputs)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tmp_path: Path, inputs: Path) -> None:
    stage, recipe = make("language", tmp_path, inputs, run={"checkpoint_every": 2, "steps": 6})
    usual = stage.loss

    def loss(batch: Any) -> Any:
        value, metrics = usual(batch)
        return (value * float("nan") if stage.broken else value), metrics  # type: ignore[union-attr]

    stage.loss, stage.broken = loss, False  # type: ignore[method-assign,assignment]
    usual_batch = stage.batch

    def batch(index: int) -> Any:
        stage.broken = index == 3  # type: ignore[assignment]
        return usual_batch(index)

    stage.batch = batch  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"step 3: loss is nan .*step-00000002") as caught:
        train(stage, recipe)
    assert "\n" not in str(caught.value)
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step-00000002"]
    assert all(bool(torch.isfinite(p).all()) for p in stage.parameters())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_the_next_call_goes_on(
    number: signal.Signals, tmp_path: Path, inputs: Path, request: pytest.FixtureRequest
) -> None:
    # nohup ignores one of them, and what ran before in this process may have left a handler of its own
    before = signal.signal(number, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(number, before))
    stage, recipe = make("language", tmp_path, inputs)
    usual = stage.batch

    def batch(index: int) -> Any:
        if index == 3:
            os.kill(os.getpid(), number)
        return usual(index)

    stage.batch = batch  # type: ignore[method-assign]
    result = train(stage, recipe)
    assert (result.finished, result.step, result.signal) == (False, 4, number)
    assert not result.export.exists()
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step-00000004"]
    resumed = train(*make("language", tmp_path, inputs))
    assert (resumed.finished, resumed.step) == (True, 6)
    assert signal.getsignal(number) is signal.SIG_DFL


def test_under_nohup_a_closed_terminal_stops_nothing(tmp_path: Path, inputs: Path) -> None:
    stage, recipe = make("language", tmp_path, inputs)
    usual = stage.batch

    def batch(index: int) -> Any:
        if index == 3:
            os.kill(os.getpid(), signal.SIGHUP)
        return usual(index)

    stage.batch = batch  # type: ignore[method-assign]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = train(stage, recipe)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert (result.finished, result.step, result.signal) == (True, 6, None)


def test_another_recipe_is_not_continued(tmp_path: Path, inputs: Path) -> None:
    train(*make("language", tmp_path, inputs))
    with pytest.raises(ConfigError, match=r"row_length \(48 then, 47 now\)"):
        train(*make("language", tmp_path, inputs, row_length=47))
    train(*make("language", tmp_path, inputs, row_length=47, run={"resume": "never"}))
    assert json.loads((tmp_path / "export" / "training.json").read_text())["step"] == 6


def test_only_the_last_checkpoints_are_kept(tmp_path: Path, inputs: Path) -> None:
    train(*make("language", tmp_path, inputs, run={"checkpoint_every": 1, "steps": 5}))
    names = [path.name for path in list_checkpoints(tmp_path / "checkpoints")]
    assert names == ["step-00000004", "step-00000005"]


def test_learning_rate_rises_and_falls() -> None:
    settings = OptimizerSettings(base_lr=1e-3, warmup_steps=4, final_ratio=0.1)
    peak = settings.peak(512)
    assert peak == pytest.approx(2e-3)
    rates = [learning_rate(settings, peak, step, 100) for step in range(100)]
    assert rates[:4] == pytest.approx([peak * share for share in (0.25, 0.5, 0.75, 1.0)])
    assert max(rates) == peak
    assert rates[-1] == pytest.approx(0.1 * peak, rel=0.02)


def test_weights_are_averaged_but_batch_statistics_are_not(tmp_path: Path, inputs: Path) -> None:
    changes = {"run": {"steps": 4, "checkpoint_every": 4}, "optimizer": {"ema": 0.9}}
    train(*make("images", tmp_path / "run", inputs, **changes))
    saved = last_tensors(tmp_path / "run")
    exported = load_file(tmp_path / "run" / "export" / "model.safetensors")
    for kind in ("average", "buffer"):
        found = [name for name in saved if name.startswith(f"{kind}/encoder.")]
        assert found, kind
        for name in found:
            assert saved[name].equal(exported[name.removeprefix(f"{kind}/encoder.")]), name
    moved = [name for name in saved if name.startswith("average/encoder.")]
    assert any(not saved[name].equal(saved[name.replace("average/", "parameter/")]) for name in moved)


def test_mixtures_of_tokens_are_learnt_from(tmp_path: Path, inputs: Path) -> None:
    """Fine-tuning goes on with the conditions of pre-training, some of them scaled to length 1."""
    export = train(*make("pretrain", tmp_path / "one", inputs, run={"steps": 2}, **OF_THE_ENCODER)).export
    more = {"model": str(export), "mixture_units": 0.5, "train_bind": True}
    stage, recipe = make("finetune", tmp_path / "two", inputs, run={"steps": 2}, **more)
    assert stage.batch(0).conditions.shape[1:] == (3, 10)
    before = stage.model.bind.project_tokens.weight.clone()
    assert train(stage, recipe).finished
    assert not torch.equal(before, stage.model.bind.project_tokens.weight)
