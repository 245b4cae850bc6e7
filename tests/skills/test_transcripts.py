"""Dialogs in files: to go on from, and to read."""

import base64
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from imagebind_llm import UserError
from imagebind_llm.skills.dialogs.reading import export_dialog
from imagebind_llm.skills.dialogs.transcripts import load_chat, load_transcript, media_folder, save_transcript

PICTURE = Image.new("RGB", (8, 6), (1, 2, 3))


@pytest.fixture
def chat(bot, media_folder):
    chat = bot.chat(system="Be brief.", max_new_tokens=6)
    chat.send("what?", image=[media_folder / "red.png", (PICTURE, 0.25)])
    chat.send("and <b>this</b>?", audio=(media_folder / "tone.wav").read_bytes(), text=("a *dog*", -0.5))
    chat.send("again?", image=str(media_folder / "red.png"))
    return chat


def test_a_dialog_goes_on_from_its_transcript(bot, chat, tmp_path):
    written = save_transcript(chat.history, tmp_path / "talk.json", chat.system)
    assert len(written) == 3  # red.png once
    assert {path.parent for path in written} == {media_folder_of(tmp_path)}
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("talk.json", "talk.media"):
        (tmp_path / name).rename(moved / name)
    other = load_chat(bot, moved / "talk.json", max_new_tokens=6)
    assert [message["role"] for message in other.messages] == [message["role"] for message in chat.messages]
    assert other.system == "Be brief."
    weights = [part["weight"] for part in other.history[0]["content"][:-1]]
    assert weights == [1.0, 0.25]
    assert other.regenerate().text == chat.history[-1]["content"]
    assert other.send("so?").text == chat.send("so?").text


def media_folder_of(folder):
    return media_folder(folder / "talk.json")


def test_the_picture_comes_back_pixel_for_pixel(chat, tmp_path):
    save_transcript(chat.history, tmp_path / "talk.json")
    history, system = load_transcript(tmp_path / "talk.json")
    assert system is None
    with Image.open(history[0]["content"][1]["image"]) as found:
        assert found.tobytes() == PICTURE.tobytes()


def test_saving_again_writes_only_what_is_new(chat, media_folder, tmp_path):
    save_transcript(chat.history, tmp_path / "talk.json")
    chat.send("more", image=media_folder / "blue.png")
    assert len(save_transcript(chat.history, tmp_path / "talk.json")) == 1


def test_the_past_does_not_change_with_a_file(bot, media_folder, tmp_path):
    shutil.copy(media_folder / "red.png", tmp_path / "now.png")
    chat = bot.chat(max_new_tokens=4)
    chat.send("what?", image=tmp_path / "now.png")
    save_transcript(chat.history, tmp_path / "talk.json")
    (tmp_path / "now.png").unlink()
    assert (
        load_chat(bot, tmp_path / "talk.json", max_new_tokens=4).regenerate().text
        == (chat.history[-1]["content"])
    )
    with pytest.raises(UserError, match=r"message 0: cannot keep .*now.png"):
        save_transcript(chat.history, tmp_path / "again.json")
    assert not (tmp_path / "again.json").exists()


def test_only_transcripts_are_replaced(chat, tmp_path):
    thesis = tmp_path / "thesis.json"
    for words in ('{"title": "mine"}', "[1, 2]", "no JSON"):
        thesis.write_text(words)
        with pytest.raises(UserError, match="no transcript"):
            save_transcript(chat.history, thesis)
        assert thesis.read_text() == words
    with pytest.raises(UserError, match=r"does not end in \.json"):
        save_transcript(chat.history, tmp_path / "talk.txt")


def test_an_array_is_no_file(bot, tmp_path):
    chat = bot.chat(max_new_tokens=4)
    chat.send("what?", image=np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="message 0 has image given as ndarray"):
        save_transcript(chat.history, tmp_path / "talk.json")
    assert list(tmp_path.iterdir()) == []


def damaged(folder, change):
    file = folder / "talk.json"
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))
    return file


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v.update(schema=2), "schema 2; expected 1"),
        (lambda v: v.update(turns={}), "'turns' is"),
        (lambda v: v.update(system=3), "'system' is 3"),
        (lambda v: v["turns"].append(5), "turn 6 is 5"),
        (lambda v: v["turns"][0].update(media=3), "'media' is 3"),
        (lambda v: v["turns"][0]["media"][0].update(file="../red.png"), "expected a file in talk.media"),
        (lambda v: v["turns"][0]["media"][0].pop("sha256"), "a medium names"),
        (lambda v: v["turns"][0]["media"][0].update(type="smell"), "smell"),
        (lambda v: v["turns"][0]["media"][0].update(weight="much"), "weight is 'much'"),
        (lambda v: v["turns"][0].update(role="king"), "king"),
        (lambda v: v["turns"][1].update(media=v["turns"][0]["media"]), "only other roles bring media"),
    ],
)
def test_a_damaged_transcript_is_refused(chat, tmp_path, change, told):
    save_transcript(chat.history, tmp_path / "talk.json")
    with pytest.raises(UserError, match=re.escape(told)):
        load_transcript(damaged(tmp_path, change))


def test_other_media_are_refused(chat, tmp_path):
    first, *_ = save_transcript(chat.history, tmp_path / "talk.json")
    content = first.read_bytes()
    first.write_bytes(content[:-1])
    with pytest.raises(UserError, match="is not what was saved"):
        load_transcript(tmp_path / "talk.json")
    first.unlink()
    with pytest.raises(UserError, match=r"put talk\.media beside the transcript"):
        load_transcript(tmp_path / "talk.json")


@pytest.mark.parametrize("content", ["", "nothing", "[]", '{"format": "another"}', '{"format": NaN}'])
def test_what_is_no_transcript_is_refused(tmp_path, content):
    file = tmp_path / "talk.json"
    file.write_text(content)
    with pytest.raises(UserError, match="no transcript"):
        load_transcript(file)


def test_the_page_shows_words_pictures_and_sounds(chat, tmp_path):
    export_dialog(chat.history, tmp_path / "talk.html", chat.system, title="<script>")
    page = (tmp_path / "talk.html").read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;this&lt;/b&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 2  # the same picture twice
    assert page.count("data:audio/wav;base64,") == 1
    assert "given as PngImageFile" in page or "given as Image" in page
    assert "Be brief." in page
    assert page.count('<section class="assistant">') == 3


def test_markdown_shows_the_same(chat, tmp_path):
    export_dialog(chat.history, tmp_path / "talk.md", chat.system)
    text = (tmp_path / "talk.md").read_text()
    assert text.startswith("# A dialog\n\n*Be brief.*\n")
    assert r"**You:** and \<b\>this\</b\>?" in text
    assert r"> a \*dog\*" in text
    (first, _) = re.findall(r"!\[red.png\]\(data:image/jpeg;base64,([^)]*)\)", text)
    assert base64.b64decode(first, validate=True).startswith(b"\xff\xd8")


def test_a_dialog_is_not_exported_to_anything(chat, tmp_path):
    with pytest.raises(UserError, match=r"exported to \.html or \.md"):
        export_dialog(chat.history, tmp_path / "talk.pdf")


def test_long_answers_are_whole(tmp_path):
    words = "word " * 2000 + "end"
    history = [{"role": "user", "content": "long?"}, {"role": "assistant", "content": words}]
    for name in ("talk.html", "talk.md"):
        export_dialog(history, tmp_path / name)
        assert "word end" in (tmp_path / name).read_text()
