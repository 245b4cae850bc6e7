"""What a caption looks like, as numbers. Pure functions of the text."""

import re
import sys
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import pairwise

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Kana and Han: written without spaces, so each character counts as a unit."""
_UNIT = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+(?:['’-](?:(?![{_UNSPACED}])[^\W_])+)*")
_CHARACTERS_AT_ONCE = 10
_UNITS_AT_ONCE = 2

BOILERPLATE = {
    "address": r"https?://\S+|www\.\S+|\b[\w-]+\.(?:com|net|org|info|co\.uk|de|cn|ru)\b\S*",
    "file name": r"\b[\w()-]+\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic|cr2|nef|mp4|pdf)\b",
    "camera code": r"\b(?:IMG|DSC[FN]?|DCIM|PICT|MVI|GOPR|PXL|Screenshot|WhatsApp Image)[_ -]?\d{2,}[\d_ -]*"
    r"|\bP\d{7}\b",
    "date": r"\b(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}\b|\b\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d\d\b"
    r"|\b\d{1,2}:\d\d(?::\d\d)?\b",
    "size": r"\b\d{3,5}\s?[x×]\s?\d{3,5}(?:\s?(?:px|pixels))?\b",
    "stock": r"(?:royalty[ -]free\s+)?stock[ -](?:photo(?:graphy|s)?|images?|pictures?|vectors?"
    r"|illustrations?|footage|clipart)|shutterstock|getty\s?images|istock(?:photo)?"
    r"|alamy|dreamstime|depositphotos|123rf",
    "page": r"click (?:here|(?:on )?(?:the )?(?:image|photo|picture|to (?:enlarge|view|zoom)))"
    r"|image may contain|(?:image|photo|picture|page) \d+ of \d+"
    r"|no (?:image|photo|picture|description)(?: available)?"
    r"|all rights reserved|copyright|[©®™]|(?:photo|image|picture) (?:by|credit|courtesy)|add to cart"
    r"|free (?:download|shipping)|untitled|placeholder|thumbnail|点击(?:查看)?(?:大图|图片)|图片来源|版权所有"
    r"|暂无图片|图片素材|视觉中国|摄图网",
    "markup": r"<[a-zA-Z/][^>]{0,200}>|&(?:[a-z]+|#\d+);",
}
"""Kinds of text that come from a web page, a camera or an agency and say nothing of the picture."""


def units(text: str) -> list[str]:
    """Words, and single characters of scripts without spaces, in lower case.

    Scripts that are unspaced beside Han and kana (Thai, Lao, Khmer) are not split.
    """
    return _UNIT.findall(text.casefold())


def normalised(text: str) -> str:
    """What makes two captions the same: their units, whatever the case, punctuation and spaces."""
    return " ".join(units(text)) or " ".join(text.split())


def letter_share(text: str) -> float:
    """Letters (of any script) among the characters that are not spaces, 0 to 1."""
    visible = [character for character in text if not character.isspace()]
    return sum(unicodedata.category(c)[0] in "LM" for c in visible) / len(visible) if visible else 0.0


def script_share(text: str, scripts: Iterable[str]) -> float:
    """Letters of the named scripts among all letters, 0 to 1; 1 without any letter.

    A script is the first word of a letter's Unicode name, in lower case (``latin``, ``cyrillic``, ``arabic``,
    ``hiragana``, ``hangul``, …); Han letters are called ``han`` (or ``cjk``). This tells scripts apart, not
    languages: English and French are both ``latin``.
    """
    wanted = {"cjk" if script.casefold() == "han" else script.casefold() for script in scripts}
    letters = [character for character in text if character.isalpha()]
    return sum(_script(letter) in wanted for letter in letters) / len(letters) if letters else 1.0


def is_script(name: str) -> bool:
    """Whether :func:`script_share` can find letters of this script."""
    return name.casefold() in ("latin", "han") or name.casefold() in scripts()


@cache
def scripts() -> tuple[str, ...]:
    """Every name that :func:`script_share` understands, in order (looks through all of Unicode: 0.5 s)."""
    letters = filter(str.isalpha, map(chr, range(sys.maxunicode + 1)))
    return tuple(sorted({_script_of(letter) for letter in letters} - {"unknown"} | {"han"}))


def character_repetition(text: str) -> float:
    """Share of the text's pieces of 10 characters that occurred before in it, 0 to 1."""
    flat = " ".join(text.casefold().split())
    count = len(flat) - _CHARACTERS_AT_ONCE + 1
    return _repeated([flat[i : i + _CHARACTERS_AT_ONCE] for i in range(count)])


def word_repetition(text: str) -> float:
    """Share of the text's pairs of neighbouring units that occurred before in it, 0 to 1."""
    found = units(text)
    return _repeated(list(pairwise(found)))


def boilerplate_pattern(more: Iterable[str] = ()) -> re.Pattern[str]:
    """One expression for :data:`BOILERPLATE` and ``more``; case does not matter."""
    return re.compile("|".join(f"(?:{part})" for part in (*BOILERPLATE.values(), *more)), re.IGNORECASE)


def boilerplate_share(text: str, pattern: re.Pattern[str]) -> float:
    """Characters that ``pattern`` covers, as a share of the caption, 0 to 1."""
    flat = text.strip()
    return sum(len(found.group().strip()) for found in pattern.finditer(flat)) / len(flat) if flat else 0.0


def word_list_pattern(words: Iterable[str]) -> re.Pattern[str] | None:
    """An expression for whole words or phrases, None without any; Han and kana are found inside of words."""
    parts = []
    for word in sorted({entry.strip() for entry in words} - {""}, key=lambda entry: (-len(entry), entry)):
        unspaced = re.search(f"[{_UNSPACED}]", word)
        parts.append(re.escape(word) if unspaced else rf"(?<!\w){re.escape(word)}(?!\w)")
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def listed_words(text: str, pattern: re.Pattern[str] | None) -> float:
    """How often ``pattern`` occurs."""
    return float(len(pattern.findall(text))) if pattern is not None else 0.0


def _repeated(pieces: list[str] | list[tuple[str, str]]) -> float:
    return 1 - len(set(pieces)) / len(pieces) if pieces else 0.0


def _script_of(letter: str) -> str:
    return unicodedata.name(letter, "unknown").split(" ", 1)[0].split("-", 1)[0].casefold()


_script = lru_cache(maxsize=65536)(_script_of)
