"""A tiny model folder with random weights, and a few media files, shared by all rooms."""

import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.tiny_model import write_tiny_model

if TYPE_CHECKING:
    from imagebind_llm import Assistant


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
def bot(tiny_model_folder: Path) -> "Assistant":
    """An assistant without cache."""
    from imagebind_llm import Assistant

    return Assistant.from_pretrained(tiny_model_folder, device="cpu", cache=False)


@pytest.fixture(scope="session")
def tiny_cache_folder(tmp_path_factory: pytest.TempPathFactory, bot: "Assistant") -> Path:
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


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes give no names: a zip file holds the time, and workers must collect the same tests."""
    return argname if isinstance(val, bytes) else None
