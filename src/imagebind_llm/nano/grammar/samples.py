"""Dialogs about nano's world: the public way to draw questions with their true answers.

Every function is deterministic given the numpy generator it is handed, and takes one number from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from imagebind_llm.errors import UserError
from imagebind_llm.nano.grammar import chinese_answers, english_answers
from imagebind_llm.nano.grammar.answer import Answer, Truth
from imagebind_llm.nano.grammar.ask import (
    CAPTION_KINDS,
    CHAT_KINDS,
    CLUES,
    MIXTURE_KINDS,
    PROPERTY_KINDS,
    SINGLE_KINDS,
    TEXT_KINDS,
    Ask,
    draw_ask,
    kinds_for,
    pick,
    property_for,
)
from imagebind_llm.nano.grammar.facts import ANIMALS, DIGIT_IDS, KNOWN_IDS, check_concept, is_digit
from imagebind_llm.nano.grammar.phrasing import Split, finish, patterns, phrase, question_slots, state
from imagebind_llm.nano.grammar.words import Language
from imagebind_llm.nano.world.concepts import UNCLEAR

_ANSWERS = {"en": english_answers, "zh": chinese_answers}


@dataclass(frozen=True)
class Turn:
    """One question and its answer.

    ``concepts`` are the label ids of the media that arrive with the question (two = a mixture), None when none do.
    ``about`` are the label ids the answer is about, however they became known. ``key`` and ``truth``: see
    :class:`imagebind_llm.nano.grammar.answer.Answer`.
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
    """A dialog; ``kind`` and ``phrasing`` are those of its first turn."""

    turns: tuple[Turn, ...]
    language: Language
    kind: str
    phrasing: str


def answer_to(language: Language, ask: Ask, concepts: tuple[int, ...]) -> Answer:
    """The true answer to ``ask`` about ``concepts`` (label ids)."""
    return _ANSWERS[language].answer(ask, concepts)


def media_sample(
    rng: np.random.Generator,
    concepts: Sequence[int] | None = None,
    split: Split = "train",
    language: Language | None = None,
    kind: str | None = None,
    follow_ups: int | None = None,
) -> Sample:
    """A dialog that begins with media showing ``concepts`` (one label id, or two for a mixture; None draws them).

    Later turns may bring further media: feed whatever their ``concepts`` say. ``kind`` fixes the first question;
    ``follow_ups`` the number of further turns (None draws 0..2, and 0 when ``kind`` is given).
    UserError for a kind that cannot be asked about that many things.
    """
    random = _random(rng)
    language = language or _draw_language(random)
    shown = _draw_concepts(random) if concepts is None else tuple(check_concept(c) for c in concepts)
    if not 1 <= len(shown) <= 2:
        raise UserError(f"a condition shows one or two concepts, got {len(shown)}; split it over two turns")
    if follow_ups is None:
        roll = random.random()
        follow_ups = 0 if kind is not None or roll < 0.66 else 1 if roll < 0.88 else 2
    asked = kind or _draw_kind(random, shown)
    if asked not in (SINGLE_KINDS if len(shown) == 1 else MIXTURE_KINDS) and asked not in ("both", "is_there"):
        raise UserError(f"a question of kind {asked!r} cannot be asked about {len(shown)} concept(s)")
    ask = draw_ask(random, asked, shown)
    turns = [_ask_turn(random, language, ask, shown, split, media=shown)]
    _continue(random, language, split, turns, ask, shown, follow_ups)
    return _sample(language, turns)


def statement_sample(
    rng: np.random.Generator,
    concepts: Sequence[int] | None = None,
    split: Split = "train",
    language: Language | None = None,
    kind: str | None = None,
) -> Sample:
    """Text only: the perception is stated in words ("I see a seven. Is it odd?"), then asked about like media."""
    random = _random(rng)
    language = language or _draw_language(random)
    shown = _draw_concepts(random) if concepts is None else tuple(check_concept(c) for c in concepts)
    asked = kind or _draw_kind(random, shown)
    ask = draw_ask(random, asked, shown)
    turn = _ask_turn(random, language, ask, shown, split, media=None)
    gap = " " if language == "en" else ""
    question = f"{state(random, language, shown)}{gap}{turn.question}"
    turns = [Turn(question, turn.answer, None, turn.kind, turn.phrasing, turn.about, turn.key, turn.truth)]
    if kind is None and len(shown) == 1 and random.random() < 0.25:
        turns.append(_property_turn(random, language, shown, split))
    return _sample(language, turns)


