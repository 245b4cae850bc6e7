"""Training a new sensor's tower, and adapting an existing one, by recipe."""

import json

import numpy as np
import pytest
import torch
from support.sensor_worlds import encoder_folder, recipe_file, tiny_encoder, train, write_pairs

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import load_imagebind
from imagebind_llm.training.recipe import load_recipe
from imagebind_llm.training.registry import make_stage


def overrides(folder, *more):
    return (
        f"encoder={encoder_folder(folder / 'encoder')}",
        f"data.root={folder / 'pairs'}",
        f"run.folder={folder / 'run'}",
        *more,
    )


def metrics(folder):
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("shape", "sensor"),
    [
        ((1, 8, 8), {"kind": "grid", "shape": [1, 8, 8], "patch": 4}),
        ((2, 16), {"kind": "sequence", "shape": [2, 16], "patch": 4, "mean": [3.0], "std": [3.0]}),
        ((24, 3), {"kind": "cloud", "shape": [16, 3], "patch": 4}),
    ],
)
def test_a_new_sensor_learns_from_pairs(tmp_path, shape, sensor):
    write_pairs(tmp_path / "pairs", shape)
    sensor = {**sensor, "width": 12, "blocks": 1, "heads": 2, "noise": 0.05}
    recipe = recipe_file(tmp_path / "recipe.yaml", sensor=sensor)
    result = train(recipe, *overrides(tmp_path))
    found = metrics(tmp_path)
    losses = [line["loss"] for line in found if "loss" in line]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    assert found[-1]["eval/accuracy"] > 0.6  # a third by chance
    encoder, before = load_imagebind(result.export), tiny_encoder()
    assert Modality.parse("tactile") in encoder.modalities
    state = encoder.state_dict()
    assert all(tensor.equal(state[name]) for name, tensor in before.state_dict().items())
    own = encoder.config.sensors["tactile"]
    if sensor.get("mean"):
        assert (own.mean, own.std) == ((3.0,), (3.0,))
    else:  # levels 0, 3, 6 with small changes
        assert all(2.0 < mean < 5.5 for mean in own.mean)
        assert all(2.0 < std < 3.5 for std in own.std)


def test_a_broken_pair_is_left_out_and_named(tmp_path):
    pairs = write_pairs(tmp_path / "pairs", (1, 8, 8), train=40)
    np.save(pairs / "train" / "red" / "05.npy", np.full((1, 8, 8), np.nan))
    (pairs / "train" / "blue" / "00.png").write_bytes(b"no picture")
    recipe = recipe_file(tmp_path / "recipe.yaml")
    result = train(recipe, *overrides(tmp_path, "run.steps=2"))
    facts = json.loads((result.export / "training.json").read_text())
    assert (facts["left_out"], facts["pairs"]) == (2, {"train": 38, "test": 12})
    report = (tmp_path / "run" / "quarantine.jsonl").read_text()
    assert "05.npy" in report
    assert "NaN" in report
    assert "00.npy" in report


def test_pairs_without_labels_find_their_own_image(tmp_path):
    rng = np.random.default_rng(0)
    from PIL import Image

    for split, count in (("train", 30), ("test", 10)):
        folder = tmp_path / "pairs" / split
        folder.mkdir(parents=True)
        for number in range(count):
            grey = rng.integers(0, 255, (2, 2, 3)).astype(np.uint8)
            Image.fromarray(grey.repeat(4, 0).repeat(4, 1)).save(folder / f"{number}.png")
            np.save(folder / f"{number}.npy", grey.mean(2).repeat(4, 0).repeat(4, 1))
    recipe = recipe_file(tmp_path / "recipe.yaml")
    train(recipe, *overrides(tmp_path))
    last = metrics(tmp_path)[-1]
    assert "eval/accuracy" not in last
    assert 0 <= last["eval/own_image"] <= 1


def test_the_same_seed_gives_the_same_tower(tmp_path):
    write_pairs(tmp_path / "pairs", (1, 8, 8))
    recipe = recipe_file(tmp_path / "recipe.yaml")
    states = []
    for name in ("one", "two"):
        export = train(recipe, *overrides(tmp_path, "run.steps=3", f"run.folder={tmp_path / name}")).export
        states.append(load_imagebind(export).state_dict())
    assert all(tensor.equal(states[1][name]) for name, tensor in states[0].items())


