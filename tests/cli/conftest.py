"""The command line in this process."""

import io
import sys

import pytest

from imagebind_llm import Assistant
from imagebind_llm.cli import main

_LOADED = {}


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command line in this process: (exit code, stdout, stderr). Each model is loaded once,
    into ``run.models``."""
    load = Assistant.from_pretrained

    def load_once(*arguments, **settings):
        key = (arguments, tuple(sorted(settings.items())))
        if key not in _LOADED:
            _LOADED[key] = load(*arguments, **settings)
        return _LOADED[key]

    monkeypatch.setattr(Assistant, "from_pretrained", load_once)

    def call(*arguments, stdin=""):
        encoded = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encoded), encoding="utf-8"))
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return leaving.value.code, captured.out, captured.err

    call.models = _LOADED
    return call
