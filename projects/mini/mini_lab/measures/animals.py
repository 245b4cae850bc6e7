"""The ten animals whose sounds are at hand: what they are called, and which ImageNet classes show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagebind_llm.common.errors import UserError
from mini_lab.measures.context import Context
from mini_lab.measures.naming import ImageNetClass, names_of

SETS = ("animals", "animals_extra")


@dataclass(frozen=True)
class Animal:
    """One of them.

    Attributes:
        names: what people call it, young ones and either sex too.
        classes: ImageNet's classes that show it (0 … 999).
    """

    names: tuple[str, ...]
    classes: tuple[int, ...]


ANIMALS: Mapping[str, Animal] = {
    "bird": Animal(("bird", "songbird", "birdie"), (*range(9, 25), *range(80, 101), *range(127, 147))),
    "cat": Animal(("cat", "kitten", "kitty", "house cat", "tomcat"), tuple(range(281, 286))),
    "chicken": Animal(("chicken", "hen", "rooster", "cock", "cockerel", "chick"), (7, 8)),
    "cow": Animal(("cow", "cattle", "bull", "calf", "ox", "heifer"), (345,)),
    "dog": Animal(("dog", "puppy", "pup", "doggy", "hound"), tuple(range(151, 269))),
    "donkey": Animal(("donkey", "ass", "burro", "mule", "jackass"), ()),
    "frog": Animal(("frog", "toad"), (30, 31, 32)),
    "lion": Animal(("lion", "lioness", "lion cub"), (291,)),
    "monkey": Animal(("monkey",), tuple(range(370, 383))),
    "sheep": Animal(("sheep", "lamb", "ewe", "ram"), (348, 349)),
}
"""Label of the recordings → the animal. Apes and lemurs are no monkeys, wild cattle no cows."""

_OF_CLASS = {index: label for label, animal in ANIMALS.items() for index in animal.classes}


def animal_of(index: int) -> str | None:
    """The animal that an ImageNet class shows, if it is one of the ten."""
    return _OF_CLASS.get(index)


def vocabulary(classes: Sequence[ImageNetClass]) -> dict[str, set[str]]:
    """Meaning → names: ImageNet's words, so that other things are heard too, and the ten animals' own."""
    found = names_of(classes)
    for label, animal in ANIMALS.items():
        found[label] = set(animal.names)
    return found


def meanings(classes: Sequence[ImageNetClass]) -> dict[str, set[str]]:
    """Label → what an answer may mean to be right: the animal itself, a class that shows it, or a kind all of
    whose classes show it (a poodle is a dog)."""
    below: dict[str, set[int]] = {}
    for one in classes:
        for kind in one.above:
            below.setdefault(kind, set()).add(one.index)
    found = {}
    for label, animal in ANIMALS.items():
        own = {classes[index].wnid for index in animal.classes if index < len(classes)}
        kinds = {kind for kind, members in below.items() if members <= set(animal.classes)}
        found[label] = {label, *own, *kinds}
    return found


@dataclass(frozen=True)
class Clip:
    """A recording.

    Attributes:
        key: tells it from the others.
        label: a key of :data:`ANIMALS`.
        group: recordings of one session, across which nothing is independent.
        file: a whole sound file.
    """

    key: str
    label: str
    group: str
    file: bytes


def clips(context: Context, split: str = "test") -> list[Clip]:
    """The recordings of both sets.

    Raises:
        UserError: a set is missing, or has an animal that is not known here.
    """
    found = []
    for name in SETS:
        for number, row in enumerate(context.rows(name, split)):
            label = str(row["label"])
            if label not in ANIMALS:
                raise UserError(f"{name} has a recording of {label!r}; known are {', '.join(ANIMALS)}")
            found.append(Clip(f"{name}-{number}", label, f"{name}-{row['group']}", row["audio"]["bytes"]))
    return found


def photographs_of(context: Context) -> list[tuple[str, str, bytes]]:
    """Key, class and file of all photographs of imagenet_sample; the class is an animal's or the WordNet
    id."""
    return [
        (
            f"imagenet_sample {row['wnid']} {number}",
            animal_of(int(row["class_index"])) or str(row["wnid"]),
            row["image"]["bytes"],
        )
        for number, row in enumerate(context.rows("imagenet_sample"))
    ]
