"""``imagebind-llm chat`` with tools."""

import io
import json
import sys
from dataclasses import replace

import pytest
from support.live_server import INPUTS

from imagebind_llm import Assistant, UserError
from imagebind_llm.cli import main
from imagebind_llm.inference.calls import MadeFile, Outcome
from imagebind_llm.skills.dialogs.transcripts import load_transcript
from imagebind_llm.skills.tools import CALCULATOR, Route, Tool, ToolUser, catalogue

pytest.importorskip("llguidance")
pytest.importorskip("pydantic")
pytest.importorskip("jsonschema")

SEVEN, FOUR = INPUTS / "seven.png", INPUTS / "four.wav"
ADD = "Add the number you hear to the one you see."


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


@pytest.fixture
def chat(bot, monkeypatch, capsys):
    """Runs ``chat`` with these lines: (exit code, stdout, stderr)."""
    monkeypatch.setattr(Assistant, "from_pretrained", lambda *_, **__: bot)

    def running(*lines, options=("--tool", "calculator")):
        stdin = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin, encoding="utf-8"))
        with pytest.raises(SystemExit) as leaving:
            main(["chat", *map(str, options)])
        return leaving.value.code, *capsys.readouterr()

    return running


def test_each_message_may_call_a_tool_about_media_in_sight(chat):
    code, out, err = chat(
        f"/image {SEVEN}", f"/audio {FOUR}", ADD, "Multiply them.", "/edit Subtract 2 from 9."
    )
    assert (code, out) == (0, "4 + 7 = 11\n7 * 4 = 28\n9 - 2 = 7\n"), err
    assert 'calculator(expression="4 + 7") → 11' in err
    assert "four.wav: " in err


def test_a_message_that_asks_for_no_tool_is_answered_as_without(chat):
    lines = (f"/image {SEVEN}", "Which digit do you see?")
    assert chat(*lines)[:2] == chat(*lines, options=())[:2]


def test_a_dialog_with_tools_is_kept_and_gone_on_with(chat, tmp_path):
    talk = tmp_path / "talk.json"
    code, _, err = chat(f"/image {SEVEN}", f"/audio {FOUR}", ADD, f"/save {talk}")
    assert code == 0, err
    history, _ = load_transcript(talk)
    assert history[1] == {"role": "assistant", "content": "4 + 7 = 11"}
    code, out, err = chat("Multiply them.", options=("--load", talk, "--tool", "calculator"))
    assert (code, out) == (0, "7 * 4 = 28\n"), err


def test_a_refused_call_shows_in_the_exit_code_unless_a_line_failed(chat, monkeypatch):
    monkeypatch.setitem(catalogue.BUILT_IN, "calculator", replace(CALCULATOR, confirm=True))
    code, out, _ = chat("What is 2 plus 3?")
    assert (code, out) == (
        3,
        "calculator failed: calculator has to be confirmed; add --yes to confirm its calls.\n",
    )
    assert chat("What is 2 plus 3?", "/nonsense")[0] == 2
    assert chat("What is 2 plus 3?", options=("--tool", "calculator", "--yes"))[:2] == (0, "2 + 3 = 5\n")


def test_made_files_are_saved_and_named(chat, monkeypatch, tmp_path):
    def note(what: str) -> Outcome:
        return Outcome(f"Noted {what}.", (MadeFile("note.txt", "text/plain", what.encode()),))

    tool = Tool.of(note, routes=(Route("note {what:words}", {"what": "{what}"}),))
    monkeypatch.setitem(catalogue.BUILT_IN, "note", tool)
    made = tmp_path / "made"
    code, out, err = chat("Note milk.", "/retry", options=("--tool", "note", "--save", made))
    assert code == 0, err
    assert out.splitlines() == [
        "Noted milk.", str(made / "note.txt"), "Noted milk.", str(made / "note-2.txt")
    ]  # fmt: skip
    assert (made / "note.txt").read_text() == "milk"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tool", "calculater"], "did you mean 'calculator'"),
        (["--tool", "calculator", "--tool-choice", "calculater"], "did you mean 'calculator'"),
        (["--tool", "calculator", "--save", str(SEVEN)], "is a file; give a folder"),
        (["--tools-file", "none.json"], "there is no file"),
    ],
)
def test_wrong_options_are_told_before_anything_is_asked(chat, options, says):
    code, out, err = chat("What is 2 plus 3?", options=options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_a_dialog_of_a_tool_user(bot):
    dialog = ToolUser(bot, [CALCULATOR]).chat()
    answer = dialog.send("What is 2 plus 3?")
    assert (answer.text, answer.calls[0].result) == ("2 + 3 = 5", "5")
    assert json.dumps(dialog.history[-1]) == '{"role": "assistant", "content": "2 + 3 = 5"}'
    with pytest.raises(UserError, match="use send"):
        dialog.stream("What is 2 plus 3?")


def test_a_question_may_speak_of_what_was_given_before(bot):
    chat = ToolUser(bot, [CALCULATOR]).chat()
    chat.send("What digit is this?", image=str(SEVEN))
    answer = chat.send(ADD, audio=str(FOUR))
    assert [call.arguments for call in answer.calls] == [{"expression": "4 + 7"}]
    alone = chat.send("Add the number you see to five.", audio=str(INPUTS / "two.mp3"))
    assert [call.arguments for call in alone.calls] == [{"expression": "7 + 5"}]
    heard = chat.send("Add the number you hear to five.")
    assert [call.arguments for call in heard.calls] == [{"expression": "2 + 5"}]
