"""What a run shows and how it is stopped: explosions, samples, TensorBoard; options that must not matter."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.builders import make

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.files import write_sums
from imagebind_llm.training.checkpoint import list_checkpoints
from imagebind_llm.training.loop import TrainingError, train
from imagebind_llm.training.monitor import LossGuard


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_an_exploding_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path, inputs: Path) -> None:
    run = {"steps": 40, "checkpoint_every": 1, "keep": 1}
    stage, recipe = make("language", tmp_path, inputs, run=run)
    usual, usual_batch = stage.loss, stage.batch

    def batch(index: int) -> Any:
        stage.index = index  # type: ignore[assignment]
        return usual_batch(index)

    def loss(batch: Any) -> Any:
        value, metrics = usual(batch)
        return value * (10 if stage.index >= 14 else 1), metrics  # type: ignore[operator]

    stage.batch, stage.loss = batch, loss  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"step 18: the loss exploded: .*5 steps above 4 times") as caught:
        train(stage, recipe)
    assert "step-00000014" in str(caught.value)
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step-00000014"]


def test_the_guard_forgives_single_bad_steps_and_small_losses() -> None:
    guard = LossGuard(4.0, Path("-"))
    for step in range(10):
        guard.check(step, 2.0, 1.0, 0.1)
    for step in range(30):
        guard.check(step, 2.0 if step % 5 == 4 else 9.0, 1.0, 0.1)
    again = LossGuard(4.0, Path("-"))
    again.restore(guard.state())
    for step in range(4):
        again.check(step, 8.5, 1.0, 0.1)
    assert again.suspicious
    with pytest.raises(TrainingError, match="exploded"):
        again.check(4, 8.5, 1.0, 0.1)
    calm = LossGuard(4.0, Path("-"))
    for step in range(10):
        calm.check(step, 0.01, 1.0, 0.1)
    for step in range(10):
        calm.check(step, 3.9, 1.0, 0.1)  # far above 0.01, but no explosion
    off = LossGuard(0.0, Path("-"))
    for step in range(30):
        off.check(step, 10.0**step, 1.0, 0.1)
    with pytest.raises(TrainingError, match="gradient norm inf"):
        off.check(30, 1.0, float("inf"), 0.1)


def test_samples_and_events_are_written(tmp_path: Path, inputs: Path) -> None:
    run = {"steps": 4, "evaluate_every": 2, "samples": 3, "tensorboard": True}
    train(*make("finetune", tmp_path, inputs, run=run))
    texts = [path.read_text() for path in sorted((tmp_path / "samples").glob("step-*.md"))]
    assert len(texts) == 2
    assert texts[0].startswith("# Step 2\n")
    assert texts[0].count("**question**") == texts[0].count("**answer**") == 3
    assert any(f"    it is {colour}" in texts[0] for colour in ("red", "green", "blue"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"train/loss", "train/lr", "train/grad_norm", "train/tokens_per_second", "eval/loss"} <= tags
    assert [point.step for point in events.Scalars("train/loss")] == [1, 2, 3, 4]
    found = [point.value for point in events.Scalars("train/loss")]
    assert found == pytest.approx(losses(tmp_path), abs=1e-5)


def test_a_checkpoint_from_before_a_setting_existed_goes_on(tmp_path: Path, inputs: Path) -> None:
    train(*make("language", tmp_path, inputs, run={"steps": 6}))
    state = list_checkpoints(tmp_path / "checkpoints")[-1] / "state.json"
    header = json.loads(state.read_text())
    header = {key: header[key] for key in ("format", "step", "recipe")}
    for key in ("run.frozen_precision", "run.samples", "run.explosion", "optimizer.warmup_share"):
        del header["recipe"][key]
    header["step"] = 4
    state.write_text(json.dumps(header))
    write_sums(state.parent)
    (tmp_path / "export").rename(tmp_path / "old")
    assert train(*make("language", tmp_path, inputs, run={"steps": 6})).finished
    header["recipe"]["run.precision"] = "bf16"
    state.write_text(json.dumps(header))
    write_sums(state.parent)
    with pytest.raises(ConfigError, match=r"run\.precision \('bf16' then, 'no' now\)"):
        train(*make("language", tmp_path, inputs, run={"steps": 6}))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("option", ["compile", "gradient_checkpointing"])
def test_options_that_only_change_the_speed(
    option: str, tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = []
    usual = torch.nn.Module.compile

    def compile_(module: torch.nn.Module, **settings: Any) -> None:
        blocks.append(module)
        usual(module, backend="eager", **settings)  # traced as always; no C++ compiler needed

    monkeypatch.setattr(torch.nn.Module, "compile", compile_)
    train(*make("pretrain", tmp_path / "plain", inputs, run={"steps": 3}))
    train(*make("pretrain", tmp_path / "other", inputs, run={"steps": 3, option: True}))
    assert len(blocks) == (2 if option == "compile" else 0)
    assert losses(tmp_path / "other") == pytest.approx(losses(tmp_path / "plain"), abs=1e-5)


def test_attention_is_computed_as_the_recipe_says(tmp_path: Path, inputs: Path) -> None:
    train(*make("finetune", tmp_path / "plain", inputs, run={"steps": 3}))
    stage, recipe = make("finetune", tmp_path / "eager", inputs, run={"steps": 3, "attention": "eager"})
    train(stage, recipe)
    assert stage.language_model.config._attn_implementation == "eager"
    assert losses(tmp_path / "eager") == pytest.approx(losses(tmp_path / "plain"), abs=1e-4)
    stage, recipe = make("finetune", tmp_path / "flash", inputs, run={"attention": "flash_attention_2"})
    with pytest.raises(ConfigError, match=r"run\.attention 'flash_attention_2' cannot be used here"):
        train(stage, recipe)
    stage, recipe = make("depth", tmp_path / "bind", inputs, run={"attention": "eager"})
    with pytest.raises(ConfigError, match=r"has no language model; drop run\.attention"):
        train(stage, recipe)


def test_half_precision_keeps_what_is_trained_whole(tmp_path: Path, inputs: Path) -> None:
    half = {"steps": 3, "precision": "bf16", "frozen_precision": "bfloat16"}
    train(*make("finetune", tmp_path / "plain", inputs, run={"steps": 3}))
    stage, recipe = make("finetune", tmp_path / "half", inputs, run=half)
    train(stage, recipe)
    trained = stage.trainable()
    assert {parameter.dtype for parameter in trained.values()} == {torch.float32}
    names = {f"model.{name}" for name, _ in stage.model.named_parameters()} - set(trained)
    frozen = {name: stage.get_parameter(name).dtype for name in names if "language_model" in name}
    assert set(frozen.values()) == {torch.bfloat16}
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "plain"), abs=0.05)
    with pytest.raises(ConfigError, match=r"needs run\.precision 'bf16'"):
        make("finetune", tmp_path, inputs, run={"frozen_precision": "bfloat16"})


def test_half_precision_leaves_a_frozen_encoder_as_it_is(tmp_path: Path, inputs: Path) -> None:
    half = {"steps": 2, "precision": "bf16", "frozen_precision": "bfloat16"}
    stage, recipe = make("pretrain", tmp_path / "first", inputs, run=half)
    before = {name: tensor.clone() for name, tensor in stage.model.encoder.state_dict().items()}
    train(stage, recipe)
    export = tmp_path / "first" / "export"
    bound = {name: tensor.clone() for name, tensor in stage.model.bind.state_dict().items()}
    assert any((tensor.bfloat16().float() != tensor).any() for tensor in bound.values()), (
        "rounding would show"
    )
    stage, recipe = make("finetune", tmp_path / "second", inputs, run=half, model=str(export))
    for name, tensor in stage.model.bind.state_dict().items():
        assert torch.equal(tensor, bound[name]), name
    train(stage, recipe)
    kept = load_file(tmp_path / "second" / "export" / "model.safetensors")
    for name, tensor in before.items():
        assert torch.equal(kept[f"encoder.{name}"], tensor), name
    exports = (export, tmp_path / "second" / "export")
    first, second = (json.loads((folder / "config.json").read_text()) for folder in exports)
    assert first["fingerprints"]["encoder"] == second["fingerprints"]["encoder"]


def test_the_plot_is_drawn_when_matplotlib_comes_later(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("matplotlib")
    from imagebind_llm.training.run import run_recipe

    stage, recipe = make("language", tmp_path, inputs, run={"steps": 2})
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib", None)
        caplog.set_level("INFO", "imagebind_llm")
        train(stage, recipe)
    told = [record.getMessage() for record in caplog.records]
    missing = [place for place, line in enumerate(told) if line.startswith("drawing loss.png needs")]
    assert len(missing) == 1
    assert missing[0] < next(place for place, line in enumerate(told) if line.startswith("step 2:"))
    assert not (tmp_path / "loss.png").exists()
    assert run_recipe(recipe).finished
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_attach_prints_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from imagebind_llm.cli.train import app

    monkeypatch.setattr("imagebind_llm.training.towers.attach_encoder", lambda *_: ["audio", "image"])
    words = ["attach", "nano", str(tmp_path), "--out", str(tmp_path / "out")]
    assert "modalities: audio, image\n" in CliRunner().invoke(app, words).stdout
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["modalities"] == ["audio", "image"]
