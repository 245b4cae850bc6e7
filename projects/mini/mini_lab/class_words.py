"""What is said of ImageNet's classes and of kinds of them: names, meanings, questions with known answers.

A question about a picture of a class is answered from the class alone: whether it is named so, or which of
two it is. Two classes that share a word of their names are never asked about together.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mini_lab.store import Dialog

Class = Mapping[str, Any]
"""A line of ``classes.jsonl``: ``index``, ``names``, ``gloss``, ``more_general``. A kind of classes
(:func:`kinds`) has ``index``, ``names`` and ``members``, the places of its classes."""

ANIMALS = 398
"""ImageNet's 1,000 classes begin with the animals, tench to puffer."""
_LEAST = 2
"""A kind has at least so many classes."""

_NAMING = (
    "What is this?",
    "What is that?",
    "What is it?",
    "Name the main thing in this picture.",
    "Which animal or object is this?",
)
_ASKING_FOR_ANIMALS = (
    "What animal is this?",
    "Which animal is it?",
    "What kind of animal is this?",
    "What animal do you see?",
)
_EXPLAINING = (
    "What is this, and what does that mean?",
    "Tell me about the thing in the picture.",
    "Explain what this is.",
)
_CHECKING = ("Is this {}?", "Is it {}?", "Does the picture show {}?", "Is there {} in the picture?")
_CHOOSING = (
    "Is this {} or {}?",
    "Which of the two is it, {} or {}?",
    "Does the picture show {} or {}?",
)
_ANY, _NEAR = 2, 1
"""Wrong names asked for each class: any, and of a class of the same kind where there is one."""


def with_article(name: str) -> str:
    """``a tench``, ``an otter``."""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def kinds(classes: Sequence[Class], animals: Sequence[str]) -> list[Class]:
    """The more general words of several classes, and the animals that people call by one name.

    Args:
        classes: in their order.
        animals: of each class the animal's common name, or its own.
    """
    members: dict[str, list[int]] = {}
    for one, animal in zip(classes, animals, strict=True):
        names = {above["names"][0] for above in one["more_general"]}
        for name in sorted({*names, *({animal} - {one["names"][0]})}):
            members.setdefault(name, []).append(one["index"])
    own = {one["names"][0] for one in classes}
    found = [(name, places) for name, places in members.items() if len(places) >= _LEAST and name not in own]
    return [
        {"index": len(classes) + number, "names": [name], "members": places, "more_general": []}
        for number, (name, places) in enumerate(found)
    ]


def naming(classes: Sequence[Class], seed: int, animals: Sequence[str] = ()) -> Iterator[Dialog]:
    """For each class three dialogs of naming it and one of explaining it; of an animal also which it is.

    Args:
        classes: classes, and kinds of them, which are only named.
        seed: of what is drawn.
        animals: of each class the animal's common name, or its own; empty: nobody asks for animals.
    """
    rng = random.Random(seed)
    for one in classes:
        name = one["names"][0]
        above = one["more_general"][0]["names"][0] if one["more_general"] else None
        answers = [f"It is {with_article(name)}.", f"This is {with_article(name)}.", f"{with_article(name)}."]
        if above:
            answers.append(f"It is {with_article(name)}, a kind of {above}.")
        for answer in rng.sample(answers, 3):
            yield one["index"], rng.choice(_NAMING), answer[0].upper() + answer[1:]
        if "gloss" in one:
            yield one["index"], rng.choice(_EXPLAINING), f"It is {with_article(name)}: {one['gloss']}."
        if animals and max(one.get("members", [one["index"]])) < ANIMALS:
            called = animals[one["index"]] if one["index"] < len(animals) else name
            more = "" if called == name else f", {with_article(name)}"
            yield one["index"], rng.choice(_ASKING_FOR_ANIMALS), f"It is {with_article(called)}{more}."


def questions(classes: Sequence[Class], seed: int) -> Iterator[Dialog]:
    """For each class as many questions whose answer is yes as no, and choices between two names."""
    rng = random.Random(seed)
    kinds: dict[str, list[Class]] = {}
    for one in classes:
        kinds.setdefault(_kind(one), []).append(one)
    for one in classes:
        own = with_article(one["names"][0])
        others = _drawn(classes, one, _ANY, rng)
        others += _drawn(kinds[_kind(one)], one, _NEAR, rng)
        for other in others:
            wrong = with_article(other["names"][0])
            yield one["index"], rng.choice(_CHECKING).format(own), f"Yes, it is {own}."
            yield one["index"], rng.choice(_CHECKING).format(wrong), f"No, it is {own}."
            pair = [own, wrong]
            rng.shuffle(pair)
            yield one["index"], rng.choice(_CHOOSING).format(*pair), f"It is {own}."


def _kind(one: Class) -> str:
    return str(one["more_general"][0]["names"][0]) if one["more_general"] else ""


def _drawn(classes: Sequence[Class], one: Class, count: int, rng: random.Random) -> list[Class]:
    """Up to ``count`` classes that share no word of a name with ``one``."""
    words = _words(one)
    apart = [other for other in rng.sample(classes, min(len(classes), 20)) if not words & _words(other)]
    return apart[:count]


def _words(one: Class) -> set[str]:
    return {word.lower() for name in one["names"] for word in name.split()}
