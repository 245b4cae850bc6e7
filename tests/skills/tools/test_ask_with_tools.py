"""``imagebind-llm ask`` with tools."""

import io
import json
from dataclasses import replace

import pytest
from support.live_server import INPUTS

from imagebind_llm import Assistant
from imagebind_llm.cli import main
from imagebind_llm.skills.tools import CALCULATOR, catalogue

pytest.importorskip("llguidance")
pytest.importorskip("pydantic")
pytest.importorskip("jsonschema")

ADD = ["ask", "Add the number you hear to the one you see.", "--image", str(INPUTS / "seven.png")]
ADD += ["--audio", str(INPUTS / "four.wav")]


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


@pytest.fixture
def run(bot, monkeypatch, capsys):
    monkeypatch.setattr(Assistant, "from_pretrained", lambda *_, **__: bot)

    def running(*arguments):
        with pytest.raises(SystemExit) as leaving:
            main(list(arguments))
        return leaving.value.code, *capsys.readouterr()

    return running


def test_the_answer_is_printed_and_the_call_shown(run):
    code, out, err = run(*ADD, "--tool", "calculator")
    assert (code, out) == (0, "4 + 7 = 11\n")
    assert 'calculator(expression="4 + 7") → 11' in err
    assert "four.wav: " in err


def test_the_calls_are_in_the_json(run):
    code, out, _ = run(*ADD, "--tool", "calculator", "--json")
    assert code == 0
    assert json.loads(out)["calls"][0]["arguments"] == {"expression": "4 + 7"}


def test_tools_of_a_file_and_their_confirmation(run, tmp_path, monkeypatch):
    (tmp_path / "shop_of_mine.py").write_text("def buy(what: str) -> str:\n    return f'one {what}'\n")
    route = {"phrase": "buy {a:thing}", "arguments": {"what": "{a}"}, "says": "Bought {result}."}
    what = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}
    function = {"name": "buy", "parameters": what, "x-routes": [route]}
    given = {"type": "function", "function": function, "run": "shop_of_mine:buy", "confirm": True}
    (tmp_path / "tools.json").write_text(json.dumps({"tools": ["calculator", given]}))
    monkeypatch.chdir(tmp_path)
    asked = ["ask", "Buy what you see.", "--image", str(INPUTS / "dog.jpg"), "--tools-file", "tools.json"]
    code, out, _ = run(*asked, "--yes")
    assert (code, out) == (0, "Bought one dog.\n")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, out, _ = run(*asked)
    assert (code, out) == (3, "buy failed: buy has to be confirmed; add --yes to confirm its calls.\n")
    code, out, _ = run(*asked, "--json")
    assert code == 3
    assert json.loads(out)["calls"][0]["refused"] is True


@pytest.mark.parametrize(("typed", "left"), [("n\n", 3), ("y\n", 0)])
def test_a_refusal_can_be_told_from_an_answer_by_the_exit_code(run, monkeypatch, typed, left):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    confirmed = replace(CALCULATOR, confirm=True)
    monkeypatch.setitem(catalogue.BUILT_IN, "calculator", confirmed)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    code, out, err = run(*ADD, "--tool", "calculator")
    assert code == left
    assert "call calculator with {'expression': '4 + 7'}?" in err
    answer = out.lstrip()  # click writes a space before it reads
    assert answer == ("4 + 7 = 11\n" if left == 0 else "calculator failed: calculator was not confirmed.\n")


def test_a_tool_that_fails_is_no_refusal(run):
    code, out, _ = run("ask", "What is 1 divided by 0?", "--tool", "calculator")
    assert (code, out) == (0, "calculator failed: division by zero.\n")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--tool", "calculater"], "did you mean 'calculator'"),
        (["--tool", "no_such_module:f"], "no_such_module"),
        (["--tool", "json:nothing"], "has no function 'nothing'"),
        (["--tool", "calculator", "--stream"], "leave it out with --tool"),
        (["--tool", "calculator", "--tool-choice", "calculater"], "did you mean 'calculator'"),
        (["--tools-file", "none.json"], "there is no file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, more, says):
    code, out, err = run(*ADD, *more)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_a_choice_without_a_tool_is_refused_before_a_model_is_loaded(run, monkeypatch):
    monkeypatch.setattr(Assistant, "from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    for choice in ("required", "calculator"):
        code, out, err = run(*ADD, "--tool-choice", choice)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: --tool-choice is '{choice}', and no tool is given; add --tool")
        assert err.count("\n") == 1
