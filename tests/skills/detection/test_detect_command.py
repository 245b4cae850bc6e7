"""``imagebind-llm detect``."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.live_server import INPUTS

from imagebind_llm import Assistant
from imagebind_llm.cli import main

pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


@pytest.fixture
def run(bot, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(Assistant, "from_pretrained", lambda *_, **__: bot)
    monkeypatch.chdir(tmp_path)
    picture = Image.new("RGB", (160, 120), (235, 230, 210))
    picture.paste(Image.open(INPUTS / "dog.jpg").convert("RGB").resize((60, 60)), (20, 30))
    picture.save("scene.png")

    def running(*arguments):
        with pytest.raises(SystemExit) as leaving:
            main(["detect", *arguments])
        return leaving.value.code, *capsys.readouterr()

    return running


def test_all_that_is_found_is_written(run, tmp_path):
    sound = str(INPUTS / "dog.ogg")
    code, out, err = run("scene.png", "--audio", sound, "--out", "o.png", "--coco", "c.json", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["detections"]
    x0, y0, x1, y1 = found[0]["box"]
    assert abs(x0 - 20) + abs(y0 - 30) + abs(x1 - 80) + abs(y1 - 90) < 16
    written = json.loads((tmp_path / "c.json").read_text())
    assert len(written["annotations"]) == len(found)
    assert written["images"][0]["file_name"] == "scene.png"
    with Image.open(tmp_path / "o.png") as drawn:
        assert drawn.size == (480, 360)


def test_a_line_a_box_and_an_answer(run):
    code, out, _ = run("scene.png", "--text", "a dog", "--most", "1", "--ask", "What is in box 1?")
    assert code == 0
    assert out.splitlines()[0].endswith("a dog")
    assert "dog" in out.splitlines()[-1].lower()


def test_nothing_found_is_said(run):
    Image.new("RGB", (60, 60), (9, 9, 99)).save("empty.png")
    code, out, _ = run("empty.png", "--text", "a dog")
    assert (code, out) == (0, "nothing found: the detector proposed no place; another --detector may\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scene.png"], "nothing to look for"),
        (["none.png", "--text", "a dog"], "there is no such file"),
        (["scene.png", "--audio", "none.wav"], "there is no such file"),
        (["scene.png", "--text", "a dog", "--detector", "nowhere"], "the detector is 'nowhere'"),
        (["scene.png", "--text", "a dog", "--out", "o.jpg"], "expected .png"),
        (["scene.png", "--text", "a dog", "--out", "scene.png"], "one of the files that are read"),
        (["scene.png", "--text", "a dog", "--coco", "folder.json"], "--coco 'folder.json' is a folder"),
        (["scene.png", "--text", "a dog", "--ask", " "], "--ask is empty"),
        (["scene.png", "--text", "a dog", "--threshold", "7"], "threshold is 7.0"),
        (["scene.png", "--text", "a dog@0.5"], "add --together"),
        (["scene.png", "--text", "a dog", "--ask", "What is in box 99?"], "box 99 is asked for"),
    ],
)
def test_bad_input_gets_one_line(run, arguments, said, tmp_path):
    (tmp_path / "folder.json").mkdir()
    code, _, err = run(*arguments)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_boxes_are_shown_before_a_question_about_one_is_refused(run):
    code, out, err = run("scene.png", "--text", "a dog", "--ask", f"What is in box {10**30}?")
    assert code == 2
    assert out.splitlines()[0].endswith("a dog")
    assert err == "error: box 100000000 is asked for, and there are boxes 1 to 1\n"


def test_a_file_address_is_a_path(run, tmp_path):
    address = (tmp_path / "scene.png").as_uri()
    code, out, err = run(address, "--text", "a dog", "--out", "o.png")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].endswith("a dog")
    before = (tmp_path / "scene.png").read_bytes()
    for arguments in ([address, "--text", "a dog"], ["o.png", "--image", address]):
        code, _, err = run(*arguments, "--out", "scene.png")
        assert (code, "one of the files that are read" in err) == (2, True)
    assert (tmp_path / "scene.png").read_bytes() == before


def test_a_damaged_picture_gets_one_line(run, media_folder):
    code, _, err = run(str(media_folder / "broken.png"), "--text", "a dog")
    assert (code, err.count("\n")) == (2, 1)


def test_another_detector_proposes_the_boxes(run, tmp_path):
    from support.tiny_detectors import write_owlv2

    folder = write_owlv2(tmp_path / "owlv2")
    pixels = np.random.default_rng(0).integers(0, 255, (90, 140, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("noise.png")
    code, out, err = run(
        "noise.png", "--text", "a dog", "--detector", str(folder), "--threshold", "0", "--json"
    )
    assert code == 0, err
    values = json.loads(out)
    assert values["proposed"] >= 1
    assert len(values["detections"]) >= 1


def test_options_are_checked_before_torch_is_imported(tmp_path):
    """So that the first sign of life, and a complaint, come at once."""
    code = (
        "import sys\n"
        "from imagebind_llm.cli import main, status\n"
        "status.show = lambda text: print(text, 'torch' in sys.modules)\n"
        "main(['detect', sys.argv[1], '--text', 'a dog'])\n"
    )
    Image.new("RGB", (60, 60), (9, 9, 99)).save(tmp_path / "empty.png")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "empty.png")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[:2] == ["starting … False", "loading nano … False"]
