"""Ablations: the plan's recipes are valid, results are remembered, summed up and drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import nano_lab.ablations.run as running
from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.locate import nano_folder
from imagebind_llm.evaluation.plots import load_pyplot
from imagebind_llm.model.adaptation import language_model_fingerprint
from imagebind_llm.model.bind import BindNetwork
from imagebind_llm.model.families import DecoderShape
from imagebind_llm.model.injection import Injection
from imagebind_llm.training.recipe import load_recipe
from nano_lab.ablations.inputs import (
    Budget,
    Inputs,
    decoder_layers,
    extract_language_model,
    write_recipes,
)
from nano_lab.ablations.measure import split
from nano_lab.ablations.plan import CACHE, check_names, chosen, groups
from nano_lab.ablations.plot import draw
from nano_lab.ablations.report import markdown, summarise
from nano_lab.ablations.run import Questions, _Runner, run_ablations

LAYERS = 4


@pytest.fixture
def inputs(tmp_path):
    return Inputs(Path("data"), nano_folder(), Path("encoder"), Path("language"), exact_language_model=True)


def test_every_choice_of_the_paper_is_compared():
    found = {group.key: group for group in groups(LAYERS)}
    assert list(found) == [
        "gates", "depth", "style", "tokens", "layers", "adapters", "cache", "cache-k", "cache-temperature",
        "cache-weight",
    ]  # fmt: skip
    assert [variant.overrides for variant in found["layers"].variants] == [
        (), ("injection.layers=2",), ("injection.layers=[0]",)
    ]  # fmt: skip
    for group in found.values():
        if group.kind == "cache":
            published = group.variants[1 if group.key == "cache" else 0]
            assert published.cache == CACHE
        else:
            assert group.variants[0].overrides == ()  # the published choice
            keys = [variant.key for variant in group.variants]
            assert len(set(keys)) == len(keys)
            assert not any(set(key) & set("/[]' ") for key in keys)


def test_arms_are_recipes_that_train_takes(inputs, tmp_path):
    recipes = write_recipes(inputs, Budget(steps=7, batch_size=5, images=900), tmp_path)
    seen = []
    for group in groups(LAYERS):
        if group.kind == "cache":
            continue
        for variant in group.variants:
            recipe = load_recipe(group.kind, recipes[group.kind], [*variant.overrides, "run.seed=3"])
            assert (recipe.run.steps, recipe.run.batch_size, recipe.data.limit) == (7, 5, 900)
            seen.append((variant.name, recipe))
    recipes_of = dict(seen)
    assert recipes_of["random, spread 1"].injection == {"gate_std": 1.0}
    assert recipes_of["0 (a linear layer)"].bind == {"depth": 0}
    assert recipes_of["8, style value"].bind == {"tokens": 8}
    assert recipes_of["8, style value"].injection == {"style": "value"}
    assert recipes_of["1 and 16 of the encoder"].bind == {"encoder_tokens": 16}  # all of nano's picture
    assert recipes_of["1 and 16 of the encoder"].injection == {"style": "value"}
    assert recipes_of["first only"].injection == {"layers": [0]}
    only = recipes_of["low-rank updates only"].adapters
    assert (only.rank, only.biases, only.norms) == (16, (), False)
    assert recipes_of["biases and norms only"].adapters.rank == 0


def test_groups_are_chosen_by_name():
    assert [group.key for group in chosen(groups(LAYERS), ["depth", "gates"])] == ["gates", "depth"]
    assert len(chosen(groups(LAYERS), ())) == 10
    check_names(["depth", "gates"])
    with pytest.raises(UserError, match="no comparison 'gate'; choose from gates, depth, "):
        check_names(["gate"])


def test_a_wrong_name_or_folder_is_told_before_anything_is_made(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="no comparison 'gate'"):
        run_ablations(tmp_path, out, nano_folder(), only=["gate"])
    with pytest.raises(
        UserError, match=r"mnist/train\.parquet'; nano's data is a folder with mnist, cifar10"
    ):
        run_ablations(tmp_path, out, nano_folder())
    assert not out.exists()


def test_the_same_folders_written_otherwise_make_no_other_run(tmp_path, monkeypatch):
    """Recipes and answers hold whole paths, whether or not the command line did."""
    seen = []

    def gathered(data, model, encoder, language_model, out):
        seen.append((data, model, encoder, language_model, out))
        raise UserError("far enough")

    monkeypatch.setattr(running, "check_tables", lambda _: None)
    monkeypatch.setattr(running, "gather_inputs", gathered)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "encoder").mkdir()
    for base in (Path(), tmp_path):
        with pytest.raises(UserError, match="far enough"):
            run_ablations(
                base / "data", base / "out", base / "model", encoder=base / "encoder",
                language_model=base / "language", seeds=(1, 2),
            )  # fmt: skip
    assert seen[0] == seen[1]
    assert all(path.is_absolute() for path in seen[0])


def test_gates_start_at_zero_unless_asked():
    shape = DecoderShape(layers=3, width=8, heads=2, kv_heads=2, head_dim=4)
    torch.manual_seed(0)
    assert Injection(shape).gate.abs().sum() == 0
    random = Injection(shape, gate_std=1.0).gate
    assert random.abs().min() > 0
    with pytest.raises(ConfigError, match="gate_std"):
        Injection(shape, gate_std=-1.0)
    assert len(BindNetwork(4, 8, depth=0).blocks) == 0


def test_the_language_model_comes_out_of_a_finetuned_model(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    extract_language_model(nano_folder(), tmp_path / "language")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "language")
    whole = ImageBindLLMForConditionalGeneration.from_pretrained(nano_folder())
    assert language_model_fingerprint(plain) == whole.config.fingerprints["language_model"]
    names = set(plain.state_dict())
    assert not any("lora" in name or name.endswith(".bias") for name in names)
    assert decoder_layers(tmp_path / "language") == whole.config.text_config.num_hidden_layers
    assert len(AutoTokenizer.from_pretrained(tmp_path / "language")) == plain.config.vocab_size
    key = "model.layers.0.mlp.up_proj"
    updated = whole.language_model.get_submodule(key)
    own = dict(plain.named_parameters())[f"{key}.weight"]
    assert own.dtype == torch.float32
    assert torch.equal(own.half(), updated.base_layer.weight.half())  # without the update


def test_answers_are_asked_once(inputs, tmp_path):
    calls = []

    def ask():
        calls.append(1)
        return {"media": {"photographs": [True, False]}}

    runner = _Runner(inputs, {}, Questions(items=2), tmp_path)
    file = tmp_path / "a.json"
    assert runner._remembered(file, {"recipe": 1}, ask) == runner._remembered(file, {"recipe": 1}, ask)
    assert len(calls) == 1
    runner._remembered(file, {"recipe": 2}, ask)  # another recipe
    _Runner(inputs, {}, Questions(items=3), tmp_path)._remembered(file, {"recipe": 2}, ask)  # other questions
    assert len(calls) == 3


def results(seeds=(0,)):
    """Made-up outcomes: a group's first variant is right four times in five, the others half the time."""
    rng = np.random.default_rng(0)
    found = []
    for group in groups(LAYERS):
        variants = []
        for place, variant in enumerate(group.variants):
            runs = []
            for seed in seeds:
                share = 0.8 if place == 0 else 0.5
                media = {
                    name: (rng.random(50) < share).tolist()
                    for name in ("handwriting", "photographs", "spoken digits", "depth digits")
                }
                outcomes = {"media": media}
                if group.kind == "finetune":
                    outcomes["text"] = (rng.random(50) < 0.9).tolist()
                losses = {"first_loss": 3.0, "last_loss": 1.0, "held_out_loss": 1.5}
                runs.append({"seed": seed, **({} if group.kind == "cache" else losses), "outcomes": outcomes})
            variants.append(
                {
                    "name": variant.name,
                    "overrides": list(variant.overrides),
                    "cache": variant.cache,
                    "runs": runs,
                }
            )
        found.append({"key": group.key, "title": group.title, "kind": group.kind, "arms": variants})
    settings = {
        "budget": {"steps": 7, "batch_size": 5, "images": 900},
        "questions": {"items": 50, "text": 50, "seed": 0},
        "seeds": list(seeds),
        "language_model": "as given",
    }
    return {"schema": 1, "settings": settings, "groups": found}


