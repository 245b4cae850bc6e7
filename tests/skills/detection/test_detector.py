"""Finding things with nano, and what is made of what was found."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from support.live_server import INPUTS

pytest.importorskip("scipy")

from imagebind_llm import Assistant
from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.skills.detection import (
    Detection,
    Detections,
    DetectionSettings,
    Detector,
    Prompt,
    Proposals,
    ask_box,
)
from imagebind_llm.skills.detection.boxes import overlaps
from imagebind_llm.skills.detection.coco import to_coco
from imagebind_llm.skills.detection.overlay import COLOURS, overlay
from imagebind_llm.skills.detection.scoring import scores

PLACES = {"seven.png": (12, 40), "dog.jpg": (80, 12), "ship.jpg": (144, 56)}
SIDE = 52


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def detector(bot):
    return Detector(bot)


@pytest.fixture(scope="module")
def scene():
    picture = Image.new("RGB", (208, 120), (235, 230, 210))
    for name, place in PLACES.items():
        picture.paste(Image.open(INPUTS / name).convert("RGB").resize((SIDE, SIDE)), place)
    return picture


def near(box, name):
    """The overlap with where a picture was put."""
    x, y = PLACES[name]
    return float(overlaps(np.array([box]), np.array([[x, y, x + SIDE, y + SIDE]], dtype=float))[0, 0])


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt.of(text="a dog"),
        Prompt.of(audio=str(INPUTS / "dog.ogg")),
        Prompt.of(text=("a dog", 0.5), audio=(str(INPUTS / "dog.ogg"), 0.5)),
    ],
    ids=["words", "sound", "mixture"],
)
def test_where_is_what_i_describe_or_hear(detector, scene, prompt):
    found = detector.detect(scene, [prompt])
    assert near(found[0].box, "dog.jpg") > 0.7
    assert found.proposed >= 3


def test_each_box_gets_its_best_prompt(detector, scene):
    prompts = Prompt.each(text=["a dog", "a ship"])
    found = {one.label: one for one in detector.detect(scene, prompts)}
    assert near(found["a dog"].box, "dog.jpg") > 0.7
    assert near(found["a ship"].box, "ship.jpg") > 0.7


def test_scores_fall_and_numbers_count(detector, scene):
    found = detector.detect(scene, Prompt.each(text=["a dog", "a ship"]), DetectionSettings(threshold=0.0))
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    given = [one.score for one in found]
    assert given == sorted(given, reverse=True)
    assert 0 <= given[-1] <= given[0] <= 1


def test_settings_are_kept_to(detector, scene):
    prompts = Prompt.each(text=["a dog", "a ship"])
    looked, directions = detector.look(scene), detector.embed(prompts)

    def choose(**changes):
        return detector.choose(looked, prompts, directions, DetectionSettings(**changes))

    assert len(choose(threshold=0.0, most=1)) == 1
    assert len(choose(threshold=1.0)) == 0
    strict = choose(threshold=0.0, overlap=0.0)
    boxes = np.array([one.box for one in strict])
    assert (overlaps(boxes, boxes) - np.eye(len(boxes)) <= 1e-9).all()
    every = choose(threshold=0.0, classify=False, overlap=1.0, most=1000)
    assert {one.prompt for one in every} == {0, 1}
    assert len(every) == 2 * looked.proposals.boxes.shape[0]


def test_an_empty_picture_has_nothing_in_it(detector):
    found = detector.detect(Image.new("RGB", (90, 70), (9, 99, 199)), [Prompt.of(text="a dog")])
    assert (len(found), found.proposed) == (0, 0)


def test_a_proposer_of_ones_own(bot, scene):
    class Whole:
        def propose(self, picture, most):
            return Proposals.of(np.array([[0, 0, *picture.size]], dtype=float), np.ones(1), picture.size)

    (found,) = Detector(bot, Whole()).detect(
        scene, [Prompt.of(text="a dog")], DetectionSettings(threshold=0.0)
    )
    assert found.box == (0, 0, 208, 120)


def test_scores_by_hand():
    """One view along the first of two prompts; the second and nothing are at right angles to it."""
    views, prompts = torch.tensor([[[1.0, 0, 0]]]), torch.eye(3)[:2]
    nothing = torch.zeros(1, 1, 2)
    together = scores(views, prompts, nothing, 1.0)
    assert together[0] == pytest.approx([np.e / (np.e + 2), 1 / (np.e + 2)])
    alone = scores(views, prompts, nothing, 1.0, classify=False)
    assert alone[0] == pytest.approx([np.e / (np.e + 1), 0.5])
    assert scores(views, prompts[:1], nothing[..., :1] + 1, 1.0)[0, 0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"threshold": 1.5}, "threshold is 1.5; expected a number from 0 to 1"),
        ({"overlap": float("nan")}, "overlap is nan"),
        ({"most": 0}, "most is 0; expected a whole number from 1 to 1000"),
        ({"most": True}, "most is True"),
        ({"temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_impossible_settings_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        DetectionSettings(**changes)


def test_prompts_need_media(detector, scene):
    with pytest.raises(UserError, match="no media"):
        Prompt.of()
    with pytest.raises(UserError, match="0 prompts"):
        detector.detect(scene, [])
    cancelling = Prompt.of(text=[("a dog", 1.0), ("a dog", -1.0)])
    with pytest.raises(UserError, match="cancel"):
        detector.detect(scene, [cancelling])


def made_up(picture=None, count=3):
    found = [
        Detection(n + 1, (10.0 * n, 5.0, 10.0 * n + 8, 25.0), n % 2, "ab"[n % 2], 0.9 - 0.1 * n, 0.5, 1.0)
        for n in range(count)
    ]
    return Detections(picture or Image.new("RGB", (100, 50)), ("a", "b"), tuple(found), count)


def test_coco_is_as_coco_reads_it(tmp_path):
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO

    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(to_coco(["one.png", "two.png"], [made_up(), made_up(count=1)])))
    coco = COCO(file)
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["one.png", "two.png"]
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["a", "b"]
    (second,) = coco.loadAnns(coco.getAnnIds(imgIds=[1], catIds=[2]))
    assert (second["bbox"], second["area"], second["score"]) == ([10.0, 5.0, 8.0, 20.0], 160.0, 0.8)
    assert len(coco.getAnnIds()) == 4


def test_the_overlay_has_each_box_in_the_colour_of_its_prompt():
    drawn = overlay(made_up())
    assert drawn.size == (400, 200)  # magnified by a whole factor
    pixels = np.asarray(drawn)
    for one in made_up():
        x0, _, x1, y1 = (round(4 * value) for value in one.box)
        colour = COLOURS[one.prompt]
        assert (pixels[y1 - 1, (x0 + x1) // 2] == colour).all()
    assert (np.asarray(overlay(made_up(count=0))) == 0).all()


def test_the_overlay_draws_any_label_and_leaves_the_picture_alone():
    picture = Image.new("RGB", (700, 500), (1, 2, 3))
    found = made_up(picture)
    labelled = dataclasses.replace(
        found, found=tuple(dataclasses.replace(one, label="狗 🐕 " + "x" * 99) for one in found)
    )
    assert overlay(labelled).size == (700, 500)
    assert (np.asarray(picture) == (1, 2, 3)).all()


def test_a_label_that_cannot_be_drawn_is_the_number_of_its_prompt():
    def drawn(label):
        found = dataclasses.replace(made_up().found[0], label=label, prompt=1)
        return np.asarray(overlay(dataclasses.replace(made_up(), found=(found,))))

    assert (drawn("狗") == drawn("prompt 2")).all()
    assert (drawn("a dog") != drawn("prompt 2")).any()


def test_a_label_is_one_line():
    made = Prompt((), "a dog\n\n and\ta ship" + "!" * 1000)
    assert made.label.startswith("a dog and a ship!!")
    assert (len(made.label), made.label[-1]) == (200, "…")


def test_a_question_is_asked_of_its_box(bot, scene, detector):
    found = detector.detect(scene, [Prompt.of(text="a ship")])
    answer = ask_box(bot, found, f"What is in box {found[0].number}?")
    assert "ship" in answer.text.lower()
    assert [item.modality for item in answer.media] == ["image"]
    assert ask_box(bot, found, "What is this?", number=1).text


def test_boxes_that_are_not_there_are_refused(bot):
    with pytest.raises(UserError, match="box 7 is asked for, and there are boxes 1 to 3"):
        ask_box(bot, made_up(), "What is in box 7?")
    with pytest.raises(UserError, match="which of 3 boxes"):
        ask_box(bot, made_up(), "What is this?")
    with pytest.raises(UserError, match="there are no boxes"):
        ask_box(bot, made_up(count=0), "What is in box 1?")
