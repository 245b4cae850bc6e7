"""What is asked: lists of single questions with names, each about conditions embedded beforehand.

The questions of a variant depend on the seed and its items alone, so cache on and off, and a model and its
successor, are asked the very same ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.model.conditioning import mix
from nano_lab.evaluation.model import ModelUnderTest, Question
from nano_lab.evaluation.sets import EmbeddedSet, embedded
from nano_lab.grammar import (
    CAPTION_KINDS,
    CHECK_KINDS,
    DIGIT_KINDS,
    LANGUAGES,
    OBJECT_KINDS,
    SPLITS,
    Language,
    Split,
    Turn,
    correct,
    judge,
    media_sample,
    statement_sample,
    text_sample,
)
from nano_lab.grammar.facts import category
from nano_lab.world.concepts import UNCLEAR

HEADLINE: tuple[Language, Split] = ("en", "heldout")
"""Language and phrasings of the main numbers: ones that training never used."""

KIND_GROUPS: dict[str, tuple[str, ...]] = {
    "yes or no": CHECK_KINDS[:1],
    "one of two": CHECK_KINDS[1:],
    "about a digit": DIGIT_KINDS,
    "about a thing": OBJECT_KINDS,
    "what kind": ("is_kind",),
    "beyond its knowledge": ("beyond",),
    "captions": CAPTION_KINDS,
}
"""Question kinds other than naming, as they are summed up."""

_EVERYDAY = ("name", "see", "like", "short", "describe")
_OF_TWO = ("both", "see_and_hear", "name", "see", "short", "describe")


@dataclass(frozen=True)
class Variant:
    """Questions that are scored together; ``naming``: right is what names the true thing(s) and no other."""

    name: str
    questions: list[Question]
    naming: bool = True

    def outcomes(self, answers: list[str]) -> list[bool]:
        """Whether each answer is right."""
        pairs = zip(self.questions, answers, strict=True)
        if self.naming:
            return [judge(answer, question.turn.about) for question, answer in pairs]
        return [correct(question.turn, answer) for question, answer in pairs]


def generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that belong to a name, whatever else is drawn before."""
    return np.random.default_rng((seed, zlib.crc32("/".join(names).encode())))


def naming_turn(
    rng: np.random.Generator, concepts: tuple[int, ...], language: Language, split: Split
) -> Turn:
    """A question whose answer names ``concepts`` (one or two)."""
    kinds: tuple[str, ...] = _OF_TWO
    if len(concepts) == 1:
        kind = category(concepts[0])
        kinds = _EVERYDAY if kind == "unclear" else (*_EVERYDAY, kind)
    chosen = kinds[int(rng.integers(len(kinds)))]
    return media_sample(rng, concepts, split, language, chosen, 0).turns[0]


def naming_turns(seed: int, name: str, labels: np.ndarray, language: Language, split: Split) -> list[Turn]:
    """One naming question for each item of a set."""
    rng = generator(seed, "naming", name, language, split)
    return [naming_turn(rng, (int(label),), language, split) for label in labels]


def about(turns: list[Turn], conditions: Tensor) -> list[Question]:
    """Each question about its own condition."""
    return [Question.about(turn, row) for turn, row in zip(turns, conditions[: len(turns)], strict=True)]


def naming_variants(data: EmbeddedSet, prefix: str, seed: int) -> Iterator[Variant]:
    """All items of a set, once without and once with the cache: ``prefix/name/off|on``."""
    turns = naming_turns(seed, data.name, data.labels, *HEADLINE)
    for mode in data.modes:
        yield Variant(f"{prefix}/{data.name}/{mode}", about(turns, data.conditions(mode)))


def wording_variants(data: EmbeddedSet, seed: int, cap: int) -> Iterator[Variant]:
    """The first items of a set in the other languages and phrasings: ``wording/name/language/split``."""
    for language in LANGUAGES:
        for split in SPLITS:
            if (language, split) != HEADLINE:  # that one is asked anyway
                turns = naming_turns(seed, data.name, data.labels[:cap], language, split)
                yield Variant(f"wording/{data.name}/{language}/{split}", about(turns, data.conditions()))


