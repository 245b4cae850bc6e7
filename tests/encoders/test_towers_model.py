"""A whole model around towers, by the command line, from the recipe to answers about all kinds of media."""

import json

import numpy as np
import pytest
import torch
import yaml
from support.llm_folders import run_cli, write_llm
from support.tiny_backbones import write_bert, write_clip, write_point, write_whisper

from imagebind_llm import Assistant
from imagebind_llm.common.locate import ADAPTER_FILE
from imagebind_llm.encoders import load_encoder, media_of_encoder
from imagebind_llm.encoders.towers.media import TowersMedia
from imagebind_llm.encoders.towers.weights import save_towers
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.processing import ImageBindLLMProcessor


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A language model, and an encoder made by the command line."""
    root = tmp_path_factory.mktemp("parts")
    recipe = {
        "embedding_dim": 14,
        "towers": {
            "image": {"backbone": str(write_clip(root / "clip"))},
            "text": {"backbone": str(write_bert(root / "bert")), "head": {"kind": "mlp", "hidden": 20}},
            "audio": {"backbone": str(write_whisper(root / "whisper")), "seconds": 1},
            "point": {"backbone": str(write_point(root / "point"))},
        },
        "video": {"frames": 3},
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert run_cli("new-encoder", root / "recipe.yaml", "seed=3", "--out", root / "towers") == 0
    return write_llm(root / "llm", "qwen2"), root / "towers"


@pytest.fixture(scope="module")
def model_folder(parts, tmp_path_factory):
    """New by the command line; then its gates are opened, so that media change the answer."""
    llm, encoder = parts
    out = tmp_path_factory.mktemp("models") / "towers"
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--out", out) == 0
    model = ImageBindLLMForConditionalGeneration.from_pretrained(out)
    torch.nn.init.constant_(model.injection.gate, 3.0)
    model.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    import av

    file = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        random = np.random.default_rng(0)
        for _ in range(12):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 255, (48, 64, 3)).astype(np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def test_every_medium_is_seen(model_folder, media_folder, film, capsys):
    media = {
        "image": media_folder / "red.png",
        "video": film,
        "audio": media_folder / "tone.wav",
        "text": "a dog",
        "point": media_folder / "cloud.npy",
    }
    for name, source in media.items():
        asked = (
            "ask",
            "What?",
            f"--{name}",
            source,
            "--model",
            model_folder,
            "--max-new-tokens",
            3,
            "--json",
        )
        assert run_cli(*asked) == 0
        assert json.loads(capsys.readouterr().out)["new_tokens"] > 0
    bot = Assistant.from_pretrained(model_folder, device="cpu")
    assert isinstance(bot.processor.media, TowersMedia)
    rows = bot.embed(**{name: [str(source)] for name, source in media.items()})
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(5))
    assert (rows @ rows.T - torch.eye(5)).abs().max() < 0.9999  # five different embeddings
    assert run_cli("ask", "Hot?", "--thermal", media["image"], "--model", model_folder) == 2
    assert "has no thermal; it knows audio, image, point, text, video" in capsys.readouterr().err


def test_the_transformers_way_and_the_assistant_agree(model_folder, media_folder):
    model = ImageBindLLMForConditionalGeneration.from_pretrained(model_folder)
    processor = ImageBindLLMProcessor.from_pretrained(model_folder)
    content = [
        {"type": "audio", "path": str(media_folder / "tone.wav"), "weight": 0.5},
        {"type": "image", "path": str(media_folder / "blue.png"), "weight": 0.5},
        {"type": "text", "text": "What?"},
    ]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, add_generation_prompt=True
    )
    bot = Assistant(model, processor)
    expected = bot.condition(
        audio=(str(media_folder / "tone.wav"), 0.5), image=(str(media_folder / "blue.png"), 0.5)
    )
    torch.testing.assert_close(model.embed_media(inputs["media"])[0], expected, atol=1e-5, rtol=1e-4)


def test_the_encoder_keeps_its_fingerprint_on_the_way(parts, model_folder, tmp_path, media_folder):
    llm, encoder = parts
    own = load_encoder(encoder)
    model = ImageBindLLMForConditionalGeneration.from_pretrained(model_folder)
    assert model.config.fingerprints["encoder"] == own.fingerprint
    within = load_encoder(model_folder)
    assert within.fingerprint == own.fingerprint == model.encoder.fingerprint
    assert set(within.state_dict()) == set(own.state_dict())
    for name, buffer in own.named_buffers():  # those that are not stored, too
        assert torch.equal(buffer, dict(model.encoder.named_buffers())[name]), name
    out = tmp_path / "adapter"
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--out", out, "--adapter-only") == 0
    assert (out / ADAPTER_FILE).is_file()
    assert ImageBindLLMForConditionalGeneration.from_pretrained(out).encoder.fingerprint == own.fingerprint
    assert run_cli("ask", "What?", "--text", "a cat", "--model", out, "--max-new-tokens", 2) == 0


def test_an_encoder_that_learnt_more_takes_its_place(parts, model_folder, tmp_path, capsys):
    encoder = load_encoder(parts[1])
    media = media_of_encoder(parts[1], encoder)
    with torch.no_grad():
        encoder.towers["audio"].head.layers[0].weight.add_(1)
    save_towers(encoder, media, tmp_path / "more")
    out = tmp_path / "attached"
    assert run_cli("train", "attach", model_folder, tmp_path / "more", "--out", out) == 0
    assert load_encoder(out).fingerprint == encoder.fingerprint
    assert run_cli("ask", "What?", "--text", "a cat", "--model", out, "--max-new-tokens", 2) == 0
    with torch.no_grad():
        encoder.towers["image"].head.layers[0].weight.add_(1)
    save_towers(encoder, media, tmp_path / "other")
    assert run_cli("train", "attach", model_folder, tmp_path / "other", "--out", tmp_path / "no") == 2
    assert "was trained with" in capsys.readouterr().err


def test_the_other_commands_know_it(parts, model_folder, media_folder, tmp_path, capsys):
    assert run_cli("info", model_folder, "--json") == 0
    encoder = json.loads(capsys.readouterr().out)["model"]["encoder"]
    assert encoder == {"type": "towers", "modalities": ["audio", "image", "point", "text", "video"]}
    assert run_cli("doctor", model_folder) == 0
    assert (
        run_cli("embed", media_folder / "red.png", "--model", model_folder, "--out", tmp_path / "a.npy") == 0
    )
    assert np.load(tmp_path / "a.npy").shape == (1, 14)
