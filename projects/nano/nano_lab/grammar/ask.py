"""What is being asked, free of any wording: the kind of question and its values.

An :class:`Ask` together with the concepts perceived determines the answer; the phrasing does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from nano_lab.grammar.facts import (
    AIRPLANE,
    ANIMALS,
    AUTOMOBILE,
    BIRD,
    CAT,
    DEER,
    DIGIT_IDS,
    DOG,
    FROG,
    HORSE,
    KNOWN_IDS,
    OBJECT_IDS,
    SHIP,
    TRUCK,
    VEHICLES,
    category,
    is_digit,
)
from nano_lab.world.concepts import UNCLEAR

T = TypeVar("T")

NEAR: dict[int, tuple[int, ...]] = {
    0: (6, 8), 1: (7, 4), 2: (7, 3), 3: (5, 8), 4: (9, 1),
    5: (3, 6), 6: (0, 5), 7: (1, 9), 8: (3, 9), 9: (4, 7),
    AIRPLANE: (BIRD, SHIP), AUTOMOBILE: (TRUCK, TRUCK), BIRD: (AIRPLANE, FROG), CAT: (DOG, DOG),
    DEER: (HORSE, BIRD), DOG: (CAT, HORSE), FROG: (BIRD, CAT), HORSE: (DEER, DOG),
    SHIP: (AIRPLANE, TRUCK), TRUCK: (AUTOMOBILE, SHIP),
}  # fmt: skip
"""What each thing is most easily taken for."""

NAMING_KINDS: tuple[str, ...] = ("name", "see", "like", "number", "animal", "vehicle", "short", "describe")
CHECK_KINDS: tuple[str, ...] = ("is_it", "choice")
DIGIT_KINDS: tuple[str, ...] = (
    "parity",
    "odd_or_even",
    "next",
    "previous",
    "plus",
    "minus",
    "compare",
    "numeral",
    "word",
)
OBJECT_KINDS: tuple[str, ...] = ("category", "fly", "live_water", "sail", "road", "sound", "legs", "wheels")
OPEN_KINDS: tuple[str, ...] = ("is_kind", "beyond")
CAPTION_KINDS: tuple[str, ...] = ("caption_image", "caption_sound", "caption")
SINGLE_KINDS: tuple[str, ...] = (
    *NAMING_KINDS,
    *CHECK_KINDS,
    *DIGIT_KINDS,
    *OBJECT_KINDS,
    *OPEN_KINDS,
    *CAPTION_KINDS,
)
"""Kinds that can be asked about one perceived thing."""

MIXTURE_KINDS: tuple[str, ...] = (
    "both",
    "see_and_hear",
    "is_there",
    "sum",
    "bigger",
    "name",
    "see",
    "short",
    "describe",
    "is_it",
)
"""Kinds that can be asked about two perceived things."""

TWO_KINDS = frozenset({"both", "see_and_hear", "is_there", "sum", "bigger"})
"""Kinds that presuppose two things, whatever is shown."""

PROPERTY_KINDS: tuple[str, ...] = (*DIGIT_KINDS, *OBJECT_KINDS, *OPEN_KINDS)
"""Kinds whose question can refer by pronoun or by name: usable in follow-ups and in text."""

CHAT_KINDS: tuple[str, ...] = ("hello", "who", "can_do", "thanks", "bye", "world")
TEXT_KINDS: tuple[str, ...] = ("define", "find_sound", "find", "which_bigger", *CHAT_KINDS)
TURN_KINDS: tuple[str, ...] = ("again", "same", "recall")

VERBS: tuple[str, ...] = ("see", "see", "hear", "hear", "sense", "feel", "perceive", "notice", "recognise")
LIKES: tuple[str, ...] = ("look", "sound", "feel")
CLUES: dict[str, int] = {
    "flying_animal": BIRD,
    "flying_vehicle": 10,
    "sailing_vehicle": 18,
    "water_animal": 16,
}


@dataclass(frozen=True)
class Ask:
    """A question without words.

    ``target`` is the concept asked about in ``is_it``/``is_there`` (or the clue's answer), ``options``
    the two of a choice, ``word`` a fixed word such as ``odd``, ``bigger``, ``animal`` or ``hear``,
    ``number`` the n of a sum or a comparison.
    """

    kind: str
    target: int = UNCLEAR
    options: tuple[int, int] = (UNCLEAR, UNCLEAR)
    word: str = ""
    number: int = 0


def pick(random: Random, items: Sequence[T]) -> T:
    """One item, evenly (several times faster than ``random.choice``)."""
    return items[int(random.random() * len(items))]


def confuser(random: Random, concept: int, others: Sequence[int] = ()) -> int:
    """A concept that is none of the given ones, mostly of the same kind so that telling them apart takes
    looking."""
    same = DIGIT_IDS if is_digit(concept) else OBJECT_IDS if concept in OBJECT_IDS else KNOWN_IDS
    pool = same if random.random() < 0.75 else KNOWN_IDS
    while True:
        other = pick(random, pool)
        if other != concept and other not in others:
            return other


def _negative(random: Random, concept: int, others: Sequence[int], near: bool) -> int:
    """What is asked about and not there; with ``near`` every second one is easily taken for what is."""
    if near and concept in NEAR and random.random() < 0.5:
        found = pick(random, NEAR[concept])
        if found not in others:
            return found
    return confuser(random, concept, others)


def draw_ask(random: Random, kind: str, concepts: tuple[int, ...], near: bool = False) -> Ask:
    """The values of a question of this kind about ``concepts``; yes/no questions come out half and half.

    ``near``: more of the wrong things that are asked about are easily taken for the right one.
    """
    concept = concepts[0] if concepts else UNCLEAR
    if kind in ("is_it", "is_there"):
        known = [c for c in concepts if c != UNCLEAR]
        if known and random.random() < 0.5:
            return Ask(kind, target=pick(random, known))
        return Ask(kind, target=_negative(random, pick(random, known or concepts), known, near))
    if kind == "choice":
        return Ask(kind, options=_draw_options(random, concept))
    if kind == "parity":
        return Ask(kind, word="odd" if random.random() < 0.5 else "even")
    if kind == "plus":
        return Ask(kind, number=int(random.random() * 11))
    if kind == "minus":
        return Ask(kind, number=_draw_taken(random, concept))
    if kind == "compare":
        return _draw_comparison(random, concept)
    if kind in ("bigger", "which_bigger"):
        word = "bigger" if random.random() < 0.5 else "smaller"
        return Ask(kind, word=word)
    if kind == "is_kind":
        truth = category(concept)
        right = truth != "unclear" and random.random() < 0.5
        wrong = [k for k in ("animal", "vehicle", "number") if k != truth]
        return Ask(kind, word=truth if right else pick(random, wrong))
    if kind == "see":
        return Ask(kind, word=pick(random, VERBS))
    if kind == "like":
        return Ask(kind, word=pick(random, LIKES))
    return Ask(kind)


def _draw_options(random: Random, concept: int) -> tuple[int, int]:
    first = confuser(random, concept)
    if concept == UNCLEAR or random.random() < 0.2:
        return first, confuser(random, first, (concept,))
    return (concept, first) if random.random() < 0.5 else (first, concept)


def _draw_comparison(random: Random, concept: int) -> Ask:
    word = "bigger" if random.random() < 0.5 else "smaller"
    if not is_digit(concept):
        return Ask("compare", word=word, number=pick(random, DIGIT_IDS))
    want_yes = random.random() < 0.5
    numbers = [n for n in range(11) if ((concept > n) if word == "bigger" else (concept < n)) == want_yes]
    return Ask("compare", word=word, number=pick(random, numbers or range(11)))


def _draw_taken(random: Random, concept: int) -> int:
    """What is subtracted: mostly no more than there is."""
    if is_digit(concept) and random.random() < 0.7:
        return int(random.random() * (concept + 1))
    return pick(random, DIGIT_IDS)


def kinds_for(random: Random, concept: int) -> str:
    """A kind of question that suits the concept; now and then one that does not, so refusing is learnt
    too."""
    roll = random.random()
    if roll < 0.36:
        return pick(random, _NAMING_FOR[category(concept)])
    if roll < 0.54:
        return pick(random, ("is_it", "is_it", "choice"))
    if roll < 0.62:
        return pick(random, ("is_kind", "is_kind", "beyond"))
    if roll < 0.68:
        return pick(random, CAPTION_KINDS)
    return property_for(random, concept)


def property_for(random: Random, concept: int) -> str:
    """A property question that suits the concept nine times out of ten."""
    misfit = random.random() < 0.08
    if concept == UNCLEAR:
        return pick(random, DIGIT_KINDS if random.random() < 0.5 else OBJECT_KINDS)
    if is_digit(concept) != misfit:
        return pick(random, DIGIT_KINDS)
    if concept in ANIMALS and random.random() < 0.4:
        return pick(random, ("sound", "legs"))
    if concept in VEHICLES and random.random() < 0.3:
        return pick(random, ("wheels", "sound"))
    return pick(random, OBJECT_KINDS)


_EVERYDAY = ("name", "name", "name", "see", "see", "see", "like", "short", "describe", "describe")
_NAMING_FOR: dict[str, tuple[str, ...]] = {
    "number": (*_EVERYDAY, "number", "number", "number", "animal"),
    "animal": (*_EVERYDAY, "animal", "animal", "vehicle", "number"),
    "vehicle": (*_EVERYDAY, "vehicle", "vehicle", "animal", "number"),
    "unclear": (*_EVERYDAY, "number", "animal", "vehicle"),
}
