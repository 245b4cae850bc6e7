"""Where a reader would be, with nano loaded once."""

import shutil

import pytest
from pages import ROOT

from imagebind_llm import Assistant
from imagebind_llm.common.locate import nano_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Nothing that a command writes there stays."""
    assert (nano_folder() / "config.json").is_file(), "the pages are about nano, whose weights are missing"
    place = tmp_path_factory.mktemp("pages")
    shutil.copytree(ROOT / "examples", place / "examples")
    return place


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def load_once():
    """Each model is loaded once for all commands."""
    loaded = {}
    load = Assistant.from_pretrained

    def from_pretrained(*arguments, **settings):
        key = (arguments, tuple(sorted(settings.items())))
        if key not in loaded:
            loaded[key] = load(*arguments, **settings)
        return loaded[key]

    return from_pretrained