def test_a_finished_run_is_left_alone_and_not_taken_for_another(tmp_path):
    write_pairs(tmp_path / "pairs", (1, 8, 8))
    recipe = recipe_file(tmp_path / "recipe.yaml")
    first = train(recipe, *overrides(tmp_path, "run.steps=2"))
    before = (first.export / "training.json").stat().st_mtime_ns
    again = train(recipe, *overrides(tmp_path, "run.steps=2"))
    assert (again.finished, again.step) == (True, 2)
    assert (first.export / "training.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match=r"another recipe: run\.steps \(2 then, 3 now\)"):
        train(recipe, *overrides(tmp_path, "run.steps=3"))


def test_training_goes_on_from_an_export(tmp_path):
    write_pairs(tmp_path / "pairs", (1, 8, 8))
    recipe = recipe_file(tmp_path / "recipe.yaml")
    first = train(recipe, *overrides(tmp_path, "run.steps=2")).export
    again = recipe_file(tmp_path / "again.yaml", sensor=None)
    second = train(
        again, *overrides(tmp_path, f"encoder={first}", "run.steps=2", f"run.folder={tmp_path / 'b'}")
    )
    assert load_imagebind(second.export).config == load_imagebind(first).config


def test_low_rank_updates_move_one_tower_and_are_folded_in(tmp_path):
    write_pairs(tmp_path / "pairs", (8, 8))  # depth maps in metres
    recipe = recipe_file(
        tmp_path / "recipe.yaml", modalities=["depth"], sensor=None, lora={"rank": 2, "scale": 1.0}
    )
    arguments = overrides(tmp_path, "run.steps=4")
    stage = make_stage(load_recipe("bind", recipe, arguments))
    names = set(stage.trainable())
    assert names
    assert all(".lora_" in name or name == "log_scale" for name in names)
    assert all(".depth." in name for name in names - {"log_scale"})
    assert stage.moving_buffers() == {}
    assert not any(module.training for module in stage.train().encoder.modules())
    batch = torch.randn(3, 1, 8, 8)
    before = tiny_encoder()
    with torch.no_grad():  # updates start at nothing
        assert torch.allclose(
            stage.encoder.encode(Modality.DEPTH, batch), before.encode(Modality.DEPTH, batch)
        )
        for name, parameter in stage.trainable().items():
            if "lora_B" in name:
                parameter.normal_()
        changed = stage.encoder.encode(Modality.DEPTH, batch)
        (tmp_path / "export").mkdir()
        stage.export(tmp_path / "export")
        folded = load_imagebind(tmp_path / "export")
        assert torch.allclose(folded.encode(Modality.DEPTH, batch), changed, atol=1e-5)
    assert not torch.allclose(changed, before.encode(Modality.DEPTH, batch), atol=1e-2)
    result = train(recipe, *arguments)
    after = load_imagebind(result.export).state_dict()
    moved = {name for name, tensor in before.state_dict().items() if not tensor.equal(after[name])}
    assert moved
    assert all(".depth." in name and name.endswith(".weight") for name in moved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ["image"]}, "exactly one"),
        ({"modalities": ["tactile", "radar"]}, "exactly one"),
        ({"modalities": ["depth"]}, "cannot be called 'depth'"),
        ({"source": "nano"}, "use one of 'pairs'"),
        ({"lora": {"rank": 2}}, "drop lora"),
        ({"sensor": {"kind": "grid", "shape": [8, 8]}}, r"\[8, 8\]"),
        ({"sensor": {"kind": "grid", "shape": [1, 8, 8], "paths": 4}}, "did you mean 'sensor.patch'"),
        ({"sensor": {"kind": "grid", "shape": [1, 8, 8], "mean": [0.0]}}, "both or neither"),
    ],
)
def test_contradicting_recipes_are_refused(tmp_path, changes, message):
    recipe = recipe_file(tmp_path / "recipe.yaml", **changes)
    with pytest.raises(ConfigError, match=message):
        load_recipe("bind", recipe, ["data.root=x", "run.folder=y", "encoder=z"])


def test_a_tower_that_is_not_there_is_named(tmp_path):
    write_pairs(tmp_path / "pairs", (1, 8, 8))
    recipe = recipe_file(tmp_path / "recipe.yaml", sensor=None)
    with pytest.raises(UserError, match="tactile"):
        train(recipe, *overrides(tmp_path))


def test_the_shipped_recipes_are_valid():
    from pathlib import Path

    found = sorted((Path(__file__).parents[2] / "recipes" / "sensors").glob("*.yaml"))
    assert len(found) >= 4
    for file in found:
        recipe = load_recipe("bind", file)
        if recipe.sensor is not None:
            recipe.sensor.config((0.0,), (1.0,)).check(file.name)
