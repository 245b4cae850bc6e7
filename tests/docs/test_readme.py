"""What the README says to type: every command and every line of Python is run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from imagebind_llm import Assistant
from imagebind_llm.checkpoints.doctor import diagnose
from imagebind_llm.cli import main
from imagebind_llm.cli.app import app
from imagebind_llm.common.locate import nano_folder

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands():
    """Every line of every bash block, without comments."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [line.partition("    #")[0].strip() for line in lines if line.strip()]


OURS = [line for line in commands() if "imagebind-llm " in line]
WITH_DATA = [line for line in OURS if "DATA" in line]
RUNNABLE = [line for line in OURS if "DATA" not in line]
OTHERS = [line for line in commands() if line not in OURS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a user would be, but nothing written there stays."""
    assert (nano_folder() / "config.json").is_file(), "the README is about nano, whose weights are missing"
    place = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", place / "examples")
    return place


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
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


def test_the_readme_was_read():
    assert len(blocks("python")) == 6
    assert len(RUNNABLE) == 14
    assert len(WITH_DATA) == 2
    assert len(OTHERS) == 9
    assert len(re.findall(r"^```\w", README, re.MULTILINE)) == len(blocks("bash")) + len(blocks("python"))


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
    import json

    answers = [json.loads(line) for line in (here / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = (here / "examples" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [answer["id"] for answer in answers] == [json.loads(line)["id"] for line in asked]
    assert all(answer["answer"] for answer in answers)


@pytest.mark.parametrize("line", WITH_DATA)
def test_command_that_needs_data(line):
    """Its files exist and every option is one that the command has."""
    command = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(command, "get_command"):
        name = words.pop(0)
        command = command.get_command(None, name)
        assert command is not None, f"no command {name!r}"
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        if word.startswith("--"):
            assert word in known, f"{line}: no option {word}"
        elif word.endswith(".yaml"):
            assert (ROOT / word).is_file()
        elif "=" in word:
            assert "." in word.partition("=")[0]


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
    assert re.search(rf"^\t{re.escape(line)}$", made, re.MULTILINE), f"the Makefile does otherwise: {line}"


def test_python(here):
    """The blocks build on each other, so they are one program."""
    program = "\n".join(blocks("python"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) >= 10
    assert (here / "my-adapter" / "adapter.safetensors").is_file()
    report = diagnose("my-adapter", self_test=True)
    assert report.healthy, report.findings


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for module in re.findall(r"`(?:imagebind_llm/)?examples/(\w+\.py)`", README):
        assert (ROOT / "examples" / module).is_file()


def test_documents_name_files_that_exist():
    for document in ROOT.glob("docs/*.md"):
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
        for module in re.findall(r"`((?:\w+/)*\w+\.py)`", text):
            places = (ROOT, ROOT / "src", ROOT / "src" / "imagebind_llm")
            assert any((place / module).is_file() for place in places), f"{document.name}: {module}"
