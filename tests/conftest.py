"""A tiny model folder with random weights, and a few media files, shared by all rooms."""

import dataclasses
import json
import wave
from pathlib import Path

import numpy as np
import pytest

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMALL_MEDIA = {
    "image": {"size": 32},
    "video": {"size": 32, "clips": 2, "frames_per_clip": 2, "crops": 1},
    "audio": {"mel_bins": 64, "low_hz": 20.0, "high_hz": 3500.0, "target_frames": 204, "clips": 1},
    "point": {"count": 512},
    "depth": {"size": 32},
    "thermal": {"size": 32},
}


def byte_tokenizer():
    """One token per byte, and the control tokens of the ChatML format."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def write_tiny_model(folder: Path, seed: int = 0, context: int = 256) -> Path:
    """A whole model folder. All sizes differ, and the gates are open, so that media change the answer."""
    import torch
    from transformers import GenerationConfig, LlamaConfig

    from imagebind_llm import (
        ImageBindConfig,
        ImageBindLLMConfig,
        ImageBindLLMForConditionalGeneration,
        ImageBindLLMProcessor,
    )
    from imagebind_llm.media.settings import MediaSettings

    torch.manual_seed(seed)
    tokenizer = byte_tokenizer()
    encoder = dataclasses.replace(ImageBindConfig.nano(), embedding_dim=28)
    config = ImageBindLLMConfig(
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=40,
            intermediate_size=72,
            num_hidden_layers=3,
            num_attention_heads=5,
            num_key_value_heads=1,
            head_dim=12,
            max_position_embeddings=context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.3,  # far from uniform, so that greedy choices have a margin
        ),
        encoder_config={"type": "imagebind", **encoder.to_dict()},
        embedding_dim=28,
        media=SMALL_MEDIA,
    )
    model = ImageBindLLMForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.injection.named_parameters():
            if "gate" in name:
                parameter.fill_(2.0)
    model.config.fingerprints["encoder"] = model.encoder.fingerprint
    model.generation_config = GenerationConfig(
        max_new_tokens=12,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    ImageBindLLMProcessor(tokenizer, MediaSettings.from_dict(SMALL_MEDIA)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights (no cache)."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn and computed media: ``red.png``, ``blue.png``, ``at@home.png``, ``tone.wav``, ``cube.npy``, …"""
    from PIL import Image

    folder = tmp_path_factory.mktemp("media")
    random = np.random.default_rng(0)
    for name, colour in {"red": (220, 30, 20), "blue": (20, 40, 200), "at@home": (30, 200, 60)}.items():
        noise = random.integers(-20, 20, (48, 40, 3))
        picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{name}.png")
    with wave.open(str(folder / "tone.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        tone = np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000) * 12_000
        sound.writeframes(tone.astype("<i2").tobytes())
    np.save(folder / "cloud.npy", random.normal(size=(600, 3)).astype(np.float32))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    return folder


@pytest.fixture(scope="session")
def bot(tiny_model_folder: Path):
    """An assistant without cache."""
    from imagebind_llm import Assistant

    return Assistant.from_pretrained(tiny_model_folder, device="cpu", cache=False)


@pytest.fixture(scope="session")
def tiny_cache_folder(tmp_path_factory: pytest.TempPathFactory, bot) -> Path:
    """A cache of random vectors that the tiny model's encoder is said to have made."""
    from imagebind_llm.cache import build_cache

    vectors = np.random.default_rng(1).normal(size=(40, 28)).astype(np.float32)
    cache = build_cache(
        vectors,
        "exact",
        captions=[f"picture {i}" for i in range(40)],
        encoder_fingerprint=bot.encoder_fingerprint,
    )
    folder = tmp_path_factory.mktemp("caches") / "cache"
    cache.save(folder)
    return folder


def read_json_lines(text: str) -> list[dict]:
    """The objects of a JSON-lines text."""
    return [json.loads(line) for line in text.splitlines()]
