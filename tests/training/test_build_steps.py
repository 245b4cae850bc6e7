"""Steps of a build: order, failures, what was done before, folders of recipes; no training."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import imagebind_llm.training.build as building
from imagebind_llm.common.errors import UserError
from imagebind_llm.training.build import Step, build, leaves, moved, read_recipe


def script(folder: Path, code: str) -> Step:
    """A step that runs Python code instead of a command of the package."""
    path = folder / f"{len(list(folder.glob('*.py')))}.py"
    path.write_text(code)
    return Step(path.stem, (str(path),))


@pytest.fixture
def scripts(monkeypatch):
    def start(step: Step, log: Path, locked: int) -> "subprocess.Popen[bytes]":
        with log.open("ab") as file:
            return subprocess.Popen([sys.executable, *step.arguments], stdout=file, stderr=subprocess.STDOUT)

    monkeypatch.setattr(building, "_start", start)
    monkeypatch.setattr(building, "_POLL_SECONDS", 0.02)


def test_steps_wait_for_each_other_and_run_side_by_side(tmp_path, scripts):
    note = tmp_path / "order.txt"
    tell = f"import time; time.sleep(0.2); open({str(note)!r}, 'a').write('%s\\n')"
    first, second, third = (script(tmp_path, tell % name) for name in "abc")
    third = Step(third.name, third.arguments, (first.name, second.name))
    build([third, first, second], tmp_path / "logs", 2)
    told = note.read_text().split()
    assert sorted(told[:2]) == ["a", "b"]
    assert told[2] == "c"


def test_a_failed_step_is_named_with_its_last_words_and_stops_the_others(tmp_path, scripts):
    sign = tmp_path / "late.txt"
    slow = script(tmp_path, f"import time; time.sleep(30); open({str(sign)!r}, 'w')")
    fails = script(tmp_path, "import sys, time; time.sleep(0.3); print('error: no soup today'); sys.exit(2)")
    never = Step("never", ("nothing.py",), (fails.name,))
    start = time.monotonic()
    with pytest.raises(UserError, match=r"ended with code 2: no soup today \(see .*\.log\)"):
        build([slow, fails, never], tmp_path / "logs", 2)
    assert time.monotonic() - start < 20
    assert not sign.exists()
    assert not (tmp_path / "logs" / "never.log").exists()


def test_what_was_done_before_is_passed_over(tmp_path, scripts):
    note = tmp_path / "order.txt"
    tell = f"open({str(note)!r}, 'a').write('%s\\n')"
    first, second, third = (script(tmp_path, tell % name) for name in "abc")
    there = tmp_path / "there"
    there.mkdir()
    first = Step(first.name, first.arguments, done=there)
    second = Step(second.name, second.arguments, (first.name,), done=tmp_path / "not-there")
    third = Step(third.name, third.arguments, (second.name,))
    build([first, second, third], tmp_path / "logs", 1)
    assert note.read_text().split() == ["b", "c"]


def test_a_step_may_be_a_module_of_a_project(tmp_path):
    log = tmp_path / "logs" / "platform.log"
    build([Step("platform", ("--terse",), module="platform")], tmp_path / "logs", 1)
    assert log.read_text().strip()


def test_folders_of_a_recipe_are_moved_wherever_they_stand_in_it(tmp_path):
    values = {
        "run": {"folder": "runs/x/one", "steps": 3},
        "data": {"sources": [{"path": "data/a"}, {"path": "runs/x/two"}]},
        "encoder": "runs/xy",
    }
    assert moved(values, Path("runs/x"), "runs/x") == []
    assert moved(values, tmp_path, "runs/x") == [
        f"run.folder={tmp_path}/one",
        f"data.sources.1.path={tmp_path}/two",
    ]
    assert dict(leaves(values))["run.steps"] == 3


def test_a_recipe_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match=r"there is no recipe .* or give --recipes"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(UserError, match="is not YAML"):
        read_recipe(tmp_path / "bad.yaml")
