"""Dialogs in words alone, written by a grammar, to keep the language while the pictures are learned.

    python -m mini_lab.talk --words data/words --out runs/mini/talk

``dialogs.json`` is in Alpaca's format. Every answer is computed or looked up: sums, order, lists, opposites,
rewriting, and meanings of words out of WordNet.
"""

import argparse
import itertools
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.training.build import exit_code
from mini_lab.class_words import with_article
from mini_lab.prototypes import read_classes

COUNT = 6000
HELD_OUT = 200
FILE = "dialogs.json"
LISTS: Mapping[str, tuple[str, ...]] = {
    "days of the week": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "months of the year": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
        "November", "December",
    ),
    "seasons": ("spring", "summer", "autumn", "winter"),
    "planets, from the Sun outwards": (
        "Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune",
    ),
    "colours of the rainbow": ("red", "orange", "yellow", "green", "blue", "indigo", "violet"),
    "continents": (
        "Africa", "Antarctica", "Asia", "Australia", "Europe", "North America", "South America",
    ),
    "points of the compass": ("north", "east", "south", "west"),
    "senses": ("sight", "hearing", "smell", "taste", "touch"),
}  # fmt: skip
OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("fast", "slow"), ("up", "down"), ("light", "dark"),
    ("open", "closed"), ("full", "empty"), ("early", "late"), ("happy", "sad"), ("old", "young"),
    ("wet", "dry"), ("loud", "quiet"),
    ("rich", "poor"), ("strong", "weak"), ("thick", "thin"), ("high", "low"), ("hard", "soft"),
    ("left", "right"), ("near", "far"), ("clean", "dirty"), ("long", "short"), ("wide", "narrow"),
    ("heavy", "light"), ("deep", "shallow"), ("day", "night"), ("first", "last"), ("inside", "outside"),
    ("win", "lose"), ("push", "pull"), ("buy", "sell"), ("begin", "end"), ("remember", "forget"),
    ("love", "hate"), ("true", "false"), ("safe", "dangerous"), ("sweet", "bitter"), ("tight", "loose"),
    ("brave", "afraid"), ("cheap", "expensive"), ("alive", "dead"),
)  # fmt: skip
NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Ines", "Jack", "Kate", "Leo")
PLACES = ("the park", "the market", "school", "the station", "the beach", "the library", "the museum", "work")
DOINGS = (
    ("walks to", "walked to"), ("goes to", "went to"), ("runs to", "ran to"), ("drives to", "drove to"),
    ("rides to", "rode to"), ("travels to", "travelled to"),
)  # fmt: skip
WHEN = ("in the morning", "at noon", "in the evening", "every day", "on Sundays", "after lunch")
HELP = (
    ("Hello!", "Hello! How can I help you?"),
    ("Hi, how are you?", "I am fine, thank you. How can I help you?"),
    ("Thank you.", "You are welcome."),
    ("Good morning.", "Good morning! What can I do for you?"),
    ("Goodbye.", "Goodbye!"),
    ("Who are you?", "I am an assistant. You can ask me questions and show me pictures."),
    ("What can you do?", "I can answer questions, write short texts, and say what I see in a picture."),
)

Pair = tuple[str, str]


def _sum(rng: random.Random, _: Sequence[Any]) -> Pair:
    first, second = rng.randint(0, 20), rng.randint(0, 20)
    question = rng.choice(("What is {} {} {}?", "Calculate {} {} {}.", "How much is {} {} {}?"))
    if rng.random() < 0.5:
        return question.format(first, "plus", second), f"{first} plus {second} is {first + second}."
    first = max(first, second)
    second = rng.randint(0, first)
    return question.format(first, "minus", second), f"{first} minus {second} is {first - second}."


def _larger(rng: random.Random, _: Sequence[Any]) -> Pair:
    first, second = rng.sample(range(1, 100), 2)
    if rng.random() < 0.5:
        return f"Which number is larger, {first} or {second}?", f"{max(first, second)} is larger."
    return f"Which number is smaller, {first} or {second}?", f"{min(first, second)} is smaller."


def _sorted(rng: random.Random, classes: Sequence[Any]) -> Pair:
    if rng.random() < 0.5:
        numbers = rng.sample(range(1, 60), rng.randint(3, 5))
        told = ", ".join(map(str, numbers))
        return f"Put these numbers in order, smallest first: {told}.", ", ".join(map(str, sorted(numbers)))
    words = rng.sample(sorted({_plain(one) for one in classes if " " not in _plain(one)}), 4)
    return f"Sort these words by the alphabet: {', '.join(words)}.", ", ".join(sorted(words, key=str.lower))


def _listing(rng: random.Random, _: Sequence[Any]) -> Pair:
    what, members = rng.choice(list(LISTS.items()))
    if rng.random() < 0.4:
        return f"List the {what}.", "\n".join(f"{at}. {one}" for at, one in enumerate(members, 1))
    if rng.random() < 0.5:
        return f"Name the {what}.", f"{', '.join(members[:-1])} and {members[-1]}."
    place = rng.randrange(len(members) - 1)
    plain = what.partition(",")[0]
    return (
        f"Of the {plain}, which one comes after {members[place]} when they are listed in their usual order?",
        f"{members[place + 1]}.",
    )