def control_variants(data: EmbeddedSet, seed: int, cap: int) -> Iterator[Variant]:
    """The same questions about somebody else's embedding (``shuffled``) and about none (``no media``)."""
    turns = naming_turns(seed, data.name, data.labels, *HEADLINE)
    rows = data.conditions()[torch.from_numpy(_shuffle(data, seed, cap))]
    yield Variant(f"shuffled/{data.name}", about(turns[:cap], rows))
    yield Variant(
        f"no media/{data.name}", [Question.about(turn, None) for turn in turns[: max(1, cap // 10)]]
    )


def _shuffle(data: EmbeddedSet, seed: int, count: int) -> np.ndarray:
    """Rows in random order: of some permutations the one that, among the first ``count`` items, puts an equal
    label in place as nearly as often as chance would. A single draw would add its own luck to the control."""
    rng = generator(seed, "shuffle", data.name)
    orders = [rng.permutation(len(data)) for _ in range(16)]
    expected = chance(data)

    def luck(order: np.ndarray) -> float:
        return abs(float((data.labels[order] == data.labels)[:count].mean()) - expected)

    return min(orders, key=luck)


def chance(data: EmbeddedSet) -> float:
    """Share of right answers if embeddings are shuffled and otherwise everything is right: Σ p(label)²."""
    _, counts = np.unique(data.labels, return_counts=True)
    shares = counts / counts.sum()
    return float((shares**2).sum())


def kind_variants(known: Mapping[str, EmbeddedSet], seed: int, cap: int) -> Iterator[Variant]:
    """``cap`` questions of each kind in turn about items of all senses, half of them Chinese: ``kind/…``."""
    for kinds in KIND_GROUPS.values():
        for kind in kinds:
            rng = generator(seed, "kind", kind)
            suits = _suiting(kind)
            pools = [
                (data, rows) for data in known.values() if len(rows := np.flatnonzero(suits(data.labels)))
            ]
            questions = []
            for number in range(cap if pools else 0):
                data, rows = pools[number % len(pools)]
                row = int(rng.choice(rows))
                language = LANGUAGES[number // len(pools) % 2]
                sample = media_sample(rng, (int(data.labels[row]),), "heldout", language, kind, 0)
                questions.append(Question.about(sample.turns[0], data.conditions()[row]))
            if questions:
                yield Variant(f"kind/{kind}", questions, naming=False)


def _suiting(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    """Which labels (a mask) a kind of question is asked about."""
    if kind in DIGIT_KINDS:
        return lambda labels: labels < 10
    if kind in OBJECT_KINDS:
        return lambda labels: (labels >= 10) & (labels < UNCLEAR)
    return lambda labels: labels < UNCLEAR


@dataclass(frozen=True)
class Mixtures:
    """Pairs of things: mixed conditions ``data`` (its labels are the first thing's) and both concept ids."""

    data: EmbeddedSet
    concepts: np.ndarray


def mixtures(
    model: ModelUnderTest,
    name: str,
    first: EmbeddedSet,
    second: EmbeddedSet,
    same: bool,
    seed: int,
    count: int,
) -> Mixtures | None:
    """``count`` pairs of items mixed half and half; None where the two sets have no such pair.

    Args:
        model: who enhances them, if it has a cache.
        name: of the result.
        first: one set.
        second: another, or the same.
        same: pairs of equal (else of different) labels.
        seed: of the pairing.
        count: how many pairs.
    """
    lefts, rights = paired_rows(name, first, second, same, seed, count)
    if not lefts:
        return None
    pairs = len(lefts)
    rows = torch.stack((first.plain[lefts], second.plain[rights]), 1).flatten(0, 1)
    mixed = mix(rows, torch.ones(2 * pairs), torch.arange(pairs).repeat_interleave(2), pairs)
    concepts = np.stack((first.labels[lefts], second.labels[rights]), 1)
    modalities: tuple[Modality, ...] = (first.modality, second.modality)
    return Mixtures(embedded(model, name, modalities, concepts[:, 0], mixed), concepts)


def paired_rows(
    name: str, first: EmbeddedSet, second: EmbeddedSet, same: bool, seed: int, count: int
) -> tuple[list[int], list[int]]:
    """The rows of at most ``count`` pairs for :func:`mixtures`; none where the two sets have no such pair."""
    rng = generator(seed, "mixture", name)
    lefts, rights = [], []
    for row in rng.permutation(np.resize(np.arange(len(first)), count)):
        partners = np.flatnonzero((second.labels == first.labels[row]) == same)
        if len(partners):
            lefts.append(int(row))
            rights.append(int(rng.choice(partners)))
    return lefts, rights


def mixture_variants(found: Mixtures, seed: int) -> Iterator[Variant]:
    """Name both things of each pair: ``mixture/name/off|on``."""
    rng = generator(seed, "naming", found.data.name)
    turns = [naming_turn(rng, (int(a), int(b)), *HEADLINE) for a, b in found.concepts]
    for mode in found.data.modes:
        yield Variant(f"mixture/{found.data.name}/{mode}", about(turns, found.data.conditions(mode)))


def text_variants(seed: int, cap: int) -> Iterator[Variant]:
    """Questions without media: facts by name, perceptions stated in words, media that are not there."""
    for language in LANGUAGES:
        for name in ("facts", "statements", "nothing given"):
            rng = generator(seed, "text", name, language)
            questions: list[Question] = []
            while len(questions) < cap:
                if name == "statements":
                    turn = statement_sample(rng, split="heldout", language=language).turns[0]
                else:
                    kind = "nothing" if name == "nothing given" else None
                    turn = text_sample(rng, "heldout", language, kind).turns[0]
                if turn.truth != "free" and (turn.truth == "nothing") == (name == "nothing given"):
                    questions.append(Question.about(turn, None))
            yield Variant(f"text/{name}/{language}", questions, naming=False)
