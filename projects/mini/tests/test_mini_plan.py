"""The build of mini: the order of its steps, where everything goes, what is said before hours of work."""

import sys
from pathlib import Path

import pytest

from imagebind_llm.training.build import leaves, read_recipe
from imagebind_llm.training.recipe import load_recipe
from mini_lab import build as building
from mini_lab.build import FREE, RUNS, Plan, steps
from mini_lab.together import BACKBONES, LANGUAGE_MODEL

RECIPES = Path(__file__).parents[3] / "recipes" / "mini"


def made_before(plan, name):
    """The names of all steps that are done when ``name`` starts."""
    by_name = {step.name: step for step in plan}
    before, new = set(), set(by_name[name].after)
    while new:
        before |= new
        new = {above for one in new for above in by_name[one].after} - before
    return before


@pytest.mark.parametrize("flickr8k", [True, False])
def test_every_recipe_is_used_once_and_after_what_it_reads(tmp_path, flickr8k):
    plan = steps(Plan(tmp_path, tmp_path / "parts", RECIPES, flickr8k=flickr8k))
    order = [step.name for step in plan]
    assert len(set(order)) == len(order)
    recipes = [path.stem for path in RECIPES.glob("*.yaml")]
    assert set(recipes) <= set(order)
    for step in plan:
        assert all(order.index(name) < order.index(step.name) for name in step.after), step.name
    made = {name.removeprefix("fetch-"): name for name in order} | {"features": "heads-text"}
    for name in recipes:
        before = made_before(plan, name) | {name, "heads-text"}
        for key, value in leaves(read_recipe(RECIPES / f"{name}.yaml")):
            if str(value).startswith(f"{RUNS}/"):
                assert made[str(value).split("/")[2]] in before, (name, key)


def test_all_goes_where_it_is_told(tmp_path):
    runs, parts = tmp_path / "runs", tmp_path / "models"
    given = Plan(tmp_path / "data", parts, RECIPES, runs, ("run.steps=2",), 40)
    for step in steps(given):
        words = " ".join(step.arguments).replace(str(RECIPES), "")
        assert RUNS not in words, words
        assert " parts/" not in words, words
        assert step.done is None or step.done.is_relative_to(runs)
        if step.arguments[0] == "train":
            recipe = load_recipe(step.arguments[1], Path(step.arguments[2]), step.arguments[3:])
            assert recipe.run.folder == str(runs / step.name)
            assert recipe.run.steps == 2
            assert RUNS not in str(recipe)


def test_free_captions_take_the_place_of_flickr8k(tmp_path):
    free = {step.name: step for step in steps(Plan(tmp_path, tmp_path, RECIPES, flickr8k=False))}
    usual = {step.name: step for step in steps(Plan(tmp_path, tmp_path, RECIPES))}
    assert free.keys() - usual.keys() == {f"fetch-{name}" for name in FREE}
    assert free["captioned"].module == "mini_lab.free"
    assert set(free["captioned"].after) == {f"fetch-{name}" for name in FREE}
    assert not any("flickr" in word for step in free.values() for word in (step.module, *step.arguments))
    there = {name: tmp_path / name for name in (*FREE, "imagenet-words", "sweet-home")}
    plan = steps(Plan(tmp_path, tmp_path, RECIPES, flickr8k=False, fetched=there))
    assert not any(step.name.startswith("fetch-") for step in plan)
    assert not any(name.startswith("fetch-") for step in plan for name in step.after)


def test_what_is_missing_is_said_before_hours_of_work(tmp_path, monkeypatch, capsys):
    data, parts = tmp_path / "data", tmp_path / "parts"

    def said(*more):
        given = ("--data", data, "--parts", parts, "--runs", tmp_path / "runs", *more)
        monkeypatch.setattr(sys, "argv", ["build", *map(str, given)])
        monkeypatch.setattr(building, "heard", list)
        assert building.main() == 2
        assert not (tmp_path / "runs").exists()
        return capsys.readouterr().err

    assert "give the folder of the shared data" in said()
    data.mkdir()
    assert f"imagebind-llm pull {LANGUAGE_MODEL}" in said()
    for name in (LANGUAGE_MODEL, *BACKBONES.values()):
        (parts / name).mkdir(parents=True)
        (parts / name / "config.json").write_text("{}")
    assert "animals/train.parquet" in said()
    for name in ("animals", "animals_extra"):
        (data / name).mkdir()
        (data / name / "train.parquet").touch()
    assert "flickr8k/train.parquet" in said()
    assert "there is no such folder" in said("--without-flickr8k", "--fetched", "tux-paint=nowhere")
    (data / "flickr8k").mkdir()
    (data / "flickr8k" / "train.parquet").touch()
    assert "recipes" in said("--recipes", tmp_path / "none")
