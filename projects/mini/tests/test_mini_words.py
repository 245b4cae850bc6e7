"""What mini is taught in words: every answer can be checked."""

import re

import pytest

from imagebind_llm.common.errors import UserError
from mini_lab import class_words, sounds


def classes(count=60):
    return [
        {
            "index": number,
            "names": [f"thing{number}", "common name" if number % 10 == 0 else f"other{number}"],
            "gloss": "something",
            "more_general": [{"names": [f"kind{number % 5}"]}],
        }
        for number in range(count)
    ]


def test_questions_about_a_class_are_answered_from_the_class():
    given = classes()
    found = list(class_words.questions(given, 0))
    yes = [one for one in found if one[2].startswith("Yes")]
    no = [one for one in found if one[2].startswith("No")]
    assert len(yes) == len(no) == len(found) / 3
    assert {row for row, _, _ in found} == set(range(60))
    for row, question, answer in found:
        own = f"a thing{row}"
        assert answer.endswith(f"t is {own}.")
        asked = re.findall(r"a thing\d+", question)
        if answer.startswith("Yes"):
            assert asked == [own]
        elif answer.startswith("No"):
            assert asked != [own]
        else:
            assert own in asked
            assert len(set(asked)) == 2
        if row % 10 == 0:  # they share a name, so one may be called the other
            assert all(one == own or int(one[7:]) % 10 for one in asked)


def test_kinds_are_the_words_that_classes_share_and_animals_are_called_by_one_name():
    given = classes()
    animals = ["beast" if number < 3 else one["names"][0] for number, one in enumerate(given)]
    found = class_words.kinds(given, animals)
    members = {one["names"][0]: one["members"] for one in found}
    assert members["kind0"] == list(range(0, 60, 5))
    assert members["beast"] == [0, 1, 2]
    assert [one["index"] for one in found] == list(range(60, 60 + len(found)))
    dialogs = list(class_words.naming([*given, *found], 0, animals))
    beast = next(one["index"] for one in found if one["names"] == ["beast"])
    assert {answer.rstrip(".").lower() for row, _, answer in dialogs if row == beast} == {
        "it is a beast", "this is a beast", "a beast",
    }  # fmt: skip
    asked = [
        (row, answer)
        for row, question, answer in dialogs
        if "animal" in question and "object" not in question
    ]
    assert (0, "It is a beast, a thing0.") in asked
    assert (7, "It is a thing7.") in asked
    assert not [row for row, question, _ in dialogs if row >= 60 and "Explain" in question], (
        "no gloss is known"
    )
    plain = [question for _, question, _ in class_words.naming(given, 0)]
    assert not any("What animal" in question for question in plain)


def imagenet():
    """Names of 1,000 classes, those at the ends of animals as ImageNet has them."""
    names = [f"class {number}" for number in range(1000)]
    for ranges in sounds.PICTURED.values():
        for first, last, start, stop in ranges:
            names[first], names[last] = start, stop
    return [{"index": at, "names": [name], "gloss": "x", "more_general": []} for at, name in enumerate(names)]


def test_each_animal_has_the_classes_of_it_and_no_other():
    said = list(sounds.animals(imagenet(), 0))
    assert [row for row, _, _ in said] == list(range(1000))
    found = [label for _, _, label in said]
    counts = {animal: found.count(animal) for animal in sounds.PICTURED}
    assert counts["dog"] == 118
    assert counts["bird"] == 57
    assert found[151] == found[268] == "dog"
    assert found[269] == "class 269"
    other = imagenet()
    other[268]["names"] = ["wolf"]
    with pytest.raises(UserError, match="other classes than ImageNet's"):
        list(sounds.animals(other, 0))


def test_rare_animals_stand_in_the_table_several_times():
    rows = [("a", "frog", "train")] * 20 + [("b", "cat", "train")] * 130 + [("c", "frog", "test")]
    found = sounds.repeated(rows)
    assert found.count(rows[0]) == 60
    assert found.count(rows[20]) == 130
    assert found.count(rows[-1]) == 1
