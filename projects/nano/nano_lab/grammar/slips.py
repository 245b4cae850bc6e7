"""How people really type: capitals, missing marks, swapped, missing, doubled and wrong letters, "foto".

Training alone draws from here. The evaluation has slips of its own kind (``evaluation.typed``).
"""

from __future__ import annotations

import re
from random import Random

from nano_lab.grammar.words import EN_ALIASES, EN_NUMBERS, Language

_WORD = re.compile(r"[A-Za-z]{2,}")
_LONG = 4
"""Letters of a word that may lose one; of a shorter one two change places ("si", "teh")."""
_NAMES = frozenset(EN_NUMBERS) | {name for names in EN_ALIASES.values() for name in names} | {"no", "on"}
"""Left as they are: with a slip in it the name of one thing may be the name of another, or of none."""
_MARKS = ".?!。？！"
_SOUNDS = (("ph", "f"), ("wh", "w"), ("ck", "k"), ("th", "t"), ("ee", "ea"), ("ou", "u"))
"""Spelt as it is heard: what is written, and what some write."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def slip(random: Random, language: Language, text: str) -> str:
    """The text as somebody in a hurry types it; about every second one stays as it is."""
    if random.random() < 0.5:
        return text
    return _marked(random, _lettered(random, language, text))


def _marked(random: Random, text: str) -> str:
    """With other marks at its end: none, several, or those that it has."""
    roll = random.random()
    if roll < 0.35:
        return text.rstrip(_MARKS).rstrip()
    if roll < 0.55:
        mark = text[-1:] if text[-1:] in _MARKS else "?"
        return text.rstrip(_MARKS) + (mark * (2 + int(random.random() * 2)))
    return text


def _lettered(random: Random, language: Language, text: str) -> str:
    """In capitals, without commas, or misspelt."""
    roll = random.random()
    if language == "zh":
        return text if roll < 0.7 else text.replace("，", " ")
    if roll < 0.2:
        return text.upper()
    if roll < 0.3:
        return re.sub(r"[,':]", "", text)
    if roll < 0.75:
        return _misspelt(random, text, 1 if random.random() < 0.7 else 2)
    return text


def _misspelt(random: Random, text: str, count: int) -> str:
    """The text with ``count`` slips: a letter swapped with the next, left out, doubled or wrong."""
    for _ in range(count):
        words = [m for m in _WORD.finditer(text) if _stem(m.group()) not in _NAMES]
        if not words:
            break
        word = random.choices(words, [len(found.group()) for found in words])[0]
        text = text[: word.start()] + _slipped(random, word.group()) + text[word.end() :]
    return text


def _stem(word: str) -> str:
    return word.lower().removesuffix("s")


def _slipped(random: Random, word: str) -> str:
    heard = [pair for pair in _SOUNDS if pair[0] in word]
    if heard and random.random() < 0.4:
        return word.replace(*heard[int(random.random() * len(heard))], 1)
    roll = random.random()
    if roll < 0.3 or len(word) < _LONG:
        at = int(random.random() * (len(word) - 1))
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    at = 1 + int(random.random() * (len(word) - 2))  # the first letter is nearly always right
    if roll < 0.55:
        return word[:at] + word[at + 1 :]
    if roll < 0.75:
        return word[: at + 1] + word[at:]
    return word[:at] + _LETTERS[int(random.random() * len(_LETTERS))] + word[at + 1 :]
