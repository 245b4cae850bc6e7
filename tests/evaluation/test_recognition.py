"""Words in pictures: lists in their usual forms, and LVLM-eHub's rule."""

import numpy as np
import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.benchmarks import BENCHMARKS
from imagebind_llm.evaluation.benchmarks.recognition import IIIT5K, has_word, split_line
from imagebind_llm.evaluation.suite import check_items, suite_kind


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a/b.png WORD", ("a/b.png", "WORD")),
        ("a.png\tWORD\n", ("a.png", "WORD")),
        ("my word.png\tWORD", ("my word.png", "WORD")),
        ('\ufeffword_1.png, "Genaxis"', ("word_1.png", "Genaxis")),
        ('word_1.png,"a\\"b"', ("word_1.png", 'a"b')),
        ('word_1.png, "50, 2"', ("word_1.png", "50, 2")),
        ("a.png,WORD", ("a.png", "WORD")),
        ("a.png  it's", ("a.png", "it's")),
    ],
)
def test_lines(line, expected):
    assert split_line(line, "here") == expected


@pytest.mark.parametrize("line", ["a.png", "a.png\t ", 'a.png, ""', "\tword"])
def test_lines_without_a_word_are_refused(line):
    with pytest.raises(UserError, match=r"here is .*; expected"):
        split_line(line, "here")


@pytest.mark.parametrize(
    ("answer", "word", "right"),
    [
        ("The image says 'Hello!'", "HELLO", True),
        ("hello-world", "helloworld", True),  # signs go, so that these are one word
        ("helloworld", "hello", False),
        ("hello", "helloworld", False),
        ("It's $5.00", "5.00", True),
        ("", "a", False),
        ("a", "&", False),
        ("Tom & Co", "&", True),
        ("BAKER STREET 7", "Baker Street", True),
    ],
)
def test_rule(answer, word, right):
    assert has_word(answer, word) is right


def data(folder, *lines):
    for line in lines:
        file = folder / line.split()[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"picture")
    (folder / "test_label.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_items_and_metrics(tmp_path):
    suite = IIIT5K.make()
    items = list(suite.items(data(tmp_path, "x/a.png One", "y/b.png Two", "y/c.png &", "y/b.png Deux")))
    check_items(items, suite.name)
    assert [(item.key, item.group, item.expected) for item in items] == [
        ("x/a.png", "x", "One"),
        ("y/b.png", "y", "Two"),
        ("y/c.png", "y", "&"),
        ("y/b.png#2", "y", "Deux"),
    ]
    assert items[1].unit == items[3].unit
    assert items[0].request == {
        "question": "what is written in the image?",
        "image": str(tmp_path / "x/a.png"),
    }
    samples = suite.judge(items, ["ONE.", "the word two", None, "zwei"])
    assert [sample.score for sample in samples] == [1, 1, 0, 0]
    sums = {name: np.array(sum(sample.sums[name] for sample in samples)) for name in samples[0].sums}
    assert {name: float(value) for name, value in suite.metrics(sums).items()} == {
        "accuracy": 0.5,
        "exact": 0.25,
    }


def test_paths_from_the_folder_above(tmp_path):
    data(tmp_path, "IIIT5K/a.png One")
    (tmp_path / "test_label.txt").rename(tmp_path / "IIIT5K/test_label.txt")
    (item,) = IIIT5K.make().items(tmp_path / "IIIT5K")
    assert item.request["image"] == str(tmp_path / "IIIT5K/a.png")
    assert item.group == ""


def test_pictures_of_another_folder_are_not_taken(tmp_path):
    data(tmp_path / "iiit5k", "a.png One")
    (tmp_path / "iiit5k/a.png").rename(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"needs 'a.png', which is not there"):
        list(IIIT5K.make().items(tmp_path / "iiit5k"))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match="suite 'iiit5k' needs --data"):
        list(IIIT5K.make().items(None))
    with pytest.raises(UserError, match=r"there is no 'test_label.txt' or"):
        list(IIIT5K.make().items(tmp_path))
    data(tmp_path, "a.png One")
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"needs 'a.png', which is not there"):
        list(IIIT5K.make().items(tmp_path))
    (tmp_path / "test_label.txt").write_bytes(b"a.png \xff\xfe")
    with pytest.raises(UserError, match="is not UTF-8"):
        list(IIIT5K.make().items(tmp_path))


def test_all_twelve_are_offered():
    names = [name for name, place in BENCHMARKS.items() if "recognition:" in place]
    assert len(names) == 12
    assert [suite_kind(name).make().name for name in names] == names
