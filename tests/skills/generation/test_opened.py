"""Generators by what they make."""

import pytest

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.skills.generation import nano
from imagebind_llm.skills.generation.opened import Generators

pytest.importorskip("diffusers")


def test_the_first_that_makes_a_kind_makes_it(monkeypatch, tmp_path):
    monkeypatch.setattr(nano, "generator_folder", lambda: tmp_path)
    own = Generators()
    assert own.kinds == (), "nano's weights are not there"
    with pytest.raises(CheckpointError, match="not in this installation"):
        own.get("picture")
    both = Generators(["stable-audio=somewhere", "./weights"])
    assert both.kinds == ("picture", "sound", "shape")
    with pytest.raises(UserError, match="there is no folder 'weights'"):
        both.get("picture")
    with pytest.raises(UserError, match="no generator here makes a shape: stable-audio makes sounds"):
        Generators(["stable-audio=somewhere"]).get("shape")


def test_sounds_count_only_where_they_are(monkeypatch, tmp_path):
    monkeypatch.setattr(nano, "generator_folder", lambda: tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert Generators().kinds == ("picture", "shape")
    with pytest.raises(UserError, match="brings no weights"):
        Generators(["nano", "stable-audio"]).get("sound")
    with pytest.raises(UserError, match="no generator here makes a sound: nano makes pictures and shapes"):
        Generators().get("sound")
    (tmp_path / "sounds.safetensors").write_text("")
    assert Generators().kinds == ("picture", "sound", "shape")


def test_a_folder_needs_no_slash(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").mkdir()
    with pytest.raises(CheckpointError, match="the folder 'export' has no config"):
        Generators(["export"]).get("picture")


@pytest.mark.parametrize(
    ("given", "said"), [("nano=", "names no weights"), ("nobody", "no generator 'nobody'")]
)
def test_names_that_are_none(given, said):
    with pytest.raises(UserError, match=said):
        Generators([given])
