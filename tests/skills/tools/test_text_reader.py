"""Recognising text in pictures, by the real library where it is installed."""

import builtins
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from support.live_server import INPUTS

from imagebind_llm import Assistant, UserError
from imagebind_llm.common.errors import MediaError, MissingExtraError
from imagebind_llm.common.modality import Modality
from imagebind_llm.model.messages import MediaItem, user_message
from imagebind_llm.skills.tools import Tool, Toolbox, ToolUser
from imagebind_llm.skills.tools import ocr as make_ocr
from imagebind_llm.skills.tools.catalogue import tool_named
from imagebind_llm.skills.tools.perceived import plan
from imagebind_llm.skills.tools.stopping import Stop, stopped_by
from imagebind_llm.skills.tools.text_reader import MOST_LINES, ROUTES, Line, TextReader, written

pytest.importorskip("jsonschema")

PICTURE = MediaItem(Modality.IMAGE, "sign.png", 1.0)


def drawn(*lines, size=28):
    """A white picture with black lines of text."""
    font = ImageFont.load_default(size)
    image = Image.new("RGB", (400, 20 + 2 * size * len(lines)), "white")
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        pen.text((20, 20 + 2 * size * number), line, fill="black", font=font)
    return image


def plain(text):
    """Without spaces, which the recogniser often leaves out."""
    return text.replace(" ", "")


