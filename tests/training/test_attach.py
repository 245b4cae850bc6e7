"""A sensor in a finished model: asked in Python, on the command line, in messages and batches."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from imagebind_llm import Assistant
from imagebind_llm.cli.app import app
from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.locate import nano_folder
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import save_imagebind
from imagebind_llm.encoders.registry import load_encoder
from imagebind_llm.training.new_sensor import NewSensor, with_sensor
from imagebind_llm.training.towers import attach_encoder

QUESTION = "What is this?"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A nano that knows a sensor (its tower has random weights), and an array of it."""
    folder = tmp_path_factory.mktemp("attached")
    new = NewSensor("grid", (1, 24, 24), width=24, blocks=1, heads=2)
    encoder = with_sensor(load_encoder("nano"), "tactile", new.config((1.0,), (2.0,)), seed=0)
    save_imagebind(encoder, folder / "encoder")
    attach_encoder(nano_folder(), folder / "encoder", folder / "model")
    np.save(folder / "grip.npy", np.random.default_rng(0).normal(size=(24, 24)))
    np.save(folder / "bad.npy", np.zeros((3, 3)))
    return folder


@pytest.fixture(scope="module")
def bot(inputs):
    return Assistant.from_pretrained(inputs / "model", device="cpu")


def invoke(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_model_answers_about_the_sensor(bot, inputs):
    answer = bot.ask(QUESTION, media={"tactile": inputs / "grip.npy"})
    assert answer.text
    assert answer.cached
    assert [item.modality.value for item in answer.media] == ["tactile"]
    plain = bot.ask(QUESTION, media={"tactile": inputs / "grip.npy"}, cache=False)
    assert not plain.cached
    message = {"role": "user", "content": [{"type": "tactile", "path": str(inputs / "grip.npy")}, QUESTION]}
    assert bot.ask(messages=[message]).text == answer.text
    (batched,) = bot.ask_batch([{"question": QUESTION, "tactile": str(inputs / "grip.npy")}])
    assert batched.text == answer.text
    assert "".join(bot.stream(QUESTION, media={"tactile": inputs / "grip.npy"})) == answer.text
    assert bot.chat().send(QUESTION, tactile=inputs / "grip.npy").text == answer.text


def test_embeddings_are_those_of_the_encoder(bot, inputs):
    found = bot.embed(tactile=[inputs / "grip.npy"])
    array = torch.from_numpy((np.load(inputs / "grip.npy") - 1) / 2).float()
    with torch.no_grad():
        expected = bot.model.encoder.encode(Modality.parse("tactile"), array[None, None])
    assert torch.allclose(found, expected, atol=1e-6)


def test_everything_else_is_as_before(bot, media_folder):
    picture = media_folder / "red.png"
    nano = Assistant.from_pretrained("nano", device="cpu")
    assert bot.ask(QUESTION, image=picture).text == nano.ask(QUESTION, image=picture).text
    assert torch.allclose(bot.embed(image=[picture]), nano.embed(image=[picture]))
    assert bot.encoder_fingerprint != nano.encoder_fingerprint
    assert bot.cache is not None
    assert bot.cache.size == nano.cache.size
    assert bot.cache.manifest.encoder_fingerprint == bot.encoder_fingerprint


def test_the_command_line_knows_the_sensor(inputs):
    done = invoke(
        "ask", QUESTION, "--media", f"tactile={inputs / 'grip.npy'}", "--model", inputs / "model", "--json"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["media"][0]["modality"] == "tactile"
    out = inputs / "grip.csv"
    done = invoke(
        "embed", inputs / "grip.npy", "--modality", "tactile", "--model", inputs / "model", "--out", out
    )
    assert done.exit_code == 0
    assert out.read_text().splitlines()[1].split(",")[1] == "tactile"
    done = invoke("info", inputs / "model", "--json")
    assert "tactile" in json.loads(done.stdout)["model"]["encoder"]["modalities"]


def test_mistakes_are_one_line(bot, inputs):
    with pytest.raises(UserError, match=r"shape \[3, 3\]; expected \[1, 24, 24\]"):
        bot.ask(QUESTION, media={"tactile": inputs / "bad.npy"})
    with pytest.raises(UserError, match="unknown modality 'smell'"):
        bot.ask(QUESTION, media={"smell": "x"})
    with pytest.raises(UserError, match="given twice"):
        bot.ask(QUESTION, image="a.png", media={"image": "b.png"})
    with pytest.raises(UserError, match="no tactile"):
        Assistant.from_pretrained("nano", device="cpu").ask(QUESTION, media={"tactile": inputs / "grip.npy"})


def test_another_vision_tower_is_refused(inputs, tmp_path):
    encoder = load_encoder("nano")
    with torch.no_grad():
        encoder.modality_heads["vision"][2].weight.mul_(1.01)
    save_imagebind(encoder, tmp_path / "other")
    with pytest.raises(CheckpointError, match="vision tower"):
        attach_encoder(nano_folder(), tmp_path / "other", tmp_path / "model")
    save_imagebind(load_encoder("nano"), tmp_path / "less")
    with pytest.raises(CheckpointError, match="tactile, which the model has"):
        attach_encoder(inputs / "model", tmp_path / "less", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("command", ["attach", "merge"])
def test_a_folder_of_other_things_is_not_replaced(command, inputs, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    words = ["nano", inputs / "encoder"] if command == "attach" else [inputs / "encoder"] * 2
    result = invoke("train", command, *words, "--out", precious)
    assert isinstance(result.exception, UserError)
    assert "holds 'thesis.txt', which is not known to be ours; give another folder" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert [path.name for path in precious.iterdir()] == ["thesis.txt"]
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_an_earlier_result_is_replaced(inputs, tmp_path):
    encoder = load_encoder(str(inputs / "encoder"))
    save_imagebind(encoder, tmp_path / "encoder", torch.float16)
    save_imagebind(encoder, tmp_path / "encoder")
    assert load_encoder(str(tmp_path / "encoder")).fingerprint == encoder.fingerprint
    (tmp_path / "encoder" / "notes.md").write_text("mine")
    with pytest.raises(CheckpointError, match=r"holds 'notes\.md'"):
        save_imagebind(encoder, tmp_path / "encoder")
    assert (tmp_path / "encoder" / "notes.md").read_text() == "mine"
