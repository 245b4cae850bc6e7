"""Key information: the sets' own files, and F1 of words by hand."""

import json

import numpy as np
import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.benchmarks.key_information import FUNSD, POIE, SROIE, matched_words
from imagebind_llm.evaluation.suite import check_items


def put(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def items(kind, data):
    suite = kind.make()
    found = list(suite.items(data))
    check_items(found, suite.name)
    return suite, found


def metrics(suite, samples):
    sums = {name: np.array(sum(sample.sums[name] for sample in samples)) for name in samples[0].sums}
    return {name: float(value) for name, value in suite.metrics(sums).items()}


def test_words_are_matched_once():
    assert matched_words("a b a", "a a a c") == 2
    assert matched_words("Total", "total") == 0
    assert matched_words("", "a") == 0


def test_sroie(tmp_path):
    put(tmp_path / "gt_answers/X1.txt", {"company": "ABC SDN BHD", "total": "9.00", "date": ""})
    put(tmp_path / "images/X1.jpg", "picture")
    suite, found = items(SROIE, tmp_path)
    assert [(item.key, item.request["question"], item.expected) for item in found] == [
        ("X1/company", "what is the name of the company that issued this invoice?", ["ABC SDN BHD"]),
        ("X1/total", "what is the total amount of this invoice?", ["9.00"]),
    ]
    assert found[0].unit == found[1].unit == str(tmp_path / "images/X1.jpg")
    # matched 2 + 1 of 4 + 4 written and 3 + 1 expected words
    samples = suite.judge(found, ["It is ABC BHD", "it comes to 9.00"])
    assert metrics(suite, samples) == pytest.approx(
        {"f1": 6 / 12, "precision": 3 / 8, "recall": 3 / 4, "contained": 1 / 2}
    )
    nothing = metrics(suite, suite.judge(found, [None, ""]))
    assert nothing["f1"] == nothing["recall"] == nothing["contained"] == 0
    assert np.isnan(nothing["precision"])


def test_funsd_joins_the_linked_answers(tmp_path):
    form = [
        {"id": 0, "label": "question", "text": "Name:", "linking": [[0, 2], [0, 1], [0, 9]]},
        {"id": 1, "label": "answer", "text": "Doe", "linking": [[0, 1]]},
        {"id": 2, "label": "answer", "text": "Jane", "linking": [[0, 2]]},
        {"id": 3, "label": "question", "text": "Fax:", "linking": []},
        {"id": 4, "label": "header", "text": "FORM", "linking": [[4, 0]]},
    ]
    put(tmp_path / "testing_data/annotations/f.json", {"form": form})
    put(tmp_path / "testing_data/images/f.png", "picture")
    _, found = items(FUNSD, tmp_path)
    assert [(item.key, item.request["question"], item.expected) for item in found] == [
        ("f/0", 'what is "Name:" information in the image?', ["Jane Doe"])
    ]
    form[0]["linking"] = [0, 1]
    put(tmp_path / "testing_data/annotations/f.json", {"form": form})
    with pytest.raises(UserError, match="has 0 as a link; expected two ids"):
        items(FUNSD, tmp_path)


def test_poie_takes_the_reading_that_fits_best(tmp_path):
    lines = [
        {"file_name": "images/p.jpg", "entity_dict": {"TF-PS": "3 g (three grams)", "SS": "1 cup"}},
    ]
    put(tmp_path / "test.txt", "\n".join(map(json.dumps, lines)) + "\n")
    put(tmp_path / "images/p.jpg", "picture")
    suite, found = items(POIE, tmp_path)
    assert [item.request["question"] for item in found] == [
        "what is Total fat of per serving in the image?",
        "what is Serving size in the image?",
    ]
    assert found[0].expected == ["3 g", "three grams"]
    samples = suite.judge(found, ["three grams", "1 CUP"])
    assert [sample.score for sample in samples] == [1, pytest.approx(0.5)]
    assert metrics(suite, samples)["contained"] == 1
    put(tmp_path / "test.txt", json.dumps({"file_name": "images/p.jpg", "entity_dict": {"XX": "1"}}))
    with pytest.raises(UserError, match="line 1 has the entity 'XX'"):
        items(POIE, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "X.json' holds a list; expected an object"),
        ({"sum": "3"}, "expected an object with 'company'"),
        ({"total": 3}, "'total' is 3; expected a text"),
    ],
)
def test_damaged_receipts_are_refused(tmp_path, content, message):
    put(tmp_path / "key/X.json", content)
    put(tmp_path / "images/X.jpg", "picture")
    with pytest.raises(UserError, match=message):
        items(SROIE, tmp_path)


def test_missing_pictures_and_folders_are_named(tmp_path):
    for kind, name, said in (
        (SROIE, "sroie", "suite 'sroie' needs a folder of key files"),
        (FUNSD, "funsd", "suite 'funsd' needs testing_data/"),
        (POIE, "poie", "there is no 'test.txt' or"),
    ):
        with pytest.raises(UserError, match=said):
            items(kind, tmp_path)
        with pytest.raises(UserError, match=f"suite '{name}' needs --data"):
            items(kind, None)
    put(tmp_path / "key/X.json", {"total": "3"})
    with pytest.raises(UserError, match=r"X.json' needs 'X.jpg' or 'X.png' or 'X.jpeg', which is not there"):
        items(SROIE, tmp_path)
