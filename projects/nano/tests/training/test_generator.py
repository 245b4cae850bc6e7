"""The generator stage: it learns, goes on exactly, leaves the encoder alone, and its result can be opened."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_training import ENCODER, OPTIMIZER, TinyWorld, run_values

pytest.importorskip("diffusers")

from imagebind_llm.common.settings import build
from imagebind_llm.skills.generation.contract import Settings, Wish
from imagebind_llm.skills.generation.nano import DecoderGenerator
from imagebind_llm.training.loop import train
from imagebind_llm.training.towers import open_encoder
from nano_lab.recipes import NanoGeneratorRecipe
from nano_lab.stages.generator import Generator, noisy_units

TINY = {"size": 8, "channels": (8, 16), "attention": (False, False), "heads_dim": 8, "groups": 4}


def recipe_for(folder: Path, **run: Any) -> NanoGeneratorRecipe:
    values = {
        "run": run_values(folder, **run),
        "optimizer": OPTIMIZER | {"ema": 0.9},
        "data": {
            "root": "unused",
            "bank": str(folder.parent / "bank"),
            "views": 2,
            "shares": {"colours": 1.0},
            "embedding_noise": 0.3,
        },
        "decoder": TINY,
        "shifts": ["text", "depth"],
        "evaluate_items": 10,
    }
    return build(NanoGeneratorRecipe, values)


def stage_for(recipe: NanoGeneratorRecipe) -> Generator:
    return Generator(recipe, open_encoder("new", ENCODER, 0), "0123456789abcdef", TinyWorld())


def test_it_learns_goes_on_exactly_and_can_be_opened(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path / "whole", steps=12)
    stage = stage_for(recipe)
    frozen = {name: tensor.clone() for name, tensor in stage.encoder.state_dict().items()}
    export = train(stage, recipe).export
    assert all(tensor.equal(frozen[name]) for name, tensor in stage.encoder.state_dict().items())

    lines = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    measured = json.loads((export / "training.json").read_text())
    assert -1 <= measured["eval/closeness"] <= 1
    assert measured["eval/loss"] > 0

    half = recipe_for(tmp_path / "parts", steps=12, checkpoint_every=5)
    stopped = stage_for(half)
    original = stopped.batch

    def stopping(index: int) -> Any:
        if index == 7:
            raise KeyboardInterrupt
        return original(index)

    stopped.batch = stopping
    with pytest.raises(KeyboardInterrupt):
        train(stopped, half)
    resumed = train(stage_for(half), half).export
    assert (resumed / "generator.safetensors").read_bytes() == (export / "generator.safetensors").read_bytes()

    from imagebind_llm.skills.generation.decoder import load_decoder

    decoder, fingerprint, shifts = load_decoder(export)
    assert fingerprint == "0123456789abcdef"
    assert set(shifts) == {"text", "depth"}
    made = DecoderGenerator(decoder, fingerprint, shifts).make(
        "picture", [Wish(stage._test.embeddings[0])], Settings(steps=2)
    )
    assert made.pixels.shape == (1, 8, 8, 3)


def test_a_batch_is_a_function_of_its_number(tmp_path: Path) -> None:
    stage = stage_for(recipe_for(tmp_path / "run"))
    for one, two in zip(stage.batch(3), stage.batch(3), strict=True):
        assert one.equal(two)
    assert not stage.batch(3).noise.equal(stage.batch(4).noise)
    batch = stage.batch(3)
    assert batch.pictures.abs().max() <= 1
    assert torch.allclose(batch.embeddings.norm(dim=1), torch.ones(8), atol=1e-5)


def test_noise_moves_as_far_as_asked() -> None:
    rows = torch.nn.functional.normalize(torch.ones(500, 64), dim=1)
    moved = noisy_units(rows, np.random.default_rng(0), 0.5)
    cosine = (rows * moved).sum(1)
    assert cosine.min() > 0.8
    assert cosine.min() < 0.92
    assert noisy_units(rows, np.random.default_rng(0), 0) is rows


def test_it_is_trained_on_the_models_own_encoder_whose_fingerprint_it_keeps(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the stage is given is what an assistant of the same model has."""
    from imagebind_llm import Assistant
    from nano_lab.stages import generator

    recipe = replace(recipe_for(tmp_path / "run"), model=str(tiny_model_folder))
    monkeypatch.setattr(generator, "Generator", lambda *given: given)
    given: Any = generator.open_generator(recipe, TinyWorld())
    bot = Assistant.from_pretrained(tiny_model_folder, device="cpu", cache=False)
    assert given[2] == bot.encoder_fingerprint == bot.model.config.fingerprints["encoder"]
    own: Any = bot.model.encoder
    for name, tensor in own.state_dict().items():
        assert tensor.equal(given[1].state_dict()[name]), name


def test_the_recipe_fits_its_class() -> None:
    root = Path(__file__).parents[4]
    from imagebind_llm.common.yaml_text import parse_yaml
    from imagebind_llm.skills.generation.decoder import DecoderConfig, EmbeddingDecoder

    values = parse_yaml((root / "recipes/nano/generator.yaml").read_text())
    assert values.pop("stage") == "nano.generator"
    assert values["model"] == "nano"
    recipe = build(NanoGeneratorRecipe, values)
    decoder = EmbeddingDecoder(build(DecoderConfig, {"embedding_dim": 128, **recipe.decoder}))
    assert 2 * sum(parameter.numel() for parameter in decoder.parameters()) < 8e6, "float16, bytes"
