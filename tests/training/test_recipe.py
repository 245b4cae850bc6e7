"""Recipes: what is wrong is named, with the nearest right name."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from transformers import TrainingArguments

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.encoders.towers.recipe import read_new_encoder
from imagebind_llm.training.foreign_names import OTHER, SAME
from imagebind_llm.training.recipe import load_recipe, save_run_config
from imagebind_llm.training.registry import stage_kind
from imagebind_llm.training.settings import OptimizerSettings, RunSettings

SHIPPED = Path(__file__).parents[2] / "recipes"
RECIPES = sorted((SHIPPED / "nano").glob("*.yaml"))


def write(folder: Path, **changes: object) -> Path:
    values = yaml.safe_load((RECIPES[0].parent / "language.yaml").read_text()) | changes
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    "path", sorted(SHIPPED.rglob("*.yaml")), ids=lambda path: path.relative_to(SHIPPED).as_posix()
)
def test_every_shipped_recipe_loads(path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    if "towers" in values:  # not of a stage, but of a new encoder
        assert read_new_encoder(path).towers
        return
    stage = values["stage"]
    assert isinstance(load_recipe(stage, path), stage_kind(stage).recipe_class)


def test_recipes_of_all_kinds_are_shipped() -> None:
    names = {path.relative_to(SHIPPED).as_posix() for path in SHIPPED.rglob("*.yaml")}
    assert {"7b-published/pretrain.yaml", "7b-published/finetune.yaml", "any-llm.yaml"} <= names
    assert len(RECIPES) >= 9


def test_the_published_rates_and_schedules() -> None:
    """The original's scripts: 32 samples a step, actual rates 1.25e-5 and 1.25e-4, 5 of 150 and 1 of 4 epochs
    of warm-up, no clipping."""
    for stage, rate, warmup, decay, tokens in (
        ("pretrain", 1.25e-5, 5 / 150, 0.05, 96),
        ("finetune", 1.25e-4, 1 / 4, 0.02, 512),
    ):
        recipe = load_recipe(stage, SHIPPED / "7b-published" / f"{stage}.yaml")
        run, optimizer = recipe.run, recipe.optimizer
        assert run.batch_size * run.accumulate == 32
        assert optimizer.peak(32) == pytest.approx(rate)
        assert optimizer.warmup(run.steps) == pytest.approx(warmup * run.steps, rel=1e-4)
        assert (optimizer.betas, optimizer.weight_decay, optimizer.clip) == ((0.9, 0.95), decay, None)
        assert recipe.data.max_tokens == tokens


def test_unknown_settings_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'row_lenght'; did you mean 'row_length'\?"):
        load_recipe("language", write(tmp_path, row_lenght=3))
    with pytest.raises(ConfigError, match=r"'optimizer.warmup'; did you mean 'optimizer.warmup_steps'\?"):
        load_recipe("language", write(tmp_path), ["optimizer.warmup=3"])
    with pytest.raises(ConfigError, match=r"'run.zzz'; known are accumulate, attention, batch_size"):
        load_recipe("language", write(tmp_path), ["run.zzz=3"])


def test_overrides_replace_values(tmp_path: Path) -> None:
    recipe = load_recipe(
        "language",
        write(tmp_path),
        [
            "optimizer.lr=3e-4",
            "run.steps=77",
            "mask_prompts=true",
            "model.hidden_size=96",
            "optimizer.clip=null",
        ],
    )
    assert (recipe.optimizer.lr, recipe.run.steps, recipe.mask_prompts) == (3e-4, 77, True)
    assert recipe.model["hidden_size"] == 96
    assert recipe.optimizer.clip is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.steps=many", "run.steps is 'many'; expected int"),
        ("run.steps=0", "run.steps is 0; expected at least 1"),
        ("run.resume=maybe", "run.resume is 'maybe'; use one of 'auto'"),
        ("optimizer.base_lr=0.1", "optimizer.lr is 0.0123 and optimizer.base_lr is 0.1"),
        ("optimizer.betas=[0.9]", r"optimizer.betas is \[0.9\]; expected 2 values"),
        ("run", "'run' is not of the form key=value"),
        ("optimizer.lr=-1", r"optimizer.lr is -1\.0; expected more than 0"),
        ("optimizer.lr=.nan", "optimizer.lr is nan; expected a finite number"),
        ("optimizer.clip=0", r"optimizer.clip is 0\.0; expected more than 0"),
        ("optimizer.betas=[0.9, 1.5]", r"betas is \(0\.9, 1\.5\); expected two numbers below 1"),
        ("optimizer.warmup_steps=-3", "optimizer.warmup_steps is -3; expected at least 0"),
        ("run.seed=-1", "run.seed is -1; expected at least 0"),
        ("run.prefetch=-1", "run.prefetch is -1; expected at least 0"),
        ("run.folder=''", "run.folder is empty"),
        ("evaluate_items=0", "^evaluate_items is 0; expected at least 1"),
        ("row_length=1", "^row_length is 1; expected at least 2"),
        ("tokenizer.x=1", "'tokenizer' is 'runs/nano/tokenizer', not a group"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("language", write(tmp_path), ["optimizer.lr=0.0123", override])


def test_members_of_lists_are_overridden_by_number() -> None:
    path = SHIPPED / "any-llm.yaml"
    for key in ("data.sources.0", "data.sources[0]"):
        recipe = load_recipe("pretrain", path, [f"{key}.path=mine.tsv", f"{key}.weight=2"])
        assert (recipe.data.sources[0].path, recipe.data.sources[0].weight) == ("mine.tsv", 2.0)
    with pytest.raises(ConfigError, match=r"'1' is no member of a list of 1 \(they count from 0\)"):
        load_recipe("pretrain", path, ["data.sources.1.path=x"])
    with pytest.raises(ConfigError, match="'path' is no member of a list"):
        load_recipe("pretrain", path, ["data.sources.path=x"])


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("nano/bind-audio", ["temperature=0"], r"temperature is 0\.0; expected more than 0"),
        ("nano/bind-audio", ["captions=4"], "captions is set, which has no effect on one of nano's senses"),
        (
            "nano/bind-audio",
            ["sensor={kind: grid, shape: [1, 8, 8]}"],
            "sensor is set.* set source: pairs, or",
        ),
        ("nano/bind-images", ["bank=x"], "bank is set, which has no effect on nano's images and captions"),
        ("sensors/tactile", ["captions=4"], "captions is set, which has no effect on pairs"),
        ("any-llm-finetune", ["adapters.rank=-1"], "adapters.rank is -1; expected at least 0"),
        ("any-llm-finetune", ["data.max_tokens=1"], "data.max_tokens is 1; expected at least 2"),
    ],
)
def test_values_out_of_range_or_without_effect_are_refused(
    name: str, overrides: list[str], message: str
) -> None:
    stage = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())["stage"]
    with pytest.raises(ConfigError, match=message):
        load_recipe(stage, SHIPPED / f"{name}.yaml", overrides)


def test_a_recipe_of_another_stage_says_how_to_run_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run: train language"):
        load_recipe("bind", write(tmp_path))


def test_the_resolved_recipe_loads_again(tmp_path: Path) -> None:
    recipe = load_recipe("language", write(tmp_path), ["run.seed=12345"])
    save_run_config("language", recipe, tmp_path)
    text = (tmp_path / "recipe.yaml").read_text()
    assert "# torch " in text
    assert load_recipe("language", tmp_path / "recipe.yaml") == recipe


def test_the_command_line_names_a_wrong_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from imagebind_llm.cli import main

    with pytest.raises(SystemExit) as leaving:
        main(["train", "language", str(write(tmp_path)), "run.stepps=3"])
    assert leaving.value.code == 2
    assert capsys.readouterr().err == "error: unknown setting 'run.stepps'; did you mean 'run.steps'?\n"


def test_null_for_a_group_is_its_default(tmp_path: Path) -> None:
    template = SHIPPED / "any-llm.yaml"
    recipe = load_recipe("pretrain", template, ["injection=null", "bind=null"])
    assert (recipe.injection, recipe.bind) == ({}, {})
    with pytest.raises(ConfigError, match="run is None; expected a mapping"):
        load_recipe("pretrain", template, ["run=null"])


def test_the_template_takes_a_model_and_what_the_model_has_itself_is_named() -> None:
    template = SHIPPED / "any-llm.yaml"
    own = ["model=my-model", "encoder=null", "language_model=null"]
    assert load_recipe("pretrain", template, own).model == "my-model"
    with pytest.raises(ConfigError, match=r"injection is that of the model 'my-model'.*injection=null"):
        load_recipe("pretrain", template, [*own, "injection.style=value"])


def test_templates_show_where_held_out_data_go() -> None:
    for name in ("any-llm.yaml", "any-llm-finetune.yaml"):
        text = (SHIPPED / name).read_text()
        shown = text.replace("  # test_sources:", "  test_sources:").replace("  #   - {kind", "    - {kind")
        assert len(yaml.safe_load(shown)["data"]["test_sources"]) == 1


def test_names_of_transformers_are_understood_where_they_mean_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, learning_rate=2e-4, run={"output_dir": "here", "per_device_train_batch_size": 3})
    values = yaml.safe_load(path.read_text())
    values["optimizer"] = {"warmup_ratio": 0.1, "weight_decay": 0.3}
    values["run"]["max_steps"] = 70
    path.write_text(yaml.safe_dump(values))
    recipe = load_recipe("language", path, ["max_grad_norm=2.0", "run.logging_steps=5"])
    assert (recipe.run.folder, recipe.run.batch_size, recipe.run.steps, recipe.run.log_every) == (
        "here",
        3,
        70,
        5,
    )
    optimizer = recipe.optimizer
    assert (optimizer.lr, optimizer.warmup_share, optimizer.weight_decay, optimizer.clip) == (
        2e-4,
        0.1,
        0.3,
        2.0,
    )
    assert load_recipe("language", path, ["learning_rate=1e-3"]).optimizer.lr == 1e-3  # overrides win
    assert load_recipe("language", path, ["warmup_ratio=0", "warmup_steps=7"]).optimizer.warmup_steps == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("num_train_epochs=3", r"there is no setting 'num_train_epochs'; a run has steps: give run\.steps"),
        ("run.gradient_accumulation_steps=2", r"give run\.accumulate"),
        ("fp16=true", "give run.precision=bf16"),
    ],
)
def test_names_of_transformers_with_another_meaning_are_pointed_at(
    override: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("language", write(tmp_path), [override])


def test_a_setting_under_both_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"learning_rate and optimizer\.lr are the same setting"):
        load_recipe("language", write(tmp_path, learning_rate=1e-4, optimizer={"lr": 1e-3}))


def test_every_name_of_transformers_leads_to_a_setting_that_exists() -> None:
    groups = {"run": RunSettings, "optimizer": OptimizerSettings}
    for own in SAME.values():
        group, _, name = own.partition(".")
        assert name in {field.name for field in fields(groups[group])}
    theirs = {field.name for field in fields(TrainingArguments)}
    assert set(SAME) | set(OTHER) <= theirs | {"warmup_ratio"}  # the newest have dropped that one
