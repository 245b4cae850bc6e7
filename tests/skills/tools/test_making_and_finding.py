"""The generator and the detector as tools: draw what you hear, where is what I hear?"""

import io
import json

import numpy as np
import pytest
from PIL import Image
from support.live_server import INPUTS

from imagebind_llm import Assistant, UserError
from imagebind_llm.cli import main
from imagebind_llm.inference.calls import MadeFile, Outcome
from imagebind_llm.skills.tools import CALCULATOR, DETECTOR, GENERATOR, Tool, Toolbox, ToolUser
from imagebind_llm.skills.tools.arguments import check_arguments
from imagebind_llm.skills.tools.catalogue import tool_named

pytest.importorskip("jsonschema")
pytest.importorskip("llguidance")
pytest.importorskip("diffusers")
pytest.importorskip("scipy")

from support.tiny_decoder import SIDE, write_decoder

HEARD, DOG = INPUTS / "eight.ogg", (80, 12, 132, 64)


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def weights(bot, tmp_path_factory):
    return write_decoder(tmp_path_factory.mktemp("decoder"), bot)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    picture = Image.new("RGB", (208, 120), (235, 230, 210))
    for place, name in (((12, 40), "seven.png"), (DOG[:2], "dog.jpg"), ((144, 56), "ship.jpg")):
        picture.paste(Image.open(INPUTS / name).convert("RGB").resize((52, 52)), place)
    path = tmp_path_factory.mktemp("scene") / "scene.png"
    picture.save(path)
    return path


@pytest.fixture(scope="module")
def user(bot, weights):
    return ToolUser(bot, [CALCULATOR, tool_named(f"generator={weights}"), DETECTOR])


def picture_of(answer):
    (made,) = answer.made
    assert (made.name, made.media_type) == ("picture.png", "image/png")
    with Image.open(io.BytesIO(made.data)) as opened:
        return np.asarray(opened), opened.text


# --- made


def test_draw_what_you_hear(user):
    answer = user.ask("Draw what you hear.", audio=HEARD)
    assert answer.text == "Here is a picture of the sound."
    (call,) = answer.calls
    assert (call.name, call.arguments) == ("generator", {"kind": "picture", "of": [1]})
    assert check_arguments(GENERATOR, call.arguments)
    pixels, notes = picture_of(answer)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert json.loads(notes["imagebind-llm"])["made_of"] == ["audio eight.ogg"]
    other, _ = picture_of(user.ask("Draw what you hear.", audio=INPUTS / "dog.ogg"))
    assert (pixels != other).any()


@pytest.mark.parametrize(
    ("question", "arguments", "text"),
    [
        ("Draw a picture of this", {"kind": "picture", "of": [1, 2]}, "the picture and the sound"),
        ("please draw the sound", {"kind": "picture", "of": [2]}, "the sound"),
        ("Turn what you see into a picture!", {"kind": "picture", "of": [1]}, "the picture"),
        ("Can you draw me a seven, please?", {"kind": "picture", "text": "a seven"}, "“a seven”"),
        ("Show me a picture of a dog", {"kind": "picture", "text": "a dog"}, "“a dog”"),
    ],
)
def test_wishes_in_other_words(user, question, arguments, text):
    answer = user.ask(question, image=INPUTS / "dog.jpg", audio=HEARD)
    assert answer.calls[0].arguments == arguments
    assert answer.text == f"Here is a picture of {text}."


def test_what_cannot_be_made_is_said(user, bot):
    answer = user.ask("Make a sound of what you see.", image=INPUTS / "dog.jpg")
    assert answer.made == ()
    assert "no generator here makes a sound: nano makes pictures and shapes" in answer.text
    with pytest.raises(UserError, match="something heard, and no such medium is attached"):
        user.ask("Draw what you hear.", image=INPUTS / "dog.jpg")
    with pytest.raises(UserError, match="no such medium"):
        user.ask("Draw this.")
    plain = user.ask("What is this?", image=INPUTS / "dog.jpg")
    assert (plain.calls, plain.text) == ((), "It is a dog.")


def test_a_call_that_names_what_is_not_there(user):
    call = user.toolbox.call("generator", {"kind": "picture", "of": [3]})
    assert call.error == "medium 3 is asked for, and 0 are attached"
    assert "'film' is not one of" in user.toolbox.call("generator", {"kind": "film"}).error
    assert "nothing to make a picture of" in user.toolbox.call("generator", {"kind": "picture"}).error


def test_files_are_kept_apart_from_the_result():
    tool = Tool("x", "", run=lambda: Outcome("done", (MadeFile("a.txt", "text/plain", b"1"),)))
    call = Toolbox([tool]).call("x", {})
    assert (call.result, call.made[0].data) == ("done", b"1")
    assert call.to_dict()["made"] == [{"name": "a.txt", "media_type": "text/plain", "bytes": 1}]


