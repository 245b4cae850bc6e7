"""Folders of tiny language models, as people bring them."""

from pathlib import Path

import pytest

from imagebind_llm.cli import main
from support.tiny import language_model
from support.tiny_model import byte_tokenizer

VOCABULARY = 260


def write_llm(folder: Path, kind: str = "llama", tokenizer: bool = True) -> Path:
    language_model(kind, vocab_size=VOCABULARY).save_pretrained(folder)
    if tokenizer:
        byte_tokenizer().save_pretrained(folder)
    return folder


def run_cli(*arguments) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as leaving:
        main([str(argument) for argument in arguments])
    return int(leaving.value.code or 0)
