"""A package that nobody here knows brings a stage and a suite; both run from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from imagebind_llm.cli import main
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.plugins import Plugins

PACKAGE = Path(__file__).parents[2] / "src"

STAGE = '''
"""Learns the mean of numbers."""

from dataclasses import dataclass

import torch
from imagebind_llm.training.registry import StageKind
from imagebind_llm.training.settings import OptimizerSettings, RunSettings
from imagebind_llm.training.stage import Stage, step_rng


@dataclass(frozen=True)
class MeanRecipe:
    run: RunSettings
    optimizer: OptimizerSettings
    mean: float = 3.0


class Mean(Stage):
    name = "stranger.mean"

    def __init__(self, recipe):
        super().__init__()
        self.recipe, self.guess = recipe, torch.nn.Parameter(torch.zeros(1))

    def trainable(self):
        return {"guess": self.guess}

    def batch(self, index):
        rng = step_rng(self.recipe.run.seed, index)
        return torch.from_numpy(rng.normal(self.recipe.mean, 0.1, self.recipe.run.batch_size)).float()

    def loss(self, batch):
        return ((batch - self.guess) ** 2).mean(), {}

    def export(self, folder):
        (folder / "mean.txt").write_text(str(float(self.guess)))


MEAN = StageKind(MeanRecipe, Mean, "The mean of numbers.")
'''

SUITE = '''
"""Asks for colours; the data are a file of names."""

from imagebind_llm.cli.suites import command_of
from imagebind_llm.evaluation.suite import Item, Suite, SuiteKind


class Colours(Suite):
    """Names of colours."""

    name = "colours"

    def items(self, data):
        for name in (data / "colours.txt").read_text().split():
            group = "long" if len(name) > 4 else "short"
            yield Item(name, {"question": f"say {name}", "max_new_tokens": 4}, name, group)

    def right(self, item, answer):
        return item.expected in answer


COLOURS = SuiteKind(command_of(Colours), "Names of colours.")
BROKEN = 3
'''

ENTRY_POINTS = """
[imagebind_llm.stages]
stranger.mean = stranger_package.stages:MEAN
stranger.gone = stranger_package.nothing:STAGE

[imagebind_llm.suites]
colours = stranger_package.suites:COLOURS
odd = stranger_package.suites:BROKEN
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package lies as an installer leaves it."""
    folder = tmp_path_factory.mktemp("site")
    package = folder / "stranger_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "stages.py").write_text(STAGE)
    (package / "suites.py").write_text(SUITE)
    facts = folder / "stranger_package-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger-package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


class Done(NamedTuple):
    """How a command ended, what it printed, and what it complained about."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run ``imagebind-llm`` in this process, where the package is installed."""
    monkeypatch.syspath_prepend(str(site))

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        return Done(int(left.value.code or 0), *capsys.readouterr())

    return call


def recipe(folder: Path, **values: object) -> Path:
    path = folder / "mean.yaml"
    run_values = {"folder": str(folder / "run"), "steps": 40, "batch_size": 8, "device": "cpu"}
    path.write_text(
        yaml.safe_dump(
            {"run": run_values, "optimizer": {"lr": 0.3, "weight_decay": 0.0}, "mean": 2.0, **values}
        )
    )
    return path


