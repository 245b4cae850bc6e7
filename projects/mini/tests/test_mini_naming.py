"""What answers name: whole words, plurals, nouns, denials, words that are too general."""

import json

import pytest
from mini_worlds import CLASSES, write_words

from imagebind_llm.common.errors import UserError
from mini_lab.measures.animals import ANIMALS, animal_of, meanings, vocabulary
from mini_lab.measures.naming import ImageNetClass, Reader, names_of, plurals, read_classes

NAMES = {
    "cat": ["cat", "true cat"],
    "dog": ["dog"],
    "husky": ["Siberian husky"],
    "sled": ["dogsled", "dog sled"],
    "orange": ["orange"],
    "bird": ["crane"],
    "machine": ["crane"],
    "car": ["sports car"],
    "specs": ["sunglasses"],
    "wolf": ["wolf"],
}


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("It is a cat.", {"cat"}),
        ("TWO CATS sit there", {"cat"}),
        ("It is a Siberian husky, a kind of dog.", {"husky"}),
        ("A dog sled with dogs", {"sled"}),
        ("It is an orange cat.", {"cat"}),
        ("An orange, and a cat.", {"orange"}),
        ("An orange and white cat", {"orange"}),
        ("a crane", {"bird", "machine"}),
        ("It is a car.", set()),
        ("Sports-cars!", {"car"}),
        ("A pair of sunglasses", {"specs"}),
        ("wolves", {"wolf"}),
        ("It is not a dog.", set()),
        ("It isn't a dog. It is a cat.", set()),
        ("I am not sure. Perhaps a dog.", set()),
        ("It is a dog, not a cat.", {"dog"}),
        ("Hello there. It is a dog.", {"dog"}),
        ("category dogma", set()),
        ("", set()),
    ],
)
def test_what_is_named(answer, named):
    assert Reader(NAMES).named(answer) == named


def test_nobody_is_named_by_an_empty_vocabulary():
    assert Reader({}).named("a dog") == frozenset()


@pytest.mark.parametrize(
    ("word", "more"),
    [("fox", "foxes"), ("pony", "ponies"), ("ray", "rays"), ("goose", "geese"), ("binoculars", "binocular")],
)
def test_plurals(word, more):
    assert more in plurals(word)


def test_words_that_are_too_general_are_left_out(tmp_path):
    write_words(tmp_path / "words")
    classes = read_classes(tmp_path / "words")
    assert [one.names[0] for one in classes] == list(CLASSES)
    reader = Reader(names_of(classes))
    assert reader.named("It is a shark.") == {"n01482330"}
    assert reader.named("It is an animal.") == frozenset()


def test_wrong_classes_are_refused(tmp_path):
    with pytest.raises(UserError, match="fetch it: imagebind-llm data fetch imagenet-words"):
        read_classes(tmp_path)
    write_words(tmp_path / "words")
    file = tmp_path / "words" / "classes.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[1:]))
    with pytest.raises(UserError, match="holds other classes than"):
        read_classes(tmp_path / "words")
    file.write_text(json.dumps({"index": 0}))
    with pytest.raises(UserError, match="is no list of classes"):
        read_classes(tmp_path / "words")


def test_a_kind_all_of_whose_classes_are_an_animals_is_that_animal():
    def one(index, name, *above):
        return ImageNetClass(index, f"n{index}", (name,), {kind: (kind,) for kind in above})

    classes = [one(number, f"thing{number}") for number in range(300)]
    classes[265], classes[266] = (
        one(265, "toy poodle", "poodle"),
        one(266, "miniature poodle", "poodle", "canine"),
    )
    classes[269], classes[291] = one(269, "timber wolf", "canine"), one(291, "lion", "big cat")
    allowed = meanings(classes)
    assert {"dog", "n265", "poodle"} <= allowed["dog"]
    assert "canine" not in allowed["dog"], "a wolf is one, too"
    assert "big cat" in allowed["lion"]
    assert "poodle" not in allowed["cat"]


def test_animals_share_no_class_and_are_told_apart(tmp_path):
    every = [index for animal in ANIMALS.values() for index in animal.classes]
    assert len(every) == len(set(every))
    assert (animal_of(281), animal_of(8), animal_of(404)) == ("cat", "chicken", None)
    write_words(tmp_path / "words")
    classes = read_classes(tmp_path / "words")
    reader, allowed = Reader(vocabulary(classes)), meanings(classes)
    for answer, animal in {
        "A rooster.": "chicken",
        "two puppies": "dog",
        "It is a lion cub.": "lion",
    }.items():
        named = reader.named(answer)
        assert [label for label in ANIMALS if named & allowed[label]] == [animal]
    assert not reader.named("It is a goldfish, not a dog.") & allowed["dog"]