def test_pictures_and_other_senses_are_counted_apart():
    media = {"handwriting": [True], "spoken digits": [False, True], "photographs": [False]}
    assert split(media) == ([True, False], [False, True])


def test_scores_pool_seeds_and_differences_are_paired():
    raw = results(seeds=(0, 1))
    summary = summarise(raw)
    json.dumps(summary)
    gates = summary["groups"][0]
    first, second = gates["arms"]
    assert first["pictures"]["n"] == 200
    assert "difference" not in first
    runs = raw["groups"][0]["arms"]
    right = [sum(sum(split(run["outcomes"]["media"])[1]) for run in variant["runs"]) for variant in runs]
    assert [variant["zero_shot"]["correct"] for variant in (first, second)] == right
    assert second["difference"]["zero_shot"]["difference"] == pytest.approx((right[1] - right[0]) / 200)
    assert second["difference"]["zero_shot"]["high"] < 0  # half as often right: no chance result
    assert len(second["by_seed"]["zero_shot"]) == 2
    assert not any("outcomes" in run for variant in gates["arms"] for run in variant["runs"])


def test_the_report_names_budget_arms_and_intervals(tmp_path):
    summary = summarise(results())
    text = markdown(summary)
    assert "7 steps of 5 dialogs, drawn from 900 pictures" in text
    for group in groups(LAYERS):
        assert f"### {group.title.capitalize()}" in text
        for variant in group.variants:
            assert f"\n| {variant.name} | " in text
    assert text.count("loss at step 1") == 6  # cache variants have none
    draw(summary, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "plot.png").stat().st_size < 200_000


def test_the_recipes_can_be_read_by_people(inputs, tmp_path):
    recipes = write_recipes(inputs, Budget(), tmp_path)
    assert yaml.safe_load(recipes["pretrain"].read_text())["stage"] == "nano.pretrain"
    assert yaml.safe_load(recipes["finetune"].read_text())["model"].endswith("published/seed-0/export")


def test_a_sweep_shows_the_part_of_the_scale_that_it_needs(tmp_path, monkeypatch):
    """Differences of a point or two are invisible between 0 and 100."""
    summary = summarise(results())
    for group in summary["groups"]:
        for variant in group["arms"]:
            for key in ("pictures", "zero_shot"):
                variant[key] |= {"accuracy": 0.9, "low": 0.84, "high": 0.94}
    pyplot = load_pyplot()
    monkeypatch.setattr(pyplot, "close", lambda _: None)
    draw(summary, tmp_path / "plot.png")
    panels = pyplot.gcf().axes
    shown = {panel.get_title(): panel.get_ylim() for panel in panels}
    assert shown["gates at the start"] == (0, 100), "bars begin at zero"
    assert shown["cache: weight (scale from 80 %)"] == (80, 100)
