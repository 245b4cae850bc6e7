"""CHAIR: which words are objects, and its shares by hand."""

import json

import numpy as np
import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.benchmarks.chair import CHAIR, own_vocabulary, plural, read_vocabulary
from imagebind_llm.evaluation.suite import check_items


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two dogs and a Cat's toy.", ["dog", "cat"]),
        ("A hot dog and a teddy bear", ["hot dog", "teddy bear"]),
        ("a baby elephant beside adult giraffes", ["elephant", "giraffe"]),
        ("a baby in a passenger train", ["person", "train"]),
        ("train tracks near home plate", []),
        ("a police car, sofas and people", ["car", "couch", "person"]),
        ("men with wine glasses and knives", ["person", "wine glass", "knife"]),
        ("a toilet seat under traffic lights", ["toilet", "traffic light"]),
        ("the mice sit on computer mice", ["mouse", "mouse"]),
        ("bow ties and a catcher's mitt", ["tie", "baseball glove"]),
        ("category, carpet, scatter", []),
        ("", []),
    ],
)
def test_mentions(text, expected):
    assert own_vocabulary().mentions(text) == expected


def test_there_are_eighty_objects_each_of_which_is_itself():
    objects = own_vocabulary().objects
    assert len(objects) == len(set(objects)) == 80
    assert [own_vocabulary().mentions(name) for name in objects] == [[name] for name in objects]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("bus", "buses"), ("bench", "benches"), ("puppy", "puppies"), ("toy", "toys"), ("person", "persons")],
)
def test_plurals(word, expected):
    assert plural(word) == expected


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def coco(folder, **changed):
    instances = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 37, "name": "sports ball"}],
        "annotations": [
            {"image_id": 1, "category_id": 18},
            {"image_id": 1, "category_id": 18},
            {"image_id": 2, "category_id": 37},
        ],
        **changed,
    }
    write(folder / "annotations/instances_val2014.json", instances)
    captions = [{"image_id": 1, "caption": "Puppies on a couch"}, {"image_id": 3, "caption": "A cat"}]
    write(folder / "annotations/captions_val2014.json", {"annotations": captions})
    write(folder / "val2014/a.jpg", "")
    write(folder / "val2014/b.jpg", "")
    return folder


def test_shares(tmp_path):
    suite = CHAIR.make()
    items = list(suite.items(coco(tmp_path)))
    check_items(items, suite.name)
    assert [(item.key, item.expected) for item in items] == [("1", ["couch", "dog"]), ("2", ["sports ball"])]
    assert items[0].request["question"] == "Please describe this image in detail."
    samples = suite.judge(items, ["A dog and two cats. The cat sleeps near the dog.", "An empty field."])
    assert samples[0].read == {"mentioned": ["dog", "cat", "cat", "dog"], "absent": ["cat", "cat"]}
    assert [sample.score for sample in samples] == [0.5, None]
    sums = {name: np.array(sum(sample.sums[name] for sample in samples)) for name in samples[0].sums}
    assert {name: float(value) for name, value in suite.metrics(sums).items()} == pytest.approx(
        {"CHAIR_i": 2 / 4, "CHAIR_s": 1 / 2, "recall": 1 / 3}
    )
    silent = suite.judge(items, [None, ""])
    sums = {name: np.array(sum(sample.sums[name] for sample in silent)) for name in silent[0].sums}
    assert np.isnan(suite.metrics(sums)["CHAIR_i"])
    assert float(suite.metrics(sums)["CHAIR_s"]) == float(suite.metrics(sums)["recall"]) == 0


def test_other_synonyms(tmp_path):
    write(tmp_path / "synonyms.txt", "dog, hound\nsports ball, ball\n\n")
    suite = CHAIR.make(synonyms=tmp_path / "synonyms.txt")
    items = list(suite.items(coco(tmp_path)))
    assert [item.expected for item in items] == [["dog"], ["sports ball"]]
    assert suite.judge(items, ["Hounds and puppies", "balls"])[0].read["mentioned"] == ["dog"]
    write(tmp_path / "synonyms.txt", "dog, hound\n")
    with pytest.raises(UserError, match="entry 2: 'name' is 'sports ball'; expected an object that"):
        list(CHAIR.make(synonyms=tmp_path / "synonyms.txt").items(coco(tmp_path)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("dog, hound\ndog", "line 2 is of 'dog'"),
        (", ,", "line 1 is"),
        ("dog, !", "line 1 is"),
    ],
)
def test_damaged_synonyms(tmp_path, text, message):
    write(tmp_path / "s.txt", text)
    with pytest.raises(UserError, match=message):
        read_vocabulary(tmp_path / "s.txt")


def test_damaged_data(tmp_path):
    suite = CHAIR.make()
    with pytest.raises(UserError, match="entry 1 is of an image or a category that the file does not have"):
        list(suite.items(coco(tmp_path, annotations=[{"image_id": 5, "category_id": 18}])))
    with pytest.raises(UserError, match="'categories' is None; expected a list"):
        list(suite.items(coco(tmp_path, categories=None)))
    coco(tmp_path)
    (tmp_path / "val2014/b.jpg").unlink()
    with pytest.raises(UserError, match=r"'b.jpg', which is not there"):
        list(suite.items(tmp_path))
    (tmp_path / "annotations/captions_val2014.json").unlink()
    with pytest.raises(UserError, match=r"there is no 'captions_val2014.json' beside"):
        list(suite.items(tmp_path))
