"""Dialogs about nano's world: the public way to draw questions with their true answers.

Every function is deterministic given the numpy generator it is handed, and takes one number from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np

from imagebind_llm.common.errors import UserError
from nano_lab.grammar.ask import (
    CAPTION_KINDS,
    CHAT_KINDS,
    MIXTURE_KINDS,
    PROPERTY_KINDS,
    SINGLE_KINDS,
    TEXT_KINDS,
    TWO_KINDS,
    Ask,
    draw_ask,
    pick,
)
from nano_lab.grammar.dialogs import (
    ANSWERS,
    Sample,
    Turn,
    answer_to,
    ask_turn,
    chat_turn,
    continue_dialog,
    draw_concepts,
    draw_fact,
    draw_kind,
    draw_language,
    draw_text_kind,
    make_sample,
    make_turn,
    property_turn,
)
from nano_lab.grammar.facts import ANIMALS, DIGIT_IDS, KNOWN_IDS, check_concept
from nano_lab.grammar.phrasing import Split, finish, patterns, phrase, question_slots, state
from nano_lab.grammar.words import Language

_ASKED_WITHOUT_MEDIA = (
    "name", "see", "describe", "short", "like", "is_it", "choice", "number", "animal", "both", "parity",
)  # fmt: skip
"""Questions that the evaluation asks about media that are not there."""
_WITHOUT_MEDIA = (
    *(kind for kind in _ASKED_WITHOUT_MEDIA for _ in range(3)),
    *SINGLE_KINDS,
    *("both", "see_and_hear", "is_there", "sum", "bigger"),
)
"""Those that training asks: all that need media, the everyday ones more often."""


def media_sample(
    rng: np.random.Generator,
    concepts: Sequence[int] | None = None,
    split: Split = "train",
    language: Language | None = None,
    kind: str | None = None,
    follow_ups: int | None = None,
) -> Sample:
    """A dialog that begins with media showing ``concepts`` (one label id, or two for a mixture; None
    draws them).

    Later turns may bring further media: feed whatever their ``concepts`` say. ``kind`` fixes the first
    question; ``follow_ups`` the number of further turns (None draws 0..2, and 0 when ``kind`` is given).
    UserError for a kind that cannot be asked about that many things.
    """
    random = _random(rng)
    language = language or draw_language(random)
    shown = draw_concepts(random) if concepts is None else tuple(check_concept(c) for c in concepts)
    if not 1 <= len(shown) <= 2:
        raise UserError(f"a condition shows one or two concepts, got {len(shown)}; split it over two turns")
    if follow_ups is None:
        roll = random.random()
        follow_ups = 0 if kind is not None or roll < 0.66 else 1 if roll < 0.88 else 2
    asked = kind or draw_kind(random, shown)
    if asked not in (SINGLE_KINDS if len(shown) == 1 else MIXTURE_KINDS) and asked not in TWO_KINDS:
        raise UserError(f"a question of kind {asked!r} cannot be asked about {len(shown)} concept(s)")
    ask = draw_ask(random, asked, shown, near=split == "wide")
    turns = [ask_turn(random, language, ask, shown, split, media=shown)]
    continue_dialog(random, language, split, turns, ask, shown, follow_ups)
    if kind is not None or random.random() > 0.08:
        return make_sample(language, turns)
    # Talk that needs no media may surround a question that does.
    if random.random() < 0.5:
        turns.append(chat_turn(random, language, pick(random, ("thanks", "bye")), split))
        return make_sample(language, turns)
    greeting = chat_turn(random, language, pick(random, ("hello", "can_do", "who")), split)
    return Sample((greeting, *turns), language, turns[0].kind, turns[0].phrasing)


def statement_sample(
    rng: np.random.Generator,
    concepts: Sequence[int] | None = None,
    split: Split = "train",
    language: Language | None = None,
    kind: str | None = None,
) -> Sample:
    """Text only: the perception is stated in words ("I see a seven. Is it odd?"), then asked about like
    media."""
    random = _random(rng)
    language = language or draw_language(random)
    shown = draw_concepts(random) if concepts is None else tuple(check_concept(c) for c in concepts)
    asked = kind or draw_kind(random, shown)
    ask = draw_ask(random, asked, shown, near=split == "wide")
    turn = ask_turn(random, language, ask, shown, split, media=None)
    gap = " " if language == "en" else ""
    question = f"{state(random, language, shown)}{gap}{turn.question}"
    turns = [Turn(question, turn.answer, None, turn.kind, turn.phrasing, turn.about, turn.key, turn.truth)]
    if kind is None and len(shown) == 1 and random.random() < 0.25:
        turns.append(property_turn(random, language, shown, split))
    return make_sample(language, turns)


def text_sample(
    rng: np.random.Generator,
    split: Split = "train",
    language: Language | None = None,
    kind: str | None = None,
) -> Sample:
    """Text only, no media and none stated: facts by name, small talk, and media questions that come
    without media.

    ``kind`` is one of the property kinds, of the text kinds, or ``nothing``.
    """
    random = _random(rng)
    language = language or draw_language(random)
    asked = kind or draw_text_kind(random)
    if asked == "nothing":
        wanted = pick(random, _WITHOUT_MEDIA if split == "wide" else _ASKED_WITHOUT_MEDIA)
        ask = draw_ask(random, wanted, (pick(random, KNOWN_IDS),))
        text, name = phrase(random, language, ask, split)
        return make_sample(language, [make_turn(text, name, "nothing", ANSWERS[language].NOTHING, ())])
    if asked in CHAT_KINDS:
        return make_sample(language, [chat_turn(random, language, asked, split)])
    if asked not in PROPERTY_KINDS and asked not in TEXT_KINDS:
        raise UserError(f"text-only questions have no kind {asked!r}")
    ask, concept = draw_fact(random, asked)
    text, name = phrase(random, language, ask, split, reference="name", concept=concept)
    turns = [make_turn(text, name, asked, answer_to(language, ask, (concept,)), (concept,))]
    if kind is None and asked in PROPERTY_KINDS and random.random() < 0.2:
        turns.append(property_turn(random, language, (concept,), split, perceived=False))
    return make_sample(language, turns)


def caption_sample(
    rng: np.random.Generator, concept: int, language: Language | None = None, split: Split = "train"
) -> Sample:
    """An image–caption pair as a one-turn dialog ("Generate caption of this image." → "a photo of a cat")."""
    random = _random(rng)
    language = language or draw_language(random)
    kind = CAPTION_KINDS[0] if random.random() < 0.7 else pick(random, CAPTION_KINDS)
    shown = (check_concept(concept),)
    return make_sample(language, [ask_turn(random, language, Ask(kind), shown, split, media=shown)])


def messages(sample: Sample) -> list[dict[str, Any]]:
    """The dialog as chat messages with typed content parts.

    Media that arrive in a turn are ``{"type": "image", "concept": label id}`` parts before the text
    part: replace them by real media (or an embedding) of that concept.
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
    ask, _ = draw_fact(random, kind, concept)
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
