"""How people really type: capitals, missing marks, swapped, missing, doubled and wrong letters, "foto".

Training alone draws from here. The evaluation has slips of its own kind (``evaluation.typed``).
"""

from __future__ import annotations

import re
from random import Random

from nano_lab.grammar.words import EN_ALIASES, EN_NUMBERS, Language

_WORD = re.compile(r"[A-Za-z]{4,}")
_NAMES = frozenset(EN_NUMBERS) | {name for names in EN_ALIASES.values() for name in names}
"""Left as they are: with a slip in it the name of one thing may be the name of another, or of none."""
_MARKS = ".?!。？！"
_SOUNDS = (("ph", "f"), ("wh", "w"), ("ck", "k"), ("th", "t"), ("ee", "ea"), ("ou", "u"))
"""Spelt as it is heard: what is written, and what some write."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def slip(random: Random, language: Language, text: str) -> str:
    """The text as somebody in a hurry types it; about every second one stays as it is."""
    roll = random.random()
    if roll < 0.5:
        return text
    if roll < 0.62:
        return text.rstrip(_MARKS).rstrip()
    if roll < 0.68:
        mark = text[-1:] if text[-1:] in _MARKS else "?"
        return text.rstrip(_MARKS) + (mark * (2 + int(random.random() * 2)))
    if language == "zh":
        return text if roll < 0.85 else text.replace("，", " ").rstrip(_MARKS)
    if roll < 0.78:
        return text.upper()
    if roll < 0.82:
        return re.sub(r"[,':]", "", text)
    return _misspelt(random, text, 1 if random.random() < 0.75 else 2)


def _misspelt(random: Random, text: str, count: int) -> str:
    """The text with ``count`` slips: a letter swapped with the next, left out, doubled or wrong."""
    for _ in range(count):
        words = [m for m in _WORD.finditer(text) if _stem(m.group()) not in _NAMES]
        if not words:
            break
        word = words[int(random.random() * len(words))]
        text = text[: word.start()] + _slipped(random, word.group()) + text[word.end() :]
    return text


def _stem(word: str) -> str:
    return word.lower().removesuffix("s")


def _slipped(random: Random, word: str) -> str:
    heard = [pair for pair in _SOUNDS if pair[0] in word]
    if heard and random.random() < 0.4:
        return word.replace(*heard[int(random.random() * len(heard))], 1)
    at = 1 + int(random.random() * (len(word) - 2))  # the first letter is nearly always right
    roll = random.random()
    if roll < 0.3:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if roll < 0.55:
        return word[:at] + word[at + 1 :]
    if roll < 0.75:
        return word[: at + 1] + word[at:]
    return word[:at] + _LETTERS[int(random.random() * len(_LETTERS))] + word[at + 1 :]