@pytest.mark.parametrize(
    ("name", "said"),
    [("generator=nobody", "nobody"), ("generator=nano=", "no weights"), ("detector=nowhere", "nowhere")],
)
def test_unknown_ones(name, said):
    with pytest.raises(UserError, match=said):
        tool_named(name)


# --- found


@pytest.mark.parametrize(
    ("question", "media"),
    [
        ("Where is the dog?", {}),
        ("Where do you see a puppy in the picture?", {}),
        ("Where is what I hear?", {"audio": INPUTS / "dog.ogg"}),
        ("Find this.", {"audio": INPUTS / "dog.ogg"}),
    ],
)
def test_where_it_is(user, scene, question, media):
    answer = user.ask(question, image=scene, **media)
    drawn, boxes = answer.made
    found = json.loads(boxes.data)
    assert len(found["annotations"]) == 1, "the ship is no dog"
    x, y, width, height = found["annotations"][0]["bbox"]
    assert sum(abs(a - b) for a, b in zip((x, y, x + width, y + height), DOG, strict=True)) < 12
    sure = found["annotations"][0]["score"]
    place = f"at x {x:.0f} to {x + width:.0f}, y {y:.0f} to {y + height:.0f} (score {sure:.2f})"
    assert answer.text.endswith(f"in one place: {place}.")
    with Image.open(io.BytesIO(drawn.data)) as opened:
        assert opened.size == (416, 240)


def test_nothing_found_is_said(user, scene):
    answer = user.ask("Where is the frog?", image=scene)
    assert answer.text.startswith("I found nothing in the picture that fits “the frog”")
    assert "there is no picture to look in" in user.ask("Where is the dog?").text
    assert "not said what to look for" in user.ask("Find what you see.", image=scene).text


def test_asked_in_chinese_it_answers_in_chinese(user, scene):
    answer = user.ask("图里的狗在哪里？", image=scene)
    assert answer.text.startswith("找到“狗”，共1处：x ")
    assert len(json.loads(answer.made[1].data)["annotations"]) == 1
    answer = user.ask("你听到的东西在图里的哪里？", image=scene, audio=INPUTS / "dog.ogg")
    assert answer.text.startswith("找到声音，共1处：x ")
    assert user.ask("图里的青蛙在哪里？", image=scene).text.endswith("没有找到“青蛙”。")
    drawn = user.ask("画出你听到的东西。", audio=HEARD)
    assert (drawn.text, len(drawn.made)) == ("这是画好的图片。", 1)


# --- on the command line


@pytest.fixture
def run(bot, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(Assistant, "from_pretrained", lambda *_, **__: bot)
    monkeypatch.chdir(tmp_path)

    def running(*arguments):
        with pytest.raises(SystemExit) as leaving:
            main(["ask", *map(str, arguments)])
        return leaving.value.code, *capsys.readouterr()

    return running


def test_files_are_written_and_never_over_others(run, weights, tmp_path):
    asked = ["Draw what you hear.", "--audio", HEARD, "--tool", f"generator={weights}", "--save", "made"]
    code, out, err = run(*asked)
    assert (code, out) == (0, "Here is a picture of the sound.\nmade/picture.png\n")
    assert 'generator(kind="picture", of=[1])' in err
    first = (tmp_path / "made" / "picture.png").read_bytes()
    code, out, _ = run(*asked, "--json")
    assert json.loads(out)["files"] == ["made/picture-2.png"]
    assert (tmp_path / "made" / "picture.png").read_bytes() == first
    assert json.loads(out)["calls"][0]["made"][0]["media_type"] == "image/png"


def test_a_place_that_cannot_be_written_to(run, tmp_path):
    (tmp_path / "made").write_text("")
    code, _, err = run("Draw this.", "--audio", HEARD, "--tool", "generator", "--save", "made")
    assert (code, err) == (2, "error: --save 'made' is a file; give a folder\n")


def test_words_that_ask_for_no_tool(run):
    code, out, err = run("What is this?", "--image", INPUTS / "dog.jpg", "--tool", "generator")
    assert (code, out) == (0, "It is a dog.\n")
    assert "note: no tool was called: these words ask for none of generator" in err


def test_weights_that_are_not_there(run, monkeypatch, tmp_path):
    from imagebind_llm.skills.generation import nano

    monkeypatch.setattr(nano, "generator_folder", lambda: tmp_path / "none")
    code, out, err = run("Draw what you hear.", "--audio", HEARD, "--tool", "generator=nano")
    assert code == 0
    assert "generator failed: nano's generator is not in this installation" in out
    assert "failed" in err