def text_sample(
    rng: np.random.Generator, split: Split = "train", language: Language | None = None, kind: str | None = None
) -> Sample:
    """Text only, no media and none stated: facts by name, small talk, and media questions that come without media.

    ``kind`` is one of the property kinds, of the text kinds, or ``nothing``.
    """
    random = _random(rng)
    language = language or _draw_language(random)
    asked = kind or _draw_text_kind(random)
    if asked == "nothing":
        wanted = pick(random, ("name", "see", "describe", "short", "like", "is_it", "choice", "number", "animal", "both", "parity"))
        ask = draw_ask(random, wanted, (pick(random, KNOWN_IDS),))
        text, name = phrase(random, language, ask, split)
        return _sample(language, [_turn(text, name, "nothing", _ANSWERS[language].NOTHING, ())])
    if asked in CHAT_KINDS:
        text, name = phrase(random, language, Ask(asked), split)
        return _sample(language, [_turn(text, name, asked, answer_to(language, Ask(asked), ()), ())])
    if asked not in PROPERTY_KINDS and asked not in TEXT_KINDS:
        raise UserError(f"text-only questions have no kind {asked!r}")
    ask, concept = _draw_fact(random, asked)
    text, name = phrase(random, language, ask, split, reference="name", concept=concept)
    turns = [_turn(text, name, asked, answer_to(language, ask, (concept,)), (concept,))]
    if kind is None and asked in PROPERTY_KINDS and random.random() < 0.2:
        turns.append(_property_turn(random, language, (concept,), split))
    return _sample(language, turns)


def caption_sample(
    rng: np.random.Generator, concept: int, language: Language | None = None, split: Split = "train"
) -> Sample:
    """An image–caption pair as a one-turn dialog ("Generate caption of this image." → "a photo of a cat")."""
    random = _random(rng)
    language = language or _draw_language(random)
    kind = CAPTION_KINDS[0] if random.random() < 0.7 else pick(random, CAPTION_KINDS)
    shown = (check_concept(concept),)
    return _sample(language, [_ask_turn(random, language, Ask(kind), shown, split, media=shown)])


def messages(sample: Sample) -> list[dict[str, Any]]:
    """The dialog as chat messages with typed content parts.

    Media that arrive in a turn are ``{"type": "image", "concept": label id}`` parts before the text part: replace
    them by real media (or an embedding) of that concept.
    """
    result: list[dict[str, Any]] = []
    for turn in sample.turns:
        parts: list[dict[str, Any]] = [{"type": "image", "concept": c} for c in turn.concepts or ()]
        result.append({"role": "user", "content": [*parts, {"type": "text", "text": turn.question}]})
        result.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
    return result


def questions(kind: str, language: Language, split: Split = "heldout", seed: int = 0) -> list[str]:
    """One question per phrasing of the kind, in plain surface form; slot values are drawn with ``seed``."""
    random = Random(seed)
    concept = pick(random, ANIMALS if kind in ("find_sound", "sound", "legs") else DIGIT_IDS)
    ask, _ = _draw_fact(random, kind, concept)
    result = []
    for pattern in patterns(language, kind, split):
        text = pattern.draw(random, question_slots(random, language, ask, "pronoun", concept))
        result.append(finish(_Plain(), language, text))
    return result


class _Plain(Random):
    """Always draws the plainest surface: no opening, large first letter, final mark."""

    def random(self) -> float:
        return 0.5


def _random(rng: np.random.Generator) -> Random:
    # Python's generator draws single numbers many times faster than numpy's.
    return Random(int(rng.integers(1 << 62)))


def _draw_language(random: Random) -> Language:
    return "en" if random.random() < 0.55 else "zh"


def _draw_concepts(random: Random) -> tuple[int, ...]:
    roll = random.random()
    if roll < 0.09:
        return (UNCLEAR,)
    first = pick(random, KNOWN_IDS)
    if roll < 0.84:
        return (first,)
    if roll < 0.86:
        return (first, first)
    return (first, pick(random, DIGIT_IDS if is_digit(first) and random.random() < 0.6 else KNOWN_IDS))


