"""The stage heads on pictures that were embedded before: as pairs, as classes, and what is refused."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from support.caption_data import COLOURS, write_captions
from support.llm_folders import run_cli
from support.tiny_backbones import write_bert, write_clip, write_whisper
from support.tiny_training import run_values

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import build
from imagebind_llm.encoders import load_encoder
from imagebind_llm.encoders.towers.making import make_towers
from imagebind_llm.encoders.towers.recipe import new_encoder_of
from imagebind_llm.encoders.towers.weights import save_towers
from imagebind_llm.training.heads.recipe import HeadsRecipe
from imagebind_llm.training.loop import train
from imagebind_llm.training.registry import make_stage

TONES = {"a red square": 220, "a green square": 880}
"""Blue has no sound: its pictures are only contrasted with."""


def made(folder: Path, encoder, **changes):
    plain = {
        "run": run_values(folder, steps=changes.pop("steps", 3), batch_size=16),
        "optimizer": {"lr": 1e-2, "warmup_steps": 5, "weight_decay": 0.0},
        "encoder": str(encoder),
        **changes,
    }
    recipe = build(HeadsRecipe, plain)
    return make_stage(recipe), recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, Path]:
    """An encoder whose picture head has been measured, the same before, embedded pictures, and tones."""
    root = tmp_path_factory.mktemp("world")
    recipe = {
        "towers": {
            "image": {"backbone": str(write_clip(root / "clip")), "head": {"kind": "none"}},
            "text": {"backbone": str(write_bert(root / "bert")), "head": {"kind": "mlp", "hidden": 16}},
            "audio": {"backbone": str(write_whisper(root / "whisper")), "seconds": 0.4},
        },
    }
    save_towers(*make_towers(new_encoder_of(recipe)), root / "new")
    source = write_captions(root / "data", 60)
    export = train(*made(root / "first", root / "new", data={"sources": [source]}, train=["text"])).export
    for name, encoder in (("embedded", export), ("by another", root / "new")):
        given = ("data", "embed", source["path"], "--encoder", encoder, "--out", root / name, "--workers", 1)
        assert run_cli(*given) == 0
    rng = np.random.default_rng(0)
    for label, hertz in TONES.items():
        (root / "tones" / label).mkdir(parents=True)
        for number in range(20):
            pitch = hertz * rng.uniform(0.98, 1.02)
            samples = np.sin(np.arange(6400) * 2 * np.pi * pitch / 16_000) * rng.uniform(5_000, 12_000)
            with wave.open(str(root / "tones" / label / f"{number}.wav"), "wb") as sound:
                sound.setparams((1, 2, 16_000, 0, "NONE", ""))
                sound.writeframes(samples.astype("<i2").tobytes())
    return {name: root / name for name in ("new", "embedded", "by another", "tones")} | {"encoder": export}


def test_the_feature_of_an_embedding_has_that_embedding(world):
    encoder = load_encoder(world["encoder"])
    torch.manual_seed(0)
    wanted = torch.nn.functional.normalize(torch.randn(5, encoder.embedding_dim), dim=1)
    head = encoder.tower(Modality.IMAGE).head
    features = head.feature_of(wanted)
    torch.testing.assert_close(encoder.project(Modality.IMAGE, features), wanted)
    standard = (features - head.mean) / head.std
    torch.testing.assert_close(standard.pow(2).mean(1), torch.ones(5))


def test_sounds_learn_where_embeddings_of_their_class_are(tmp_path, world):
    pairs = [{"modalities": ["audio", "image"], "folders": [str(world["tones"]), str(world["embedded"])]}]
    stage, recipe = made(tmp_path / "run", world["encoder"], pairs=pairs, steps=150)
    (sets,) = stage.sets.values()
    assert sets.counts == {"train audio": 36, "train image": 60, "test audio": 4, "test image": 60}
    drawn = sets.draw(np.random.default_rng(0), 16)
    assert (len(drawn.first), len(drawn.second)) == (16, 32)
    assert torch.equal(drawn.first_labels, drawn.second_labels[:16])
    assert len(set(drawn.second_labels.tolist())) == len(COLOURS)
    found = json.loads((train(stage, recipe).export / "training.json").read_text())
    assert found["trained"] == ["audio"]
    assert found["eval/image_of_audio"] == 1.0  # the nearest of all pictures, blue ones too
    before, after = load_encoder(world["encoder"]), load_encoder(tmp_path / "run" / "export")
    for name, tensor in before.state_dict().items():
        assert tensor.equal(after.state_dict()[name]) == (not name.startswith("towers.audio.head")), name


def test_texts_learn_where_embedded_pictures_are(tmp_path, world):
    data = {"sources": [{"kind": "embedded", "path": str(world["embedded"])}]}
    data["test_sources"] = [{**data["sources"][0], "name": "again"}]
    stage, recipe = made(tmp_path / "run", world["encoder"], data=data, steps=150)
    found = json.loads((train(stage, recipe).export / "training.json").read_text())
    assert found["eval/image_of_text"] > 0.9  # a third by chance


def test_features_may_be_kept_for_other_runs(tmp_path, world, monkeypatch):
    data = {"sources": [{"kind": "embedded", "path": str(world["embedded"])}]}
    first, _ = made(tmp_path / "a", world["encoder"], data=data, features=str(tmp_path / "kept"))
    monkeypatch.setattr("imagebind_llm.data.records.load_medium", None)  # would fail if it were called
    second, _ = made(tmp_path / "b", world["encoder"], data=data, features=str(tmp_path / "kept"))
    for one, two in zip(first.sets.values(), second.sets.values(), strict=True):
        assert all(torch.equal(column, two.train.columns[kind]) for kind, column in one.train.columns.items())
    assert not (tmp_path / "a" / "features").exists()


@pytest.mark.parametrize(
    ("encoder", "folders", "complaint"),
    [
        ("new", ("tones", "by another"), "the head that made them has not been measured"),
        ("encoder", ("tones", "by another"), "embed the data with this encoder"),
        ("encoder", ("embedded", "tones"), "holds embeddings; name it second"),
    ],
)
def test_embeddings_that_cannot_be_learned_from_are_refused(tmp_path, world, encoder, folders, complaint):
    names = ["image", "audio"] if folders[0] == "embedded" else ["audio", "image"]
    pairs = [{"modalities": names, "folders": [str(world[folder]) for folder in folders]}]
    with pytest.raises((ConfigError, UserError)) as caught:
        made(tmp_path / "run", world[encoder], pairs=pairs)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
