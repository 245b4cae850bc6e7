"""A whole model around PE-AV, by the command line, from new to answers about image, video, audio and text."""

import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from support.llm_folders import run_cli, write_llm
from support.tiny_pe_av import write_pe_av

from imagebind_llm import Assistant
from imagebind_llm.common.locate import ADAPTER_FILE
from imagebind_llm.encoders import load_encoder
from imagebind_llm.encoders.pe_av.media import PeAvMedia
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.processing import ImageBindLLMProcessor


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    return write_llm(root / "llm", "qwen2"), write_pe_av(root / "pe_av")


@pytest.fixture(scope="module")
def model_folder(parts, tmp_path_factory):
    """New by the command line; then its gates are opened, so that media change the answer."""
    llm, encoder = parts
    out = tmp_path_factory.mktemp("models") / "pe"
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--out", out) == 0
    model = ImageBindLLMForConditionalGeneration.from_pretrained(out)
    torch.nn.init.constant_(model.injection.gate, 3.0)
    model.save_pretrained(out)
    return out


@contextmanager
def unset_memory_is_nan():
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def test_every_medium_is_seen(model_folder, media_folder, tmp_path, capsys):
    import av

    film = tmp_path / "film.mp4"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        random = np.random.default_rng(0)
        for _ in range(12):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 255, (48, 64, 3)).astype(np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    media = {
        "image": media_folder / "red.png",
        "video": film,
        "audio": media_folder / "tone.wav",
        "text": "a dog",
    }
    for name, source in media.items():
        assert (
            run_cli(
                "ask", "What?", f"--{name}", source, "--model", model_folder, "--max-new-tokens", 4, "--json"
            )
            == 0
        )
        assert json.loads(capsys.readouterr().out)["new_tokens"] > 0
    bot = Assistant.from_pretrained(model_folder, device="cpu")
    assert isinstance(bot.processor.media, PeAvMedia)
    rows = bot.embed(**{name: [str(source)] for name, source in media.items()})
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))
    assert (rows @ rows.T - torch.eye(4)).abs().max() < 0.9999  # four different embeddings
    mixture = bot.ask(
        "Both?", image=(str(media["image"]), 0.6), audio=(str(media["audio"]), 0.4), max_new_tokens=3
    )
    assert mixture.new_tokens > 0
    assert run_cli("ask", "Hot?", "--thermal", media["image"], "--model", model_folder) == 2
    assert "has no thermal; it knows audio, image, text, video" in capsys.readouterr().err


def test_the_transformers_way_and_the_assistant_agree(model_folder, media_folder):
    model = ImageBindLLMForConditionalGeneration.from_pretrained(model_folder)
    processor = ImageBindLLMProcessor.from_pretrained(model_folder)
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "audio", "path": str(media_folder / "tone.wav"), "weight": 0.5},
                {"type": "image", "path": str(media_folder / "blue.png"), "weight": 0.5},
                {"type": "text", "text": "What?"},
            ],
        }
    ]
    inputs = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, add_generation_prompt=True
    )
    conditions = model.embed_media(inputs["media"])
    bot = Assistant(model, processor)
    expected = bot.condition(
        audio=(str(media_folder / "tone.wav"), 0.5), image=(str(media_folder / "blue.png"), 0.5)
    )
    torch.testing.assert_close(conditions[0], expected, atol=1e-5, rtol=1e-4)


def test_the_encoder_keeps_its_fingerprint_on_the_way(parts, model_folder, tmp_path):
    llm, encoder = parts
    own = load_encoder(encoder)
    model = ImageBindLLMForConditionalGeneration.from_pretrained(model_folder)
    assert model.config.fingerprints["encoder"] == own.fingerprint
    assert load_encoder(model_folder).fingerprint == own.fingerprint
    with unset_memory_is_nan():  # parts of PE-AV that the encoder leaves out are not stored
        assert load_encoder(model_folder).fingerprint == own.fingerprint
    out = tmp_path / "adapter"
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--out", out, "--adapter-only") == 0
    assert (out / ADAPTER_FILE).is_file()
    assert ImageBindLLMForConditionalGeneration.from_pretrained(out).encoder.fingerprint == own.fingerprint