def _opposite(rng: random.Random, _: Sequence[Any]) -> Pair:
    pair = list(rng.choice(OPPOSITES))
    if rng.random() < 0.5 and pair != ["heavy", "light"]:
        pair.reverse()
    question = rng.choice(('What is the opposite of "{}"?', 'Give the opposite of "{}".'))
    return question.format(pair[0]), f'The opposite of "{pair[0]}" is "{pair[1]}".'


def _rewriting(rng: random.Random, _: Sequence[Any]) -> Pair:
    name, place, when = rng.choice(NAMES), rng.choice(PLACES), rng.choice(WHEN)
    now, then = rng.choice(DOINGS)
    sentence = f"{name} {now} {place} {when}."
    kind = rng.randrange(5)
    if kind == 0:
        return f"Rewrite this sentence in the past tense: {sentence}", f"{name} {then} {place} {when}."
    if kind == 1:
        return f"Write this in capital letters: {sentence}", sentence.upper()
    if kind == 2:
        return f"Where does {name} go? {sentence}", f"{name} goes to {place.removeprefix('to ')}."
    if kind == 3:
        return f"Who is this sentence about? {sentence}", f"It is about {name}."
    return (
        f"Begin this sentence with the time: {sentence}",
        f"{when[0].upper()}{when[1:]}, {name} {now} {place}.",
    )


def _meaning(rng: random.Random, classes: Sequence[Any]) -> Pair:
    one = rng.choice(classes)
    question = rng.choice(
        ("What is {}?", "What does the word for {} mean?", "Define {}.", "Explain what {} is.")
    )
    name = with_article(_plain(one))
    return question.format(name), f"{name[0].upper()}{name[1:]} is: {one['gloss']}."


def _kind(rng: random.Random, classes: Sequence[Any]) -> Pair:
    one = rng.choice([one for one in classes if one["more_general"]])
    name, above = with_article(_plain(one)), with_article(one["more_general"][0]["names"][0])
    return f"What kind of thing is {name}?", f"{name[0].upper()}{name[1:]} is {above}."


def _odd(rng: random.Random, classes: Sequence[Any]) -> Pair:
    kinds: dict[str, list[str]] = {}
    for one in classes:
        for above in one["more_general"][:1]:
            kinds.setdefault(above["names"][0], []).append(_plain(one))
    same, other = rng.sample([name for name, members in kinds.items() if len(members) > 2], 2)
    chosen, odd = rng.sample(kinds[same], 3), rng.choice(kinds[other])
    asked = [*chosen, odd]
    rng.shuffle(asked)
    return (
        f"Which of these does not belong to the others: {', '.join(asked)}?",
        f"{odd[0].upper()}{odd[1:]}: the others are each {with_article(same)}, it is {with_article(other)}.",
    )


def _talk(rng: random.Random, _: Sequence[Any]) -> Pair:
    return rng.choice(HELP)


KINDS: tuple[tuple[Callable[[random.Random, Sequence[Any]], Pair], int], ...] = (
    (_sum, 3), (_larger, 1), (_sorted, 2), (_listing, 2), (_opposite, 2), (_rewriting, 3), (_meaning, 4),
    (_kind, 2), (_odd, 2), (_talk, 1),
)  # fmt: skip
"""The kinds of dialogs, each with its share."""


def _plain(one: Mapping[str, Any]) -> str:
    return str(one["names"][0])


def dialogs(classes: Sequence[Mapping[str, Any]], count: int, seed: int = 0) -> list[dict[str, str]]:
    """``count`` dialogs in Alpaca's format."""
    rng = random.Random(seed)
    makers, shares = zip(*KINDS, strict=True)
    found = []
    for make in rng.choices(makers, shares, k=count):
        question, answer = make(rng, classes)
        found.append({"instruction": question, "input": "", "output": answer})
    return found


def held_out(classes: Sequence[Mapping[str, Any]], count: int = HELD_OUT) -> list[dict[str, str]]:
    """``count`` dialogs of the same kinds whose questions training does not ask."""
    asked = {one["instruction"] for one in dialogs(classes, COUNT)}
    others = (one for one in dialogs(classes, 10 * count, seed=1) if one["instruction"] not in asked)
    return list(itertools.islice(others, count))


def write(words: Path, out: Path, unseen: bool = False) -> None:
    """Write the folder.

    Raises:
        UserError: ``words`` has no classes.
    """
    classes = read_classes(words)
    found = held_out(classes) if unseen else dialogs(classes, COUNT)
    with atomic_directory(out) as folder:
        (folder / FILE).write_text(json.dumps(found, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.talk", description="Dialogs in words alone.")
    parser.add_argument("--words", type=Path, required=True, metavar="FOLDER", help="words of the classes")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="written, as a whole")
    parser.add_argument("--held-out", action="store_true", help="dialogs that training does not have")
    given = parser.parse_args()
    sys.exit(exit_code(lambda: write(given.words, given.out, given.held_out)))


if __name__ == "__main__":
    main()