def encoded(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def reader():
    pytest.importorskip("rapidocr_onnxruntime", exc_type=ImportError)  # OpenCV may lack libGL
    return TextReader()


def test_lines_come_with_their_boxes(reader):
    first, second = reader.read(encoded(drawn("Exit to the left", "Room 42")))
    assert (plain(first.text), plain(second.text)) == ("Exittotheleft", "Room42")
    assert 0.8 < second.confidence <= 1
    left, top = np.min(second.box, axis=0)
    right, bottom = np.max(second.box, axis=0)
    assert 10 <= left <= 25
    assert 70 <= top <= 85
    assert 100 <= right <= 160
    assert 100 <= bottom <= 120


def test_colours_and_transparency_are_read_alike(reader):
    image = drawn("Room 42")
    alpha = Image.new("RGBA", image.size, (0, 0, 0, 0))
    alpha.paste((0, 0, 0, 255), mask=image.convert("L").point(lambda value: 255 - value))
    assert plain(reader.read(alpha)[0].text) == "Room42"
    assert plain(reader.read(np.asarray(image.convert("L")))[0].text) == "Room42"


def test_nothing_is_no_text(reader):
    assert reader.read(Image.new("RGB", (200, 200), "white")) == []


def test_pictures_that_are_refused(reader):
    with pytest.raises(MediaError, match="cut it into pieces"):
        reader.read(Image.new("RGB", (2000, 20), "white"))
    with pytest.raises(MediaError, match="pixels"):
        reader.read(Image.new("1", (20_000, 10_000)))
    with pytest.raises(MediaError):
        reader.read(b"no picture")


def test_it_ends_when_its_time_is_over(reader):
    stop = Stop()
    whole = reader._engine.text_det.infer._model

    def late(values):
        stop.set()
        return whole(values)

    reader._engine.text_det.infer._model = late
    try:
        with stopped_by(stop), pytest.raises(UserError, match="time is over"):
            reader.read(drawn("Room 42"))
    finally:
        reader._engine.text_det.infer._model = whole
    assert plain(reader.read(drawn("Room 42"))[0].text) == "Room42"


def test_the_tool_takes_the_pictures_by_their_place(reader):
    box = Toolbox([reader.tool()])
    media = [
        MediaItem(Modality.AUDIO, INPUTS / "four.wav", 1.0),
        MediaItem(Modality.IMAGE, encoded(drawn("first one")), 1.0),
        MediaItem(Modality.IMAGE, encoded(drawn("second one")), 1.0),
    ]
    found = json.loads(box.call("ocr", {"number": 2}, media).result)
    assert plain(found["text"]) == "secondone"
    assert set(found["lines"][0]) == {"text", "confidence", "box"}
    error = box.call("ocr", {"number": 3}, media).error
    assert error == "picture 3 is asked for, and 2 are attached"


def test_nano_answers_with_the_text(reader, tmp_path):
    drawn("Exit to the left", "Room 42").save(tmp_path / "sign.png")
    user = ToolUser(Assistant.from_pretrained("nano", device="cpu"), [reader.tool()])
    answer = user.ask("What does the sign say?", image=tmp_path / "sign.png")
    assert plain(answer.text) == "Exittotheleft\nRoom42"
    assert len(json.loads(answer.calls[0].result)["lines"]) == 2
    Image.new("RGB", (200, 200), "white").save(tmp_path / "empty.png")
    assert user.ask("Read the text.", image=tmp_path / "empty.png").text == "ocr found nothing."


def test_a_result_has_an_end():
    lines = [Line("x", 0.9, ((0, 0), (1, 0), (1, 1), (0, 1)))] * (MOST_LINES + 5)
    found = json.loads(written(lines))
    assert (len(found["lines"]), found["left_out"]) == (MOST_LINES, 5)
    assert "left_out" not in json.loads(written(lines[:1]))


@pytest.mark.parametrize(
    "question",
    [
        "What does the sign say?",
        "What does it say?",
        "what does the label in the picture say",
        "Read the text.",
        "Please read the text in this image.",
        "Could you read it to me, please?",
        "Extract all the text from the screenshot.",
        "Recognise the printed text, please.",
        "What is written here?",
        "what's written on the sign?",
        "Which words are printed here?",
        "What text do you see?",
        "What text is written in the photo?",
        "What can you read here?",
        "Tell me what the poster says.",
        "Give me the text of this page",
        "读出文字",
        "请读出图片上的文字。",
        "识别图中的文字",
        "把图片里的文字读出来",
        "图片上写了什么？",
        "牌子上写着什么字？",
        "这里写的是什么？",
        "请问，这张图片上写的是什么字？",
        "图里有什么字",
    ],
)
def test_how_people_ask_for_it(question):
    found = plan([user_message(question, [PICTURE])], [Tool("ocr", "", routes=ROUTES)])
    assert found is not None
    assert found.arguments([]) == {}
    assert found.says({}, '{"text": "Room 42", "lines": []}') == "Room 42"


@pytest.mark.parametrize(
    "question",
    [
        "What is this?",
        "Which number is this?",
        "Which number is written here?",
        "What does the dog say?",
        "What do you see?",
        "What is the text about?",
        "Is this a sign?",
        "这是什么？",
        "你听到什么？",
        "图里有什么？",
    ],
)
def test_other_questions_do_not_ask_for_it(question):
    assert plan([user_message(question, [PICTURE])], [Tool("ocr", "", routes=ROUTES)]) is None


def test_a_sentence_that_names_what_a_result_lacks_is_left_out():
    found = plan([user_message("Read the text.", [PICTURE])], [Tool("ocr", "", routes=ROUTES)])
    for result in ('{"lines": []}', '{"text": "cut off', "plain", '{"text": 5}'):
        assert found.says({}, result) == result
    assert found.says({}, '{"text": ""}') == "ocr found nothing."


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
    expected = "up to 3.12" if sys.version_info >= (3, 13) else r"imagebind-llm\[ocr\]"
    with pytest.raises(MissingExtraError, match=expected):
        make_ocr()
    with pytest.raises(MissingExtraError):
        tool_named("ocr")


def test_a_library_that_cannot_be_loaded_says_what_to_do(monkeypatch):
    importing = builtins.__import__

    def failing(name, *more):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
        return importing(name, *more)

    pytest.importorskip("rapidocr_onnxruntime", exc_type=ImportError)
    for name in [name for name in sys.modules if name.partition(".")[0] == "rapidocr_onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", failing)
    with pytest.raises(UserError, match=r"libGL.*opencv-python-headless") as caught:
        make_ocr()
    assert "\n" not in str(caught.value)
