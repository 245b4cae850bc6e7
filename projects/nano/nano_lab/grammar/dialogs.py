"""The parts dialogs are built from: turns, samples, what to ask next and what to show next."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from nano_lab.grammar import chinese_answers, english_answers
from nano_lab.grammar.answer import Answer, Truth
from nano_lab.grammar.ask import (
    CAPTION_KINDS,
    CHAT_KINDS,
    CLUES,
    DIGIT_KINDS,
    SINGLE_KINDS,
    Ask,
    draw_ask,
    kinds_for,
    pick,
    property_for,
)
from nano_lab.grammar.facts import ANIMALS, DIGIT_IDS, KNOWN_IDS, is_digit
from nano_lab.grammar.phrasing import Split, phrase
from nano_lab.grammar.words import Language
from nano_lab.world.concepts import UNCLEAR

ANSWERS = {"en": english_answers, "zh": chinese_answers}


@dataclass(frozen=True)
class Turn:
    """One question and its answer.

    ``concepts`` are the label ids of the media that arrive with the question (two = a mixture), None
    when none do. ``about`` are the label ids the answer is about, however they became known. ``key`` and
    ``truth``: see :class:`nano_lab.grammar.answer.Answer`.
    """

    question: str
    answer: str
    concepts: tuple[int, ...] | None
    kind: str
    phrasing: str
    about: tuple[int, ...] = ()
    key: str = ""
    truth: Truth = "fact"


@dataclass(frozen=True)
class Sample:
    """A dialog; ``kind`` and ``phrasing`` are those of its first turn (after a greeting, if it opens
    with one)."""

    turns: tuple[Turn, ...]
    language: Language
    kind: str
    phrasing: str


def answer_to(language: Language, ask: Ask, concepts: tuple[int, ...]) -> Answer:
    """The true answer to ``ask`` about ``concepts`` (label ids)."""
    return ANSWERS[language].answer(ask, concepts)


def draw_language(random: Random) -> Language:
    return "en" if random.random() < 0.55 else "zh"


def draw_concepts(random: Random) -> tuple[int, ...]:
    roll = random.random()
    if roll < 0.09:
        return (UNCLEAR,)
    first = pick(random, KNOWN_IDS)
    if roll < 0.84:
        return (first,)
    if roll < 0.86:
        return (first, first)
    return (first, pick(random, DIGIT_IDS if is_digit(first) and random.random() < 0.6 else KNOWN_IDS))


def draw_kind(random: Random, shown: tuple[int, ...]) -> str:
    if len(shown) == 1:
        return kinds_for(random, shown[0])
    if all(is_digit(c) for c in shown):
        return pick(random, _TWO_NUMBERS)
    if random.random() < 0.06:
        return pick(random, ("sum", "bigger"))
    return pick(random, _TWO_THINGS)


_TWO_THINGS = (
    "both",
    "both",
    "both",
    "see_and_hear",
    "see_and_hear",
    "is_there",
    "is_there",
    "is_it",
    "name",
    "see",
    "see",
    "describe",
    "short",
)
_TWO_NUMBERS = (*_TWO_THINGS, "sum", "sum", "sum", "sum", "bigger", "bigger")


def draw_text_kind(random: Random) -> str:
    roll = random.random()
    if roll < 0.60:
        return property_for(random, pick(random, KNOWN_IDS))
    if roll < 0.78:
        return pick(random, ("define", "define", "find_sound", "find", "which_bigger", "is_kind"))
    return "nothing" if roll < 0.88 else pick(random, CHAT_KINDS)


def draw_fact(random: Random, kind: str, concept: int | None = None) -> tuple[Ask, int]:
    """An ask whose subject is named, and the subject: one the kind suits, save now and then."""
    if kind == "find_sound":
        target = pick(random, ANIMALS)
        return Ask(kind, target=target), target
    if kind == "find":
        target = CLUES[pick(random, tuple(CLUES))]
        return Ask(kind, target=target), target
    if kind == "which_bigger":
        first = pick(random, DIGIT_IDS)
        second = pick(random, tuple(d for d in DIGIT_IDS if d != first))
        return Ask(kind, options=(first, second), word=draw_ask(random, kind, (first,)).word), first
    while concept is None:
        candidate = pick(random, KNOWN_IDS)
        if kind in ("numeral", "word"):
            candidate = pick(random, DIGIT_IDS)
        suits = kind in ("define", "is_kind", "beyond") or is_digit(candidate) == (kind in _NUMBER_KINDS)
        if suits or random.random() < 0.08:
            concept = candidate
    return draw_ask(random, kind, (concept,)), concept


_NUMBER_KINDS = frozenset(DIGIT_KINDS)
_REPEATABLE = frozenset(SINGLE_KINDS) - {
    *CAPTION_KINDS,
    "numeral",
    "word",
    "plus",
    "minus",
    "next",
    "previous",
    "choice",
}


def make_turn(
    text: str,
    phrasing: str,
    kind: str,
    answer: Answer,
    about: tuple[int, ...],
    media: tuple[int, ...] | None = None,
) -> Turn:
    return Turn(text, answer.text, media, kind, phrasing, about, answer.key, answer.truth)


def ask_turn(
    random: Random,
    language: Language,
    ask: Ask,
    shown: tuple[int, ...],
    split: Split,
    *,
    media: tuple[int, ...] | None,
    follow_up: bool = False,
) -> Turn:
    text, name = phrase(random, language, ask, split, follow_up=follow_up)
    return make_turn(text, name, ask.kind, answer_to(language, ask, shown), shown, media)


def chat_turn(random: Random, language: Language, kind: str, split: Split) -> Turn:
    text, name = phrase(random, language, Ask(kind), split)
    return make_turn(text, name, kind, answer_to(language, Ask(kind), ()), ())


def property_turn(
    random: Random, language: Language, shown: tuple[int, ...], split: Split, *, perceived: bool = True
) -> Turn:
    kind = property_for(random, shown[0])
    if random.random() < 0.2:
        kind = pick(random, ("is_it", "is_kind", "beyond") if perceived else ("is_kind", "beyond"))
    ask = draw_ask(random, kind, shown, near=split == "wide")
    return ask_turn(random, language, ask, shown, split, media=None, follow_up=True)


def continue_dialog(
    random: Random,
    language: Language,
    split: Split,
    turns: list[Turn],
    ask: Ask,
    shown: tuple[int, ...],
    count: int,
) -> None:
    """Add ``count`` turns that refer back, bring new media, or compare the new with the old."""
    for _ in range(count):
        if len(shown) > 1:
            kind = draw_kind(random, shown)
            ask = draw_ask(random, kind, shown, near=split == "wide")
            turns.append(ask_turn(random, language, ask, shown, split, media=None, follow_up=True))
        elif random.random() < 0.5:
            turns.append(property_turn(random, language, shown, split))
        else:
            before, shown = shown, _draw_next(random, shown)
            turns.append(_new_media_turn(random, language, split, ask, before, shown, first=len(turns) == 1))


def _draw_next(random: Random, shown: tuple[int, ...]) -> tuple[int, ...]:
    if random.random() < 0.25:
        return shown
    return (UNCLEAR,) if random.random() < 0.08 else (pick(random, KNOWN_IDS),)


def _new_media_turn(
    random: Random,
    language: Language,
    split: Split,
    ask: Ask,
    before: tuple[int, ...],
    shown: tuple[int, ...],
    *,
    first: bool,
) -> Turn:
    roll = random.random()
    # Old media are known only through what was said of them, so only a naming answer can be referred back to.
    if first and roll < 0.3 and ask.kind in ("name", "see", "describe", "short", "like"):
        if roll < 0.18:
            text, name = phrase(random, language, Ask("same"), split)
            return make_turn(
                text, name, "same", ANSWERS[language].same_answer(before[0], shown[0]), shown, shown
            )
        if before[0] != UNCLEAR:
            text, name = phrase(random, language, Ask("recall"), split)
            return make_turn(text, name, "recall", answer_to(language, Ask("recall"), before), before, shown)
    if first and roll < 0.7 and ask.kind in _REPEATABLE:
        text, name = phrase(random, language, ask, split, kind="again")
        return make_turn(text, name, "again", answer_to(language, ask, shown), shown, shown)
    new = draw_ask(random, kinds_for(random, shown[0]), shown, near=split == "wide")
    return ask_turn(random, language, new, shown, split, media=shown, follow_up=True)


def make_sample(language: Language, turns: list[Turn]) -> Sample:
    return Sample(tuple(turns), language, turns[0].kind, turns[0].phrasing)
