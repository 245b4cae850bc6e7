"""Sentences around a caption, for the text tower: what matters is the thing, whatever is said around it.

A tower that has read nothing but captions takes any other word for part of one. So training puts captions
between the words of sentences that name nothing nano knows, and takes whole sentences: those that name one
thing are about it, those that name none are about nothing known. Sentences are nano's own questions, and what
people wrote about photographs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from nano_lab.grammar import LANGUAGES, SINGLE_KINDS, TEXT_KINDS, questions
from nano_lab.grammar.words import EN_NUMBERS, ZH_ALIASES, ZH_NUMBERS
from nano_lab.world.concepts import UNCLEAR
from nano_lab.world.photographs import shows_known, things_named

KINDS = (*SINGLE_KINDS, *TEXT_KINDS)
"""Of the questions that lend their words."""
_AROUND, _WHOLE, _WHOLE_UNCLEAR = 0.4, 0.15, 0.7
"""Shares of the texts: a caption between other words; a whole sentence, where there is one of the label; the
same of the texts about nothing known."""
_CHINESE_SHARE, _NUMBER_SHARE = 0.3, 0.1
"""Of the texts about nothing known: Chinese ones, and numbers of several digits."""
_MOST_WORDS, _MOST_SIGNS = 6, 6
"""Words before and behind a caption, and signs of a Chinese one."""
_NUMBER = re.compile(rf"\b(?:{'|'.join(EN_NUMBERS)}|\d+|ones?|first|once|twice)\b", re.IGNORECASE)
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_KNOWN_SIGNS = re.compile(
    "|".join((r"\d", *ZH_NUMBERS, *(name for names in ZH_ALIASES.values() for name in names)))
)
_COMMON = tuple(
    sign
    for row in range(0xB0, 0xD8)
    for sign in bytes(byte for cell in range(0xA1, 0xFF) for byte in (row, cell)).decode("gb2312", "ignore")
    if not _KNOWN_SIGNS.search(sign)
)
"""GB 2312's 3,755 common Chinese signs (rows 16 to 55), less those of nano's names and numbers. The tower
reads bytes, so a sign that it never met would be taken for parts of others."""
_END = " .!?。！？,，"


def is_chinese(text: str) -> bool:
    """Whether a Chinese sign is in it."""
    return _CHINESE.search(text) is not None


def names_nothing(text: str) -> bool:
    """Whether an English text names no number and nothing that nano knows, or that looks like it."""
    return not _NUMBER.search(text) and not shows_known([text])


class Sentences:
    """What is said around captions, and instead of them.

    Args:
        written: sentences about photographs; may be empty.
    """

    def __init__(self, written: Sequence[str] = ()) -> None:
        asked = [
            one for language in LANGUAGES for kind in KINDS for one in questions(kind, language, "train")
        ]
        plain = [text.rstrip(_END) for text in dict.fromkeys((*asked, *written))]
        english = [text for text in plain if not is_chinese(text)]
        strange = [text for text in english if names_nothing(text)]
        self._signs = [text for text in plain if is_chinese(text) and not _KNOWN_SIGNS.search(text)]
        self._words = [text.split() for text in strange]
        self._whole: dict[int, list[str]] = {UNCLEAR: strange}
        for text in english:
            if len(named := things_named(text)) == 1:
                self._whole.setdefault(named[0], []).append(text)

    def vocabulary(self) -> list[str]:
        """Every text that a caption may stand in, or be replaced by."""
        return [*_COMMON, *map(str, range(100)), *(text for texts in self._whole.values() for text in texts)]

    def put(self, rng: np.random.Generator, label: int, caption: str) -> str:
        """``caption`` of ``label`` as it is, between other words, or a whole sentence in its place."""
        drawn = rng.random()
        if label == UNCLEAR:
            return self._nothing(rng) if drawn < _WHOLE_UNCLEAR else caption
        if drawn < _WHOLE and label in self._whole:
            return self._whole[label][rng.integers(len(self._whole[label]))]
        if drawn < 1 - _AROUND:
            return caption
        if is_chinese(caption):
            return f"{self._chinese(rng)}{caption}{self._chinese(rng)}"
        before, behind = (_piece(rng, self._words, _MOST_WORDS) for _ in range(2))
        return " ".join((*before, caption, *behind))

    def _nothing(self, rng: np.random.Generator) -> str:
        """A text about nothing known."""
        drawn = rng.random()
        if drawn < _CHINESE_SHARE:
            return self._chinese(rng) + self._chinese(rng) or _COMMON[rng.integers(len(_COMMON))]
        if drawn < _CHINESE_SHARE + _NUMBER_SHARE:
            return str(rng.integers(10, 10 ** rng.integers(2, 6)))
        return self._whole[UNCLEAR][rng.integers(len(self._whole[UNCLEAR]))]

    def _chinese(self, rng: np.random.Generator) -> str:
        """Up to six signs: from one of nano's questions, or any."""
        if rng.random() < 0.5:
            return str(_piece(rng, self._signs, _MOST_SIGNS))
        return "".join(rng.choice(_COMMON, rng.integers(0, _MOST_SIGNS + 1)))


def _piece(rng: np.random.Generator, sentences: Sequence[Any], most: int) -> Any:
    """Up to ``most`` neighbouring parts of one of the sentences."""
    whole = sentences[int(rng.integers(len(sentences)))]
    length = int(rng.integers(0, most + 1))
    start = int(rng.integers(0, max(1, len(whole) - length + 1)))
    return whole[start : start + length]
