"""Speech recognition by transformers' own Whisper, of random weights and of a tiny size."""

import json

import numpy as np
import pytest
import torch
from support.live_server import INPUTS

from imagebind_llm import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.skills.tools import Toolbox
from imagebind_llm.skills.tools.transcriber import PIECE, RATE, Transcriber, mono

pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Whisper folder as ``imagebind-llm pull`` makes them, of random weights."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("whisper")
    letters = [chr(code) for code in [*range(ord("!"), ord("~") + 1), 0x120]]
    vocabulary = {
        letter: number for number, letter in enumerate([*letters, "<|endoftext|>", "<|startoftranscript|>"])
    }
    end, start = len(vocabulary) - 2, len(vocabulary) - 1
    config = WhisperConfig(
        vocab_size=len(vocabulary), d_model=16, encoder_layers=1, decoder_layers=1, num_mel_bins=80,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_target_positions=24, pad_token_id=end, bos_token_id=end, eos_token_id=end,
        decoder_start_token_id=start, init_std=0.5, begin_suppress_tokens=None, suppress_tokens=None,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    model.generation_config.max_length = 12
    model.save_pretrained(path)
    WhisperFeatureExtractor().save_pretrained(path)
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    (path / "merges.txt").write_text("#version: 0.2\n")
    special = {"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "WhisperTokenizer", **special})
    )
    return path


@pytest.fixture(scope="module")
def heard(folder):
    return Transcriber(folder)


def test_a_recording_is_what_whisper_generates(heard, folder):
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    source = INPUTS / "four.wav"
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    processor = WhisperProcessor.from_pretrained(folder)
    features = processor(mono(source), sampling_rate=RATE, return_tensors="pt").input_features
    ids = model.generate(features)
    expected = processor.batch_decode(ids, skip_special_tokens=True)[0].strip()
    assert heard.transcribe(source) == expected
    assert expected
    assert heard.transcribe(source.read_bytes()) == expected


def test_any_rate_and_any_number_of_channels():
    wave = np.sin(np.arange(8000) / 8000 * 2 * np.pi * 440).astype(np.float32)
    found = mono({"array": np.stack([wave, wave]), "sampling_rate": 8000})
    assert found.shape == (16000,)
    expected = np.sin(np.arange(16000) / 16000 * 2 * np.pi * 440)
    assert np.abs(found - expected)[500:-500].max() < 0.02


def test_a_long_recording_is_heard_in_pieces(heard):
    noise = np.random.default_rng(0).normal(0, 0.1, PIECE + RATE).astype(np.float32)
    first, second = heard.transcribe(noise[:PIECE]), heard.transcribe(noise[PIECE:])
    assert heard.transcribe(noise) == f"{first} {second}".strip()


def test_it_is_a_tool_that_takes_the_media(heard):
    box = Toolbox([heard.tool()])
    media = [
        MediaItem(Modality.IMAGE, INPUTS / "seven.png", 1.0),
        MediaItem(Modality.AUDIO, INPUTS / "four.wav", 1.0),
    ]
    assert box.call("transcribe", {}, media).result == heard.transcribe(INPUTS / "four.wav")
    assert (
        "recording 2 is asked for, and 1 are attached" in box.call("transcribe", {"number": 2}, media).error
    )
    broken = [MediaItem(Modality.AUDIO, b"no sound at all", 1.0)]
    error = box.call("transcribe", {}, broken).error
    assert error
    assert "\n" not in error


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(UserError):
        Transcriber(tmp_path / "none")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match="holds no Whisper model"):
        Transcriber(tmp_path)
