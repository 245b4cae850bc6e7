"""POPE in its released layout, with its script's numbers worked out by hand."""

import json
import math

import pytest
from support.suite_runs import evaluate, picture, read, score

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.suite import suite_kind

LABELS = ("yes", "no", "yes", "no", "yes", "no")


def _lines(labels=LABELS):
    return [
        {
            "question_id": number,
            "image": f"COCO_val2014_{number // 3:012d}.jpg",
            "text": f"Is there a thing {number} in the image?",
            "label": label,
        }
        for number, label in enumerate(labels, start=1)
    ]


def _write(root, kind="random", lines=None, end="\n"):
    lines = _lines() if lines is None else lines
    for number in range(3):
        picture(root / "val2014" / f"COCO_val2014_{number:012d}.jpg")
    text = "".join(json.dumps(line) + end for line in lines)
    (root / f"coco_pope_{kind}.json").write_bytes(text.encode())
    return root


@pytest.fixture
def suite():
    return suite_kind("pope").make()


def test_reads_three_files(suite, tmp_path) -> None:
    for kind in ("adversarial", "random", "popular"):
        _write(tmp_path, kind)
    items = read(suite, tmp_path)
    assert [item.group for item in items[::6]] == ["random", "popular", "adversarial"]
    assert items[0].request["question"] == "Is there a thing 1 in the image?"
    assert items[0].unit == items[1].unit != items[2].unit


def test_by_hand(suite, tmp_path) -> None:
    items = read(suite, _write(tmp_path))
    answers = ["Yes, there is", "Yes", "No.", "There is no such thing", "yes", "It is NO"]
    found, samples = score(suite, items, answers)
    # said: yes yes no no yes yes, of yes no yes no yes no: 2 true and 2 false positives, 1 missed
    assert found["accuracy"] == pytest.approx(3 / 6)
    assert found["precision"] == pytest.approx(2 / 4)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    assert found["yes_rate"] == pytest.approx(4 / 6)
    assert found["accuracy_lenient"] == pytest.approx(4 / 6)
    assert samples[5].read == "no"


def test_always_yes(suite, tmp_path) -> None:
    _, found, _ = evaluate(suite, _write(tmp_path), "Yes")
    assert found["accuracy"] == 0.5
    assert found["precision"] == 0.5
    assert found["recall"] == found["yes_rate"] == 1
    assert found["f1"] == pytest.approx(2 / 3)


def test_always_no(suite, tmp_path) -> None:
    _, found, _ = evaluate(suite, _write(tmp_path), "No, not at all.")
    assert found["accuracy"] == 0.5
    assert math.isnan(found["precision"])
    assert found["recall"] == found["yes_rate"] == found["f1"] == 0


def test_no_answer_is_wrong_and_not_a_yes(suite, tmp_path) -> None:
    items = read(suite, _write(tmp_path))
    found, _ = score(suite, items, [None, None, "Yes", "No", "Yes", "No"])
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["precision"] == 1
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["yes_rate"] == pytest.approx(2 / 4)


def test_carriage_returns_a_mark_and_a_list(suite, tmp_path) -> None:
    _write(tmp_path, end="\r\n")
    file = tmp_path / "coco_pope_random.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    plain = [(item.key, item.request["question"]) for item in read(suite, tmp_path)]
    file.write_text(json.dumps(_lines()))
    assert [(item.key, item.request["question"]) for item in read(suite, tmp_path)] == plain


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "maybe"}, "line 2: 'label' is 'maybe'"),
        ({"label": 1}, "line 2: 'label' is 1; expected a text"),
        ({"question_id": 1}, "line 2 has the question_id '1', as .*line 1 has"),
        ({"question_id": True}, "line 2: 'question_id' is True"),
        ({"image": "gone.jpg"}, "line 2 needs 'gone.jpg'"),
        ({"image": "../gone.jpg"}, "line 2 names '../gone.jpg'"),
        ({"image": "/etc/passwd"}, "line 2 names '/etc/passwd'"),
        ({"text": None}, "line 2: 'text' is None"),
        ({"text": "  "}, "line 2: 'text' is ' '"),
    ],
)
def test_mangled_lines(suite, tmp_path, change, said) -> None:
    lines = _lines()
    lines[1] |= change
    _write(tmp_path, lines=lines)
    with pytest.raises(UserError, match=said) as caught:
        list(suite.items(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_missing_field(suite, tmp_path) -> None:
    lines = _lines()
    del lines[3]["label"]
    with pytest.raises(UserError, match="line 4 has no 'label'; it has question_id, image, text"):
        list(suite.items(_write(tmp_path, lines=lines)))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"{", "line 1 is not JSON"), (b"[1]", "entry 1 is 1"), (b"3", "line 1 holds 3"), (b"[", "is not JSON")],
)
def test_no_json(suite, tmp_path, content, said) -> None:
    (tmp_path / "coco_pope_random.json").write_bytes(content)
    with pytest.raises(UserError, match=said):
        list(suite.items(tmp_path))


def test_missing_files(suite, tmp_path) -> None:
    with pytest.raises(UserError, match="has no file of POPE"):
        list(suite.items(tmp_path))
    with pytest.raises(UserError, match=r"no file or folder '.*gone'; suite 'pope' needs the folder"):
        list(suite.items(tmp_path / "gone"))
    file = _write(tmp_path) / "coco_pope_random.json"
    with pytest.raises(UserError, match="is no folder; give the one that holds"):
        list(suite.items(file))


def test_an_empty_file_is_not_left_out(suite, tmp_path):
    for kind in ("adversarial", "popular"):
        _write(tmp_path, kind)
    (tmp_path / "coco_pope_random.json").write_bytes(b"")
    with pytest.raises(UserError, match=r"coco_pope_random\.json' is empty"):
        list(suite.items(tmp_path))
