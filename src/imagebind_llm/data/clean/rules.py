"""The table of rules: what each looks at, in the order in which a sample meets them.

A rule has a score for every sample; its bounds say which scores are kept. Scores of single samples are pure
functions of the caption's text or of RGB pixels. Scores that depend on the whole set (how often a caption
occurs, duplicates) are filled in by :mod:`~imagebind_llm.data.clean.judge`.
"""

import hashlib
import io
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.text_files import NotUtf8, read_text
from imagebind_llm.data.clean.settings import Rules

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

HASH_BITS = 64
_HASH_SIDE = 32
_HASH_LOW = 8
"""Sizes of the usual DCT hash: grey 32 × 32, of which the 8 × 8 lowest frequencies are kept."""

SIGNATURE_SIDE = 16
SIGNATURE_BYTES = SIGNATURE_SIDE * SIGNATURE_SIDE * 3


def content_hash(image: Image.Image) -> bytes:
    """16 bytes of SHA-256 over size and RGB pixels: the same for a PNG and a BMP of one picture."""
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.digest()[:16]


def contrast(image: Image.Image) -> float:
    """Largest standard deviation of a colour channel, 0 (one colour) to 127.5. Colours that differ can be
    equally light, so grey levels would not show them; of a grey picture it is that of the grey levels."""
    counts = np.asarray(image.histogram(), dtype=np.float64).reshape(-1, 256)
    shares = counts / counts.sum(1, keepdims=True)
    levels = np.arange(256)
    means = shares @ levels
    variances = (shares * (levels - means[:, None]) ** 2).sum(1)
    return float(np.sqrt(variances.max()))


