"""A text that is longer than its encoder reads is read in part, and somebody is told."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from imagebind_llm.common.locate import nano_folder
from imagebind_llm.encoders.towers.words import WordsInput
from imagebind_llm.media.base import Limits
from imagebind_llm.media.settings import TextSettings
from imagebind_llm.media.text import load_text, tell_of_longer_text

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
    tell_of_longer_text.cache_clear()
    with caplog.at_level(logging.WARNING):
        read("a cat")
        assert not told(caplog)
        longer = [read(f"a cat sat on the mat and looked at {name} all the long day" * 3) for name in "xy"]
    assert told(caplog) == [f"note: a text is {NOTE}; only its beginning counts"]
    assert all(len(row) == 12 and bool((row != 0).all()) for row in longer)
