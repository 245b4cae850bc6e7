"""Folders of tiny language models, as people bring them."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from imagebind_llm.cli import main

_TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(_TESTS / "core"))
from tiny import language_model  # noqa: E402

_spec = spec_from_file_location("shared_by_all_rooms", _TESTS / "conftest.py")
_shared = module_from_spec(_spec)
_spec.loader.exec_module(_shared)
byte_tokenizer = _shared.byte_tokenizer
write_tiny_model = _shared.write_tiny_model

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
