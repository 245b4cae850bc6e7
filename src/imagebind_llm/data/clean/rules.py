"""The table of rules: what each looks at, in the order in which a sample meets them.

A rule has a score for every sample; its bounds say which scores are kept. Scores of single samples are pure
functions here; those that depend on the whole set (how often a caption occurs, duplicates) are filled in by
:mod:`~imagebind_llm.data.clean.judge`.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.data.clean import captions
from imagebind_llm.data.clean.settings import Rules

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
        lambda f, _: float(len(captions.units(f.caption))),
    ),
    Rule(
        "script",
        "share of the letters that belong to the wanted scripts",
        lambda f, lists: captions.script_share(f.caption, lists.scripts),
    ),
    Rule("letters", "share of letters in the caption", lambda f, _: captions.letter_share(f.caption)),
    Rule(
        "character_repetition",
        "share of repeated pieces of 10 characters",
        lambda f, _: captions.character_repetition(f.caption),
    ),
    Rule(
        "word_repetition",
        "share of repeated pairs of words",
        lambda f, _: captions.word_repetition(f.caption),
    ),
    Rule(
        "boilerplate",
        "share of addresses, file names, camera codes, dates, agency and page text",
        lambda f, lists: captions.boilerplate_share(f.caption, lists.boilerplate),
    ),
    Rule("caption_frequency", "different samples with this caption (case and punctuation aside)"),
    Rule(
        "listed_words",
        "words of the given list",
        lambda f, lists: captions.listed_words(f.caption, lists.words),
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
        if not captions.is_script(script):
            nearest = get_close_matches(script.casefold(), captions.scripts(), 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "expected latin, han, cyrillic, arabic, …"
            raise ConfigError(f"rules.script.scripts names {script!r}, which no letter belongs to; {hint}")
    words: re.Pattern[str] | None = None
    if rules.listed_words.file is not None:
        words = captions.word_list_pattern(_read_words(Path(rules.listed_words.file)))
    return Lists(rules.script.scripts, captions.boilerplate_pattern(rules.boilerplate.patterns), words)


def _read_words(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the word list {str(path)!r} cannot be read ({error}); check the path") from None
    words = [line.partition("#")[0].strip() for line in lines]
    if not any(words):
        raise ConfigError(f"the word list {str(path)!r} is empty; expected one word or phrase a line")
    return words


def _of_image(facts: Facts, function: Callable[[int, int], float]) -> float:
    return float(function(facts.width, facts.height)) if facts.width else math.nan
