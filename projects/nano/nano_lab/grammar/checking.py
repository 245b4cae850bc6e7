"""Dialogs that check: yes or no, one or the other, larger or smaller, what a thing does. For training alone.

A tenth of everyday questions are such ones, too few to learn that a word asked about must be compared with
what is perceived, and the words alone do not teach it: the first edition got one in five wrong even where
the perception was stated in words.
"""

from __future__ import annotations

from random import Random

import numpy as np

from nano_lab.grammar.ask import draw_ask, pick, property_for
from nano_lab.grammar.dialogs import Sample, Turn, ask_turn, draw_language, make_sample
from nano_lab.grammar.facts import DIGIT_IDS, KNOWN_IDS, is_digit
from nano_lab.grammar.phrasing import Split, state
from nano_lab.grammar.words import Language
from nano_lab.world.concepts import UNCLEAR

_OF_ONE = ("is_it", "is_it", "is_it", "is_it", "is_it", "choice", "is_kind")
_OF_DIGITS = (*_OF_ONE, "compare", "parity")
_OF_TWO = ("is_there", "is_there", "is_it")
_OF_TWO_DIGITS = (*_OF_TWO, "bigger", "bigger", "bigger")
_PROPERTIES = 0.4
"""Share of the questions about one thing that ask what is true of it: can it fly, what is it minus two."""
_OPENERS = ("name", "see", "describe", "short")


def check_sample(rng: np.random.Generator, split: Split = "wide", language: Language | None = None) -> Sample:
    """One or two checks of one thing that is shown, or a name and then a check of it."""
    random = Random(int(rng.integers(1 << 62)))
    language = language or draw_language(random)
    shown = (UNCLEAR if random.random() < 0.06 else pick(random, KNOWN_IDS),)
    kinds = [_check_kind(random, shown) for _ in range(1 if random.random() < 0.6 else 2)]
    if len(kinds) == 2 and random.random() < 0.5:
        kinds[0] = pick(random, _OPENERS)
    turns: list[Turn] = []
    for kind in kinds:
        ask = draw_ask(random, kind, shown, near=True)
        media = None if turns else shown
        turns.append(ask_turn(random, language, ask, shown, split, media=media, follow_up=media is None))
    return make_sample(language, turns)


def claim_sample(rng: np.random.Generator, split: Split = "wide", language: Language | None = None) -> Sample:
    """The same without media: what is perceived is stated in words, and then checked, once or twice."""
    random = Random(int(rng.integers(1 << 62)))
    language = language or draw_language(random)
    shown: tuple[int, ...] = (pick(random, KNOWN_IDS),)
    if random.random() < 0.25:
        shown = (*shown, pick(random, DIGIT_IDS if is_digit(shown[0]) else KNOWN_IDS))
    turns: list[Turn] = []
    for number in range(1 if random.random() < 0.6 else 2):
        ask = draw_ask(random, _check_kind(random, shown), shown, near=True)
        turn = ask_turn(random, language, ask, shown, split, media=None, follow_up=number > 0)
        if number == 0:
            gap = " " if language == "en" else ""
            question = f"{state(random, language, shown)}{gap}{turn.question}"
            turn = Turn(
                question, turn.answer, None, turn.kind, turn.phrasing, turn.about, turn.key, turn.truth
            )
        turns.append(turn)
    return make_sample(language, turns)


def _check_kind(random: Random, shown: tuple[int, ...]) -> str:
    if len(shown) == 1:
        if random.random() < _PROPERTIES:
            return property_for(random, shown[0])
        return pick(random, _OF_DIGITS if is_digit(shown[0]) else _OF_ONE)
    return pick(random, _OF_TWO_DIGITS if all(is_digit(concept) for concept in shown) else _OF_TWO)