def _draw_kind(random: Random, shown: tuple[int, ...]) -> str:
    if len(shown) == 1:
        return kinds_for(random, shown[0])
    if all(is_digit(c) for c in shown):
        return pick(random, ("both", "both", "sum", "sum", "bigger", "is_there", "name", "see", "describe", "short"))
    if random.random() < 0.06:
        return pick(random, ("sum", "bigger"))
    return pick(random, ("both", "both", "both", "is_there", "is_there", "name", "see", "see", "describe", "short"))


def _draw_text_kind(random: Random) -> str:
    roll = random.random()
    if roll < 0.60:
        return property_for(random, pick(random, KNOWN_IDS))
    if roll < 0.78:
        return pick(random, ("define", "define", "find_sound", "find", "which_bigger", "is_kind"))
    return "nothing" if roll < 0.88 else pick(random, CHAT_KINDS)


def _draw_fact(random: Random, kind: str, concept: int | None = None) -> tuple[Ask, int]:
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


_NUMBER_KINDS = frozenset({"parity", "odd_or_even", "next", "previous", "plus", "compare", "numeral", "word"})
_REPEATABLE = frozenset(SINGLE_KINDS) - {*CAPTION_KINDS, "numeral", "word", "plus", "choice"}


def _turn(
    text: str, phrasing: str, kind: str, answer: Answer, about: tuple[int, ...], media: tuple[int, ...] | None = None
) -> Turn:
    return Turn(text, answer.text, media, kind, phrasing, about, answer.key, answer.truth)


def _ask_turn(
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
    return _turn(text, name, ask.kind, answer_to(language, ask, shown), shown, media)


def _property_turn(random: Random, language: Language, shown: tuple[int, ...], split: Split) -> Turn:
    kind = property_for(random, shown[0])
    if random.random() < 0.2:
        kind = pick(random, ("is_it", "is_kind", "beyond"))
    return _ask_turn(random, language, draw_ask(random, kind, shown), shown, split, media=None, follow_up=True)


def _continue(
    random: Random, language: Language, split: Split, turns: list[Turn], ask: Ask, shown: tuple[int, ...], count: int
) -> None:
    """Add ``count`` turns that refer back, bring new media, or compare the new with the old."""
    for _ in range(count):
        if len(shown) > 1:
            kind = _draw_kind(random, shown)
            ask = draw_ask(random, kind, shown)
            turns.append(_ask_turn(random, language, ask, shown, split, media=None, follow_up=True))
        elif random.random() < 0.5:
            turns.append(_property_turn(random, language, shown, split))
        else:
            before, shown = shown, _draw_next(random, shown)
            turns.append(_new_media_turn(random, language, split, ask, before, shown, first=len(turns) == 1))


def _draw_next(random: Random, shown: tuple[int, ...]) -> tuple[int, ...]:
    if random.random() < 0.25:
        return shown
    return (UNCLEAR,) if random.random() < 0.08 else (pick(random, KNOWN_IDS),)


def _new_media_turn(
    random: Random, language: Language, split: Split, ask: Ask, before: tuple[int, ...], shown: tuple[int, ...], *, first: bool
) -> Turn:
    roll = random.random()
    # Old media are known only through what was said of them, so only a naming answer can be referred back to.
    if first and roll < 0.3 and ask.kind in ("name", "see", "describe", "short", "like"):
        if roll < 0.18:
            text, name = phrase(random, language, Ask("same"), split)
            return _turn(text, name, "same", _ANSWERS[language].same_answer(before[0], shown[0]), shown, shown)
        if before[0] != UNCLEAR:
            text, name = phrase(random, language, Ask("recall"), split)
            return _turn(text, name, "recall", answer_to(language, Ask("recall"), before), before, shown)
    if first and roll < 0.7 and ask.kind in _REPEATABLE:
        text, name = phrase(random, language, ask, split, kind="again")
        return _turn(text, name, "again", answer_to(language, ask, shown), shown, shown)
    new = draw_ask(random, kinds_for(random, shown[0]), shown)
    return _ask_turn(random, language, new, shown, split, media=shown, follow_up=True)


def _sample(language: Language, turns: list[Turn]) -> Sample:
    return Sample(tuple(turns), language, turns[0].kind, turns[0].phrasing)
