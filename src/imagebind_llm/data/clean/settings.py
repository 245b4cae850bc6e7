"""What cleaning can be told: one YAML file, ``key=value`` overrides, frozen dataclasses."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import (
    MOST_AT_ONCE,
    apply_overrides,
    build,
    check_numbers,
    overlay,
    to_plain,
)
from imagebind_llm.common.text_files import NotUtf8, read_text
from imagebind_llm.common.yaml_text import NotYaml, parse_yaml


def _check_cosine(name: str, value: float) -> None:
    if not -1 <= value <= 1:
        raise ConfigError(f"{name} is {value}; expected a number from -1 to 1")


@dataclass(frozen=True)
class Bounds:
    """A rule that drops a sample whose score is below ``minimum`` or above ``maximum`` (null = no bound)."""

    enabled: bool = True
    """Whether the rule drops anything. Its score is kept either way."""
    minimum: float | None = None
    """Smallest score that is kept."""
    maximum: float | None = None
    """Largest score that is kept."""

    def __post_init__(self) -> None:
        low, high = self.minimum, self.maximum
        if low is not None and high is not None and low > high:
            raise ConfigError(f"a rule has minimum {low:g} above maximum {high:g}; exchange them")


@dataclass(frozen=True)
class ScriptBounds(Bounds):
    """Of the share of letters in ``scripts``."""

    scripts: tuple[str, ...] = ("latin", "han")
    """First words of Unicode letter names: latin, han, cyrillic, arabic, greek, hiragana, hangul, …"""


@dataclass(frozen=True)
class BoilerplateBounds(Bounds):
    """Of the share of a caption that boilerplate covers."""

    patterns: tuple[str, ...] = ()
    """Regular expressions beside the built-in ones."""


@dataclass(frozen=True)
class WordListBounds(Bounds):
    """Of the number of listed words."""

    file: str | None = None
    """Text file with one word or phrase a line (``#`` starts a comment); null = none. No list comes along."""


@dataclass(frozen=True)
class AgreementBounds(Bounds):
    """Of the cosine between the embeddings of picture and caption."""

    percentile: float | None = None
    """Drop this share (0 to 100) with the lowest scores, of those that got so far; null = by bounds alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.percentile is not None and not 0 <= self.percentile <= 100:
            raise ConfigError(f"agreement.percentile is {self.percentile}; expected 0 to 100")


@dataclass(frozen=True)
class Switch:
    """A rule without a number."""

    enabled: bool = True
    """Whether the rule drops anything."""


@dataclass(frozen=True)
class HashBounds:
    """Near duplicates: perceptual hashes propose a pair, the pixels confirm it."""

    enabled: bool = True
    """Whether the rule drops anything."""
    bits: int = 8
    """Hashes of 64 bits that differ in at most this many propose a pair (0 to 15)."""
    correlation: float = 0.97
    """Pixels at 16 × 16 (or their mirror image) must correlate this much, -1 to 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.bits <= 15:
            raise ConfigError(f"near_duplicate.bits is {self.bits}; expected 0 to 15")
        _check_cosine("near_duplicate.correlation", self.correlation)


@dataclass(frozen=True)
class EmbeddingBounds:
    """Near duplicates: image embeddings propose a pair, the pixels confirm it."""

    enabled: bool = True
    """Whether the rule drops anything."""
    cosine: float = 0.95
    """Embeddings with at least this cosine propose a pair."""
    correlation: float = 0.97
    """Pixels at 16 × 16 (or their mirror image) must correlate this much; -1 = the embeddings suffice."""

    def __post_init__(self) -> None:
        _check_cosine("similar_embedding.cosine", self.cosine)
        _check_cosine("similar_embedding.correlation", self.correlation)


@dataclass(frozen=True)
class Rules:
    """All rules, in the order in which a sample meets them (the first that it fails is its reason)."""

    image_side: Bounds = Bounds(minimum=32)
    """Nano's pictures have 32 pixels; web crawls often ask for 64 to 200."""
    aspect_ratio: Bounds = Bounds(maximum=3)
    """As ALIGN (arXiv 2102.05918)."""
    contrast: Bounds = Bounds(minimum=4)
    """Levels of 255, in the colour channel that varies most: below, nothing can be seen."""
    caption_length: Bounds = Bounds(minimum=3, maximum=400)
    """At least 3 words as ALIGN; its maximum of 20 is for the shortest of texts."""
    script: ScriptBounds = ScriptBounds(minimum=0.8)
    letters: Bounds = Bounds(minimum=0.5)
    character_repetition: Bounds = Bounds(maximum=0.3)
    word_repetition: Bounds = Bounds(maximum=0.3)
    boilerplate: BoilerplateBounds = BoilerplateBounds(maximum=0.2)
    caption_frequency: Bounds = Bounds(maximum=10)
    """As ALIGN."""
    listed_words: WordListBounds = WordListBounds(maximum=0)
    agreement: AgreementBounds = AgreementBounds(percentile=1.0)
    """What a good cosine is differs between encoders, so only the very lowest go until a minimum is set."""
    exact_duplicate: Switch = Switch()
    near_duplicate: HashBounds = HashBounds()
    similar_embedding: EmbeddingBounds = EmbeddingBounds()


@dataclass(frozen=True)
class EncoderSettings:
    """Which joint embeddings are compared."""

    model: str = "nano"
    """Model folder, hub id, folder of an encoder alone, or nano. Not loaded if no rule needs it."""
    device: str = "auto"
    """auto, cpu, cuda:0, …"""
    batch_size: int = 64
    """Pictures or captions encoded at once."""

    def __post_init__(self) -> None:
        check_numbers(self, "encoder", least={"batch_size": 1}, most={"batch_size": MOST_AT_ONCE})


@dataclass(frozen=True)
class CleanSettings:
    """Everything that decides what is kept."""

    rules: Rules = field(default_factory=Rules)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    duplicate_text: Literal["auto", "any", "same"] = "auto"
    """Whether pictures alone make duplicates (any), or only with the same words (same). auto = same for
    dialogs (llava), any for captions. Samples without a picture are compared by their words."""
    max_unreadable: float = 0.5
    """The run stops when a larger share of the samples cannot be read."""
    shard_rows: int = 512
    """Samples measured between two savings: what an interruption costs."""
    examples: int = 12
    """Pictures shown for each reason in the report."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_unreadable <= 1:
            raise ConfigError(f"max_unreadable is {self.max_unreadable}; expected a share from 0 to 1")
        if self.shard_rows < 1 or self.examples < 0:
            raise ConfigError(
                f"shard_rows is {self.shard_rows} and examples {self.examples}; expected at least 1 and 0"
            )

    @property
    def needs_encoder(self) -> bool:
        """Whether any rule looks at embeddings."""
        return self.rules.agreement.enabled or self.rules.similar_embedding.enabled


def load_settings(path: Path | None = None, overrides: Sequence[str] = ()) -> CleanSettings:
    """The settings in a YAML file, changed by dotted ``key=value`` pairs; what is not given has its default.

    Raises:
        ConfigError: no such file, no mapping, an unknown key (naming the nearest) or an impossible value.
    """
    given: Any = {}
    if path is not None:
        try:
            given = parse_yaml(read_text(path)) or {}
        except OSError as error:
            raise ConfigError(f"cannot read {str(path)!r} ({error.strerror}); check the path") from None
        except (NotYaml, NotUtf8) as error:
            raise ConfigError(f"{str(path)!r} is not YAML ({' '.join(str(error).split())})") from None
        if not isinstance(given, dict):
            raise ConfigError(f"{str(path)!r} holds {type(given).__name__}; expected a mapping of settings")
    given = apply_overrides(given, overrides)
    return build(CleanSettings, overlay(to_plain(CleanSettings()), given))


def to_yaml(settings: CleanSettings) -> str:
    """The settings as a file that :func:`load_settings` reads back."""
    return yaml.safe_dump(to_plain(settings), sort_keys=False, allow_unicode=True)
