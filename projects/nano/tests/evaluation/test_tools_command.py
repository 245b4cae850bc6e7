"""``imagebind-llm eval tools``."""

import json

import pytest
from support.nano_data import build

from imagebind_llm.cli import main

pytest.importorskip("jsonschema")


def run(*arguments):
    with pytest.raises(SystemExit) as left:
        main(["eval", "tools", *map(str, arguments)])
    return left.value.code


def test_the_folder_gets_the_results_that_are_printed(tmp_path, capsys) -> None:
    build(tmp_path, "test", 1)
    out = tmp_path / "results" / "tools"
    assert run("--data", tmp_path, "--items", 1, "--out", out) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((out / "results.json").read_text()) == printed
    assert [path.name for path in out.iterdir()] == ["results.json"]
    assert set(printed) == {"seed", "known", "new", "held_out", "digits"}


@pytest.mark.parametrize(("name", "says"), [("tools.json", "give a folder"), ("there", "is a file")])
def test_a_file_is_refused_before_the_work(tmp_path, capsys, name, says) -> None:
    (tmp_path / "there").write_text("")
    assert run("--data", tmp_path, "--out", tmp_path / name) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "tools.json").exists()
