"""What the pages say to type: commands that need nothing but nano are run, all others are checked."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from pages import ROOT, RUN, lines, names, shown, words_of

from imagebind_llm import Assistant
from imagebind_llm.cli import main
from imagebind_llm.cli.app import app
from imagebind_llm.training.recipe import load_recipe

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TYPED = [line for page in names() for line in lines(page, "bash")]
RUNNABLE = [
    text
    for text in dict.fromkeys(line.text for line in TYPED if line.page in RUN)
    if "imagebind-llm " in text and "DATA" not in text
]
OTHERS = sorted({line.text for line in TYPED if words_of(line.text) is None})
SHOWN = shown()


def test_the_pages_were_read():
    assert len(RUNNABLE) == 20
    assert len(OTHERS) == 14
    assert len(SHOWN) >= 100


@pytest.mark.parametrize("line", RUNNABLE)
def test_command(line, here, load_once, monkeypatch, capsys):
    if re.search(r" [|>] ", line):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return
    monkeypatch.setattr(Assistant, "from_pretrained", load_once)
    program, *arguments = shlex.split(line)
    assert program == "imagebind-llm"
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    out, err = capsys.readouterr()
    assert leaving.value.code == 0, err
    assert out.strip()


def test_the_batch_answers_every_line(here):
    """After the command that made it."""
    answers = [json.loads(line) for line in (here / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = (here / "examples" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [answer["id"] for answer in answers] == [json.loads(line)["id"] for line in asked]
    assert all(answer["answer"] for answer in answers)


@pytest.mark.parametrize("line", SHOWN, ids=str)
def test_command_is_one_that_exists(line):
    """The command, each option, each recipe and each of its settings; nothing is run."""
    command = typer.main.get_command(app)
    words = words_of(line.text)
    path = []
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        path.append(words.pop(0))
        command = command.get_command(None, path[-1])
        assert command is not None, f"no command {' '.join(path)!r}"
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        if word.startswith("--") and word != "--help":
            assert word in known, f"no option {word}"
        elif word.startswith("recipes/"):
            assert (ROOT / word).is_file(), f"no recipe {word}"
    if (
        path[0] == "train"
        and path[1] in ("bind", "heads", "language", "pretrain", "finetune")
        and len(words) > 0
    ):
        recipe, *overrides = words
        assert recipe.startswith("recipes/")
        load_recipe(path[1], ROOT / recipe, overrides)


@pytest.mark.parametrize("page", names())
def test_scripts_that_a_page_starts_exist(page):
    for line in (*lines(page, "bash"), *lines(page, "")):
        for script in re.findall(r"python ((?:examples|benchmarks|tools)/\S+\.py)", line.text):
            text = (ROOT / script).read_text(encoding="utf-8")
            for option in re.findall(r" (--[a-z-]+)", line.text):
                assert f'"{option}"' in text, f"{script} has no option {option}"


@pytest.mark.parametrize("line", OTHERS)
def test_other_command(line):
    """Targets of the Makefile, and the plain commands behind them."""
    if line.startswith("make "):
        assert re.search(rf"^{line.split()[1]}:", MAKEFILE, re.MULTILINE)
        return
    made = MAKEFILE.replace("$(PIP)", "$(RUN)/python -m pip --disable-pip-version-check")
    for name, value in (("$(RUN)", "$(VENV)/bin"), ("$(VENV)", ".venv"), ("$(PYTHON)", "python3")):
        made = made.replace(name, value)
    made = made.replace("pip --disable-pip-version-check", "pip").replace("install -q", "install")
    assert re.search(rf"^\t{re.escape(line)}( -e projects/nano)?$", made, re.MULTILINE), (
        f"the Makefile does otherwise: {line}"
    )


def test_a_wrong_command_would_be_noticed():
    from pages import Line

    for text in (
        "imagebind-llm aks 'What?'",
        "imagebind-llm ask 'What?' --picture a.png",
        "imagebind-llm train bind recipes/none.yaml",
    ):
        with pytest.raises(AssertionError):
            test_command_is_one_that_exists(Line("", text))
