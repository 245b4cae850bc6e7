"""What is longer than its encoder reads, a text, a sound or motion, is read in part, and somebody is told."""

import logging
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoTokenizer

from imagebind_llm.common.locate import nano_folder
from imagebind_llm.encoders.towers.words import WordsInput
from imagebind_llm.media.base import Limits, tell_of_more
from imagebind_llm.media.beginning import load_beginning
from imagebind_llm.media.imu import load_imu
from imagebind_llm.media.settings import ImuSettings, TextSettings
from imagebind_llm.media.text import load_text

NOTE = "longer than the 12 tokens that the encoder reads"


def by_clip(text: str) -> torch.Tensor:
    return load_text(text, TextSettings(context_length=12))


def by_backbone(text: str) -> torch.Tensor:
    return WordsInput(12).load(text, tokenizer(), Limits())[0]


def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(nano_folder())


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("imagebind_llm")]


@pytest.mark.parametrize("read", [by_clip, by_backbone])
def test_who_gives_a_longer_text_is_told_once(
    read: Callable[[str], torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    tell_of_more.cache_clear()
    with caplog.at_level(logging.WARNING):
        read("a cat")
        assert not told(caplog)
        longer = [read(f"a cat sat on the mat and looked at {name} all the long day" * 3) for name in "xy"]
    assert told(caplog) == [f"note: a text is {NOTE}; only its beginning counts"]
    assert all(len(row) == 12 and bool((row != 0).all()) for row in longer)


def recorded(wave: np.ndarray) -> bytes:
    file = BytesIO()
    soundfile.write(file, wave, 8000, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize("given", [np.asarray, recorded])
def test_who_gives_a_longer_sound_is_told(
    given: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    tell_of_more.cache_clear()
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        load_beginning(given(wave[:8000]), 8000, 8000, Limits())
        assert not told(caplog)
        assert len(load_beginning(given(wave), 8000, 8000, Limits())) == 8000
    assert told(caplog) == [
        "note: a sound is longer than the 1 seconds that the encoder reads; only its beginning counts"
    ]


@pytest.mark.parametrize("rate", [400, 100])
def test_who_gives_a_longer_recording_of_motion_is_told(rate: int, caplog: pytest.LogCaptureFixture) -> None:
    tell_of_more.cache_clear()
    settings = ImuSettings(source_rate_hz=rate)
    seconds = settings.samples / settings.rate_hz
    readings = np.random.default_rng(0).normal(0, 1, (3 * round(seconds * rate), 6))
    with caplog.at_level(logging.WARNING):
        load_imu(readings[: round(seconds * rate) + 1], settings)
        assert not told(caplog)
        load_imu(readings, settings)
    read = f"{seconds:.3g} seconds that the encoder reads"
    assert told(caplog) == [f"note: a recording of motion is longer than the {read}; only its middle counts"]