def test_its_stage_trains_in_a_process_of_its_own(site: Path, tmp_path: Path) -> None:
    paths = [str(site), str(PACKAGE), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "imagebind_llm", "train", "stranger.mean", str(recipe(tmp_path)), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"},
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    export = Path(json.loads(done.stdout)["export"])
    assert float((export / "mean.txt").read_text()) == pytest.approx(2.0, abs=0.2)
    resolved = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert (resolved["stage"], resolved["mean"]) == ("stranger.mean", 2.0)


def test_its_finished_run_is_not_run_again(run: Any, tmp_path: Path) -> None:
    first = run("train", "stranger.mean", recipe(tmp_path), "--json")
    assert first.returncode == 0, first.stderr
    export = tmp_path / "run" / "export" / "mean.txt"
    before = export.stat().st_mtime_ns
    again = run("train", "stranger.mean", tmp_path / "run" / "recipe.yaml", "--json")
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert export.stat().st_mtime_ns == before
    wrong = run("train", "mean", tmp_path / "run" / "recipe.yaml")
    assert wrong.returncode == 2
    assert "there is no stage 'mean'; did you mean 'stranger.mean'?" in wrong.stderr


def test_its_stage_is_listed_and_its_mistakes_are_named(run: Any, tmp_path: Path) -> None:
    listed = run("train", "--help")
    assert listed.returncode == 0, listed.stderr
    assert "The mean of numbers." in listed.stdout
    assert "Cannot be imported." in listed.stdout
    wrong = run("train", "stranger.mean", recipe(tmp_path, maen=1.0))
    assert (wrong.returncode, wrong.stderr) == (2, "error: unknown setting 'maen'; did you mean 'mean'?\n")
    gone = run("train", "stranger.gone", "x.yaml", "--json")
    assert gone.returncode == 2
    assert "the stage 'stranger.gone' cannot be imported from stranger_package.nothing:STAGE" in gone.stderr
    other = run("train", "bind", recipe(tmp_path, stage="stranger.mean"))
    assert other.returncode == 2
    assert "is a recipe for 'stranger.mean'; run: train stranger.mean" in other.stderr


def test_its_suite_measures_a_model_and_goes_on(run: Any, tmp_path: Path, tiny_model_folder: Path) -> None:
    (tmp_path / "colours.txt").write_text("red green blue\n")
    command = ["eval", "colours", "--data", tmp_path, "--model", tiny_model_folder, "--out", tmp_path / "out"]
    done = run(*command, "--batch-size", 2, "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["task"] == "colours"
    assert results["n"] == 3
    assert {name: group["n"] for name, group in results["groups"].items()} == {"short": 2, "long": 1}
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    assert "| all | 3 |" in (tmp_path / "out" / "results.md").read_text()
    # What was answered is kept, the torn line of a killed run is not.
    answers = tmp_path / "out" / "answers.jsonl"
    first, *_ = answers.read_text().splitlines()
    answers.write_text(json.dumps({**json.loads(first), "answer": "red it is"}) + '\n{"key": "gre')
    again = json.loads(run(*command, "--json").stdout)
    assert again["groups"]["short"]["metrics"]["accuracy"]["value"] >= 0.5
    assert [json.loads(line)["key"] for line in answers.read_text().splitlines()] == ["red", "green", "blue"]
    refused = run(*command, "--items", 2)
    assert refused.returncode == 2
    assert "holds an evaluation that differs in settings.items_sha256, settings.limit" in refused.stderr


def test_an_unknown_suite_and_a_wrong_one_are_named(run: Any) -> None:
    unknown = run("eval", "colors")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("error: there is no suite 'colors'; did you mean 'colours'?")
    odd = run("eval", "odd")
    assert odd.returncode == 2
    assert odd.stderr == "error: suite 'odd' is of type int; its package must offer a SuiteKind\n"


def test_two_packages_with_one_name_are_refused(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    ours = Plugins("imagebind_llm.suites", "suite", {"colours": "json:dumps"})
    assert ours.names()[0] == "colours"
    with pytest.raises(
        UserError, match=r"offered 2 times, as json:dumps and stranger_package\.suites:COLOURS"
    ):
        ours.load("colours")


def test_the_wheel_holds_no_project() -> None:
    from setuptools import find_packages

    root = Path(__file__).parents[2]
    found = find_packages(str(root / "src"))
    assert {name.partition(".")[0] for name in found} == {"imagebind_llm"}
    assert [name for name in found if name.startswith("imagebind_llm.nano.")] == []
    code = [path for path in (root / "src").rglob("*.py") if "nano_lab" in path.read_text(encoding="utf-8")]
    assert code == []
    assert find_packages(str(root / "projects" / "nano"), include=["nano_lab*"])
