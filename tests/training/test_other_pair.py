"""Another language model and another encoder, trained by the stages that train nano, see above chance."""

import json
from pathlib import Path

import pytest
from support.builders import MEDIA, SHARES, make
from support.llm_folders import run_cli
from support.tiny_training import (
    ENCODER,
    NAMES,
    OPTIMIZER,
    TinyDialogs,
    TinyWorld,
    run_values,
    tokenizer,
    turn,
)

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import build
from imagebind_llm.training.align import Pretrain
from imagebind_llm.training.loop import train
from imagebind_llm.training.registry import stage_kind
from nano_lab.stages.align import pretrain as align
from nano_lab.stages.language import Language

NEOX = {
    "model_type": "gpt_neox",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}


class Captions(TinyDialogs):
    """Its language model learns the words of captions, without pictures."""

    def dialog(self, kind, rng, split, row_of=None, weight_range=0.0):
        if kind != "text":
            return super().dialog(kind, rng, split, row_of, weight_range)
        name = NAMES[int(rng.integers(0, 4))]
        return turn(f"say {name}", f"a {name} image")


def quick(steps: int) -> dict:
    return {"optimizer": OPTIMIZER | {"lr": 1e-2}, "run": {"steps": steps, "batch_size": 16, "log_every": 50}}


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> tuple[Path, Path]:
    """A GPT-NeoX and an encoder with a joint space of 14, both trained a little."""
    root = tmp_path_factory.mktemp("pair")
    other = {**ENCODER, "embedding_dim": 14}
    train(*make("images", root / "images", root, config=other, **quick(60)))
    values = {
        "run": run_values(root / "language", steps=160, batch_size=16, log_every=50),
        "optimizer": OPTIMIZER | {"lr": 1e-2},
        "model": NEOX,
        "tokenizer": "-",
        "row_length": 48,
        "mixture": {"text": 1.0},
        "evaluate_items": 6,
    }
    recipe = build(stage_kind("language").recipe_class, values)
    train(Language(recipe, Captions(), tokenizer()), recipe)
    return root / "language" / "export", root / "images" / "export"


def pretrain(folder: Path, steps: int, **values) -> Pretrain:
    settings = {
        "run": run_values(folder / "run", steps=steps, batch_size=16, log_every=50),
        "optimizer": OPTIMIZER | {"lr": 2e-2},
        "data": {"root": "-", "bank": str(folder / "bank"), "shares": SHARES},
        "row_length": 48,
        "evaluate_items": 40,
        **values,
    }
    recipe = build(stage_kind("nano.pretrain").recipe_class, settings)
    stage = align(recipe, TinyWorld(), Captions(), MEDIA)
    train(stage, recipe)
    return stage


@pytest.mark.parametrize(
    "options", [(), ("--style", "value", "--bind-tokens", 4)], ids=["one vector", "four vectors"]
)
def test_the_other_pair_sees_above_chance(options, parts, tmp_path):
    llm, encoder = parts
    new = tmp_path / "new"
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--bind-depth", 1, *options, "--out", new) == 0
    config = json.loads((new / "config.json").read_text())
    assert config["bind"]["tokens"] == (4 if options else 1)
    assert config["text_config"]["model_type"] == "gpt_neox"
    assert config["embedding_dim"] == 14
    blind = pretrain(tmp_path / "blind", 1, model=str(new)).evaluate()
    seeing = pretrain(tmp_path / "seeing", 150, model=str(new)).evaluate()
    # four captions, whole sentences compared: guessing gets 0.25 of held-out pictures right
    assert blind["exact"] <= 0.45
    assert seeing["exact"] >= 0.6


@pytest.mark.parametrize("option", ["--bind-tokens", "--encoder-tokens"])
def test_several_vectors_need_attention(option, parts, tmp_path, capsys):
    llm, encoder = parts
    given = ("--llm", llm, "--encoder", encoder, option, 4)
    assert run_cli("new", *given, "--out", tmp_path / "new") == 2
    assert "--style value" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_recipe_with_several_vectors_needs_attention(tmp_path):
    with pytest.raises(ConfigError, match=r"bind\.tokens is 4, but injection style 'residual'"):
        pretrain(tmp_path, 1, encoder="b", language_model="c", bind={"tokens": 4})


def test_a_recipe_names_a_model_or_its_parts(tmp_path):
    with pytest.raises(ConfigError, match="give either the first two or model"):
        pretrain(tmp_path, 1, model="a", encoder="b", language_model="c")
    with pytest.raises(ConfigError, match="give either the first two or model"):
        pretrain(tmp_path, 1, encoder="b")
    with pytest.raises(ConfigError, match="bind is that of the model 'a'"):
        pretrain(tmp_path, 1, model="a", bind={"depth": 1})


def test_an_unknown_family_cannot_be_trained(tmp_path):
    with pytest.raises(ConfigError, match="'bert' are not known"):
        make("language", tmp_path, tmp_path, model={"model_type": "bert"})
