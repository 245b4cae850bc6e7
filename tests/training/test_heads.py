"""The stage heads: colours, their names and tones of their own, with backbones of random weights. What is
right is known, and so is what chance would give."""

import csv
import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from support.caption_data import write_captions
from support.llm_folders import run_cli
from support.tiny_backbones import write_bert, write_clip, write_whisper
from support.tiny_training import run_values

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import build
from imagebind_llm.encoders import load_encoder, media_of_encoder
from imagebind_llm.encoders.towers.making import make_towers
from imagebind_llm.encoders.towers.recipe import new_encoder_of
from imagebind_llm.encoders.towers.weights import save_towers
from imagebind_llm.training.checkpoint import list_checkpoints
from imagebind_llm.training.heads.recipe import HeadsRecipe
from imagebind_llm.training.loop import train
from imagebind_llm.training.registry import make_stage

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "white": (240, 240, 240)}
TONES = {"red": 220, "green": 440, "blue": 880, "white": 1760}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("encoder")
    recipe = {
        "towers": {
            "image": {"backbone": str(write_clip(root / "clip")), "head": {"kind": "none"}},
            "text": {"backbone": str(write_bert(root / "bert")), "head": {"kind": "mlp", "hidden": 16}},
            "audio": {"backbone": str(write_whisper(root / "whisper")), "seconds": 0.4},
        },
        "video": {"frames": 2},
    }
    save_towers(*make_towers(new_encoder_of(recipe)), root / "towers")
    return root / "towers"


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Folders of pictures and of tones by colour, ``train`` and ``test``, and a table of pairs of the two."""
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    rows = []
    for split, count in (("train", 16), ("test", 5)):
        for colour, rgb in COLOURS.items():
            for number in range(count):
                picture = root / "pictures" / split / colour / f"{number}.png"
                picture.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(np.array(rgb) + rng.integers(-20, 20, (12, 12, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(picture)
                tone = root / "tones" / split / colour / f"{number}.wav"
                tone.parent.mkdir(parents=True, exist_ok=True)
                write_tone(tone, TONES[colour] * rng.uniform(0.98, 1.02), rng)
                rows.append((picture.relative_to(root), tone.relative_to(root), colour, split))
    with (root / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "audio", "label", "split"), *rows])
    return root


def write_tone(file: Path, hertz: float, rng: np.random.Generator) -> None:
    samples = np.sin(np.arange(6400) * 2 * np.pi * hertz / 16_000) * rng.uniform(5_000, 12_000)
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(samples.astype("<i2").tobytes())


def values(folder: Path, encoder: Path, **changes):
    run = {"steps": 150, "batch_size": 16, "log_every": 50, **changes.pop("run", {})}
    return {
        "run": run_values(folder, **run),
        "optimizer": {"lr": 1e-2, "warmup_steps": 5, "weight_decay": 0.0},
        "encoder": str(encoder),
        **changes,
    }


def by_class(world):
    folders = [str(world / "pictures"), str(world / "tones")]
    return {"modalities": ["image", "audio"], "folders": folders}


def made(plain):
    recipe = build(HeadsRecipe, plain)
    return make_stage(recipe), recipe


def measures(export: Path):
    return json.loads((export / "training.json").read_text())


def test_three_modalities_meet_at_frozen_pictures(tmp_path, encoder, world):
    held_out = write_captions(tmp_path / "held out", 24, seed=1)
    plain = values(
        tmp_path / "run",
        encoder,
        data={"sources": [write_captions(tmp_path / "data", 60)], "test_sources": [held_out]},
        pairs=[by_class(world)],
    )
    stage, recipe = made(plain)
    with torch.no_grad():
        before = stage.eval().evaluate()
    assert before["audio_of_image"] < 0.65  # a quarter by chance
    found = measures(train(stage, recipe).export)
    assert found["eval/text_of_image"] > 0.9  # a third by chance
    assert found["eval/image_of_text"] > 0.9
    assert found["eval/audio_of_image"] > 0.9
    assert found["eval/image_of_audio"] > 0.9
    assert found["trained"] == ["text", "audio"]
    after, start = load_encoder(tmp_path / "run" / "export"), load_encoder(encoder)
    for name, tensor in start.state_dict().items():
        same = tensor.equal(after.state_dict()[name])
        assert same == (".head." not in name), (
            name
        )  # heads alone move; also mean and std, which were measured
    # never paired, yet one space: tones find the names of their colours
    media = media_of_encoder(tmp_path / "run" / "export", after)
    names = ["red", "green", "blue"]
    texts = torch.stack([media.load(Modality.TEXT, f"a {name} square") for name in names])
    tones = torch.stack([media.load(Modality.AUDIO, world / "tones" / "test" / n / "0.wav") for n in names])
    with torch.no_grad():
        near = after.encode(Modality.AUDIO, tones) @ after.encode(Modality.TEXT, texts).T
    assert near.argmax(1).tolist() == [0, 1, 2]


def test_rows_of_a_table_are_pairs_and_a_bad_one_is_named(tmp_path, encoder, world):
    table = world / "with-bad.csv"
    table.write_text((world / "pairs.csv").read_text() + "missing.png,missing.wav,red,train\n")
    pairs = [{"modalities": ["image", "audio"], "table": str(table)}]
    stage, recipe = made(values(tmp_path / "run", encoder, pairs=pairs, data={"max_bad_share": 0.1}))
    assert stage.sets["image-audio"].counts == {"train": 64, "test": 20}
    found = measures(train(stage, recipe).export)
    assert found["eval/audio_of_image"] > 0.9
    assert found["left_out"] == 1
    assert "missing.png" in (tmp_path / "run" / "quarantine.jsonl").read_text()


def test_features_are_computed_once_and_are_those_of_the_encoder(tmp_path, encoder, world, monkeypatch):
    pairs = [{"modalities": ["image", "audio"], "table": str(world / "pairs.csv")}]
    plain = values(tmp_path / "run", encoder, pairs=pairs)
    stage, _ = made(plain)
    media = media_of_encoder(encoder, stage.encoder)
    first = media.load(Modality.IMAGE, world / "pictures" / "train" / "red" / "0.png")
    with torch.no_grad():
        expected = stage.encoder.features(Modality.IMAGE, first[None])[0]
    kept = stage.sets["image-audio"].train.columns[Modality.IMAGE][0]
    torch.testing.assert_close(kept.float(), expected, atol=1e-3, rtol=1e-3)
    mean = stage.encoder.towers["image"].head.mean
    columns = stage.sets["image-audio"].train.columns[Modality.IMAGE].float()
    torch.testing.assert_close(mean, columns.mean(0), atol=1e-5, rtol=1e-4)
    monkeypatch.setattr(
        "imagebind_llm.training.heads.items.load_medium", None
    )  # would fail if it were called
    again, _ = made(plain)
    assert torch.equal(again.sets["image-audio"].train.columns[Modality.IMAGE][0], kept)


class Killed(BaseException):
    """Stands for a kill -9."""


def test_killed_and_resumed_is_bitwise_uninterrupted(tmp_path, encoder, world):
    pairs = [by_class(world)]
    run = {"steps": 6, "batch_size": 8, "checkpoint_every": 2}

    def start(folder):
        return made(values(folder, encoder, pairs=pairs, run=run))

    train(*start(tmp_path / "straight"))
    stage, recipe = start(tmp_path / "broken")
    usual = stage.batch

    def batch(number):
        if number >= 5:
            raise Killed
        return usual(number)

    stage.batch = batch
    with pytest.raises(Killed):
        train(stage, recipe)
    train(*start(tmp_path / "broken"))
    for name in ("trained.safetensors", "optimizer.safetensors"):
        straight, broken = (
            load_file(list_checkpoints(tmp_path / one / "checkpoints")[-1] / name)
            for one in ("straight", "broken")
        )
        assert straight.keys() == broken.keys()
        assert all(tensor.equal(broken[key]) for key, tensor in straight.items())


def test_a_later_run_adds_a_modality_and_leaves_the_others(tmp_path, encoder, world):
    pairs = [by_class(world)]
    first = train(*made(values(tmp_path / "first", encoder, pairs=pairs, run={"steps": 3}))).export
    data = {"sources": [write_captions(tmp_path / "data", 30)]}
    second = train(*made(values(tmp_path / "second", first, data=data, run={"steps": 3}))).export
    before, after = load_encoder(first).state_dict(), load_encoder(second).state_dict()
    moved = {name.split(".")[1] for name, tensor in before.items() if not tensor.equal(after[name])}
    assert moved == {"text"}  # the pictures' mean and deviation, too, are those of the first run


def test_by_the_command_line(tmp_path, encoder, world, capsys):
    pairs = [{"modalities": ["video", "audio"], "table": str(tmp_path / "films.tsv")}]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(values(tmp_path / "run", encoder, pairs=pairs, run={"steps": 2})))
    assert run_cli("train", "heads", recipe) == 2
    assert "there is no table" in capsys.readouterr().err
    plain = yaml.safe_load(recipe.read_text())
    plain["pairs"] = [{"modalities": ["image", "audio"], "table": str(world / "pairs.csv")}]
    recipe.write_text(yaml.safe_dump(plain))
    assert run_cli("train", "heads", recipe, "run.folder=" + str(tmp_path / "other"), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["finished"]
    assert load_encoder(result["export"]).modalities == load_encoder(encoder).modalities


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, "the recipe has no pairs"),
        ({"pairs": [{"modalities": ["image", "depth"], "table": "x.csv"}]}, "has no depth"),
        ({"pairs": [{"modalities": ["image", "audio"]}]}, "give one of them"),
        ({"pairs": [{"modalities": ["image", "image"], "table": "x.csv"}]}, "give two modalities"),
        ({"pairs": [{"modalities": ["image", "audio"], "tabel": "x.csv"}]}, "did you mean"),
        (
            {"pairs": [{"modalities": ["image", "audio"], "table": "x.csv"}], "train": ["image"]},
            "kind 'none'",
        ),
        (
            {"pairs": [{"modalities": ["image", "audio"], "table": "x.csv"}], "train": ["text"]},
            "neither the head",
        ),
        ({"data": {"sources": [{"kind": "alpaca", "path": "x"}]}}, "text only"),
        ({"data": {"sources": [{"kind": "tsv", "path": "x"}], "augment": True}}, "computed once"),
        ({"pairs": [{"modalities": ["image", "audio"], "folders": ["no", "where"]}]}, "there is no 'no'"),
        ({"pairs": [{"modalities": ["image", "text"], "folders": ["no", "where"]}]}, "by class are of files"),
    ],
)
def test_a_wrong_recipe_gives_one_line(tmp_path, encoder, changes, complaint):
    with pytest.raises((ConfigError, UserError)) as caught:
        made(values(tmp_path / "run", encoder, **changes))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_type_of_encoder_is_refused(tmp_path, tiny_model_folder):
    pairs = [{"modalities": ["image", "audio"], "table": "x.csv"}]
    with pytest.raises(ConfigError, match="train an ImageBind with train bind"):
        made(values(tmp_path / "run", tiny_model_folder, pairs=pairs))