def perceptual_hash(image: Image.Image) -> int:
    """64 bits: which of the 64 lowest frequencies of the cosine transform are above their median.

    Hardly moved by scaling, compression, brightness and contrast. Small drawings of the same kind (digits)
    also share many bits, so a near hash is a hint that :func:`signature` must confirm.
    """
    grey = image.convert("L").resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.LANCZOS)
    basis = _cosines()
    low = (basis @ np.asarray(grey, dtype=np.float64) @ basis.T).ravel()
    bits = low > np.median(low[1:])  # without the mean, which says nothing but brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def signature(image: Image.Image) -> bytes:
    """The picture at 16 × 16, RGB bytes."""
    reducing = max(1, min(image.width, image.height) // (4 * SIGNATURE_SIDE))
    small = image.reduce(reducing) if reducing > 1 else image  # a box filter, in two quick steps
    return small.resize((SIGNATURE_SIDE, SIGNATURE_SIDE), Image.Resampling.BOX).tobytes()


def correlations(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Likeness of a signature ``uint8 [768]`` to others ``uint8 [n, 768]``: ``float32 [n]``, -1 to 1.

    Pearson's correlation of the pixels around the mean of each channel, of the picture or of its mirror
    image, whichever is larger. Brightness, tint and contrast do not change it. 0 without contrast.
    """
    square = one.reshape(1, SIGNATURE_SIDE, SIGNATURE_SIDE, 3)
    both = _patterns(np.concatenate([square, square[:, :, ::-1]]))
    rows = _patterns(others)
    lengths = np.sqrt((rows * rows).sum(1)) * np.sqrt((both[0] * both[0]).sum())
    products = (rows @ both.T).max(1)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 1e-3)


def thumbnail(image: Image.Image, side: int) -> bytes:
    """JPEG bytes, the longer side at most ``side`` pixels; smaller pictures keep their size."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _patterns(signatures: np.ndarray) -> np.ndarray:
    """float32 ``[n, 768]``, the mean of each channel taken off."""
    values = signatures.reshape(-1, SIGNATURE_SIDE * SIGNATURE_SIDE, 3).astype(np.float32)
    values -= values.mean(1, keepdims=True)
    return values.reshape(-1, SIGNATURE_BYTES)


@cache
def _cosines() -> np.ndarray:
    """``[8, 32]``: the lowest rows of the type-II cosine transform."""
    frequency = np.arange(_HASH_LOW)[:, None]
    place = np.arange(_HASH_SIDE)[None]
    return np.cos(np.pi * (2 * place + 1) * frequency / (2 * _HASH_SIDE))


UNREADABLE = "unreadable"
"""The reason of samples that could not be opened. Not a rule: there is nothing to keep."""


@dataclass(frozen=True)
class Facts:
    """What was measured of one sample; ``width`` and ``height`` are 0 without a picture."""

    caption: str
    width: int
    height: int
    contrast: float
    agreement: float


@dataclass(frozen=True)
class Lists:
    """What the settings bring beside numbers, compiled once."""

    scripts: tuple[str, ...]
    boilerplate: re.Pattern[str]
    words: re.Pattern[str] | None


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes:
        name: of the rule, its settings, its column of scores and the reason it gives.
        what: the score, in words and units.
        score: of one sample; NaN where it does not apply (always kept); None = needs the whole set.
    """

    name: str
    what: str
    score: Callable[[Facts, Lists], float] | None = None


RULES: tuple[Rule, ...] = (
    Rule("image_side", "shorter side of the picture, pixels", lambda f, _: _of_image(f, min)),
    Rule(
        "aspect_ratio",
        "longer side / shorter side",
        lambda f, _: _of_image(f, lambda a, b: max(a, b) / min(a, b)),
    ),
    Rule("contrast", "largest standard deviation of a colour channel, 0 to 127.5", lambda f, _: f.contrast),
    Rule(
        "caption_length",
        "words, or characters of Han and kana",
        lambda f, _: float(len(units(f.caption))),
    ),
    Rule(
        "script",
        "share of the letters that belong to the wanted scripts",
        lambda f, lists: script_share(f.caption, lists.scripts),
    ),
    Rule("letters", "share of letters in the caption", lambda f, _: letter_share(f.caption)),
    Rule(
        "character_repetition",
        "share of repeated pieces of 10 characters",
        lambda f, _: character_repetition(f.caption),
    ),
    Rule(
        "word_repetition",
        "share of repeated pairs of words",
        lambda f, _: word_repetition(f.caption),
    ),
    Rule(
        "boilerplate",
        "share of addresses, file names, camera codes, dates, agency and page text",
        lambda f, lists: boilerplate_share(f.caption, lists.boilerplate),
    ),
    Rule("caption_frequency", "different samples with this caption (case and punctuation aside)"),
    Rule(
        "listed_words",
        "words of the given list",
        lambda f, lists: listed_words(f.caption, lists.words),
    ),
    Rule("agreement", "cosine of the embeddings of picture and caption", lambda f, _: f.agreement),
    Rule(
        "exact_duplicate",
        "1 where an earlier sample has the same pixels (without a picture: words)",
    ),
    Rule("near_duplicate", "best pixel correlation with an earlier sample of a near perceptual hash"),
    Rule("similar_embedding", "best pixel correlation with an earlier sample of a near embedding"),
)

NAMES: tuple[str, ...] = tuple(rule.name for rule in RULES)
PLACE = {name: place for place, name in enumerate(NAMES)}


def read_lists(rules: Rules) -> Lists:
    """Compile the patterns and read the word list.

    Raises:
        ConfigError: a pattern that is none, an unknown script, or a word list that cannot be read or is
            empty.
    """
    for pattern in rules.boilerplate.patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(
                f"rules.boilerplate.patterns has {pattern!r}, which is no regular expression ({error})"
            ) from None
    if rules.script.enabled and not rules.script.scripts:
        raise ConfigError("rules.script.scripts is empty; name scripts or set rules.script.enabled=false")
    for script in rules.script.scripts:
        if not is_script(script):
            nearest = get_close_matches(script.casefold(), scripts(), 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "expected latin, han, cyrillic, arabic, …"
            raise ConfigError(f"rules.script.scripts names {script!r}, which no letter belongs to; {hint}")
    words: re.Pattern[str] | None = None
    if rules.listed_words.file is not None:
        words = word_list_pattern(_read_words(Path(rules.listed_words.file)))
    return Lists(rules.script.scripts, boilerplate_pattern(rules.boilerplate.patterns), words)


def _read_words(path: Path) -> list[str]:
    try:
        lines = read_text(path).split("\n")
    except (OSError, NotUtf8) as error:
        raise ConfigError(f"the word list {str(path)!r} cannot be read ({error}); check the path") from None
    words = [line.partition("#")[0].strip() for line in lines]
    if not any(words):
        raise ConfigError(f"the word list {str(path)!r} is empty; expected one word or phrase a line")
    return words


def _of_image(facts: Facts, function: Callable[[int, int], float]) -> float:
    return float(function(facts.width, facts.height)) if facts.width else math.nan
