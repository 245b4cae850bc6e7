"""Commands of ``chat`` that change, keep and show a dialog."""

import pytest

from imagebind_llm.skills.dialogs.transcripts import load_transcript


@pytest.fixture
def chat(run, tiny_model_folder):
    """Runs ``chat`` with these lines; returns exit code, answers and what was said on standard error."""

    def run_chat(*lines, options=()):
        stdin = "".join(f"{line}\n" for line in lines)
        return run("chat", "--model", tiny_model_folder, "--max-new-tokens", 6, *options, stdin=stdin)

    return run_chat


def test_retry_and_edit_ask_instead(chat, bot, media_folder):
    red = media_folder / "red.png"
    code, out, err = chat(f"/image {red}", "what?", "/retry", "/edit which colour?", "and now?")
    other = bot.chat(max_new_tokens=6)
    first = other.send("what?", image=red).text
    edited = other.edit(0, "which colour?").text
    assert (code, out.splitlines()) == (0, [first, first, edited, other.send("and now?").text]), err


def test_undo_takes_back(chat, bot):
    code, out, _ = chat("hello", "and?", "/undo", "so?")
    other = bot.chat(max_new_tokens=6)
    said = [other.send("hello").text, other.send("and?").text]
    other.undo()
    assert (code, out.splitlines()) == (0, [*said, other.send("so?").text])


def test_a_dialog_is_kept_and_gone_on_with(chat, bot, media_folder, tmp_path):
    talk = tmp_path / "my talk.json"
    code, out, err = chat(f"/image {media_folder / 'red.png'}", "what?", f"/save '{talk}'")
    assert code == 0, err
    assert len(load_transcript(talk)[0]) == 2
    other = bot.chat(max_new_tokens=6)
    other.send("what?", image=media_folder / "red.png")
    expected = other.send("and now?").text
    for options, lines in (((), (f"/load {talk}", "and now?")), (("--load", talk), ("and now?",))):
        code, out, err = chat(*lines, options=options)
        assert (code, out.splitlines()) == (0, [expected]), err


def test_a_dialog_is_exported(chat, tmp_path):
    code, _, err = chat("hello", f"/export {tmp_path / 'talk.html'}", f"/export {tmp_path / 'talk.md'}")
    assert code == 0, err
    assert "hello" in (tmp_path / "talk.html").read_text()
    assert "**You:** hello" in (tmp_path / "talk.md").read_text()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/undo", "nothing has been asked"),
        ("/retry", "nothing has been asked"),
        ("/retry hard", "/retry takes no words"),
        ("/edit", "/edit needs the new question"),
        ("/save", "/save needs the name of a file"),
        ("/save talk.json", "there is nothing to save yet"),
        ("/export talk.html", "there is nothing to export yet"),
        ("/load nowhere.json", "cannot read 'nowhere.json'"),
        ("/expord talk.html", "did you mean /export?"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(chat, line, told):
    code, out, err = chat(line)
    assert (code, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1


def test_a_missing_transcript_is_told_before_loading(chat):
    code, _, err = chat("hello", options=("--load", "nowhere.json"))
    assert code == 2
    assert "cannot read 'nowhere.json'" in err


def test_a_question_that_fails_loses_nothing(chat, bot):
    code, out, err = chat("hello", "/edit " + "long " * 400, "and?")
    other = bot.chat(max_new_tokens=6)
    assert out.splitlines() == [other.send("hello").text, other.send("and?").text], err
    assert code == 2
    assert "shorten it" in err
