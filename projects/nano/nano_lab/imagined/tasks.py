"""What is asked of the generator: digits and objects, from every sense of nano's, and mixtures of two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.model.messages import Embedded
from imagebind_llm.skills.generation.contract import Generator
from imagebind_llm.skills.generation.wishes import make_wish
from nano_lab.evaluation.model import AssistantUnderTest
from nano_lab.evaluation.sets import SENSES, RawSet, other_sets, picture_sets, settings_of
from nano_lab.imagined.measure import Asked
from nano_lab.imagined.wordings import WORDINGS, said
from nano_lab.world.concepts import DIGITS, OBJECTS
from nano_lab.world.senses import World

Kind = Literal["digits", "objects", "mixture"]

_FILMS = 100
"""Most films of digits, and of photographs: they take long to encode."""


@dataclass(frozen=True)
class Task:
    """One kind of thing to ask for.

    Attributes:
        name: how it is called in results.
        kind: what is drawn.
        sources: the senses of :data:`nano_lab.evaluation.sets.SENSES`, or the text sets, that are mixed.
        target: share of right drawings the project set itself, None if it set none.
        same: of two sources: whether both show the same thing.
    """

    name: str
    kind: Kind
    sources: tuple[str, ...]
    target: float | None = None
    same: bool = True


def _text(kind: str, wordings: str) -> str:
    return f"{kind}, {wordings}"


TASKS: tuple[Task, ...] = (
    *(Task(f"digits from text, {w}", "digits", (_text("digits", w),), 0.85) for w in WORDINGS),
    Task("digits from speech", "digits", ("spoken digits",), 0.75),
    Task("digits from 3D shapes", "digits", ("3D digits",), 0.80),
    Task("digits from depth", "digits", ("depth digits",)),
    Task("digits from thermal", "digits", ("thermal digits",)),
    Task("digits from IMU", "digits", ("IMU digits",)),
    Task("digits from video", "digits", ("video digits",)),
    Task("digits from pictures", "digits", ("handwriting",)),
    *(Task(f"objects from text, {w}", "objects", (_text("objects", w),)) for w in WORDINGS),
    Task("objects from animal sounds", "objects", ("animal sounds",)),
    Task("objects from 3D shapes", "objects", ("3D shapes",)),
    Task("objects from video", "objects", ("video photographs",)),
    Task("objects from pictures", "objects", ("photographs",)),
    Task("picture and speech, the same digit", "mixture", ("handwriting", "spoken digits")),
    Task("picture and speech, either digit", "mixture", ("handwriting", "spoken digits"), same=False),
    Task("picture and sound, the same animal", "mixture", ("photographs", "animal sounds")),
)
"""In the order of the reports. In all but the last three, one medium asks for one drawing."""


@dataclass(frozen=True)
class Source:
    """Media of one kind, as :func:`~imagebind_llm.skills.generation.wishes.make_wish` takes them (texts, and
    everything else embedded), with concept ids ``labels [n]``."""

    modality: Modality
    media: Sequence[str | Embedded]
    labels: np.ndarray


def gather(
    bot: Assistant,
    generator: Generator,
    data: Path,
    items: int,
    seed: int,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, Asked]:
    """What is asked for, by the name of the task; tasks whose sense the encoder lacks are left out.

    The media are of the test splits. Each is embedded, and made a wish, as ``imagebind-llm imagine`` would:
    with the generator's shift, and with the visual cache where the model uses it.

    Args:
        bot: embeds.
        generator: says how embeddings are shifted.
        data: folder of nano's data sets.
        items: about how many things of each task.
        seed: of what is chosen and derived.
        advance: called after each set of media, and each task.
    """
    sources = embed_sources(bot, data, items, seed, advance)
    found = {}
    for number, task in enumerate(TASKS):
        if all(name in sources for name in task.sources):
            rng = np.random.default_rng((seed, number))
            asked = _asked(bot, generator, task, sources, items, rng)
            if len(asked):
                found[task.name] = asked
            advance()
    return found


def embed_sources(
    bot: Assistant, data: Path, items: int, seed: int, advance: Callable[[], object] = lambda: None
) -> dict[str, Source]:
    """At most ``items`` media of each sense, embedded once, and as many texts."""
    model, settings = AssistantUnderTest(bot), settings_of(bot.processor.media)
    known = {sense.name for sense in SENSES}
    found: dict[str, Source] = {}

    for kind, concepts in (("digits", DIGITS), ("objects", OBJECTS)):
        for wordings in WORDINGS:
            texts, labels = said(wordings, [concept.id for concept in concepts], items, seed)
            found[_text(kind, wordings)] = Source(Modality.TEXT, texts, labels)
    world = World(data, "test", settings)
    films = 2 * min(items, _FILMS)
    encoder: Any = bot.model.encoder
    for sets in (picture_sets(world, items), other_sets(world, seed, None, items, films)):
        for raw in sets:
            if raw.name in known and raw.modality in encoder.modalities:
                some = _some(raw, items, seed)
                rows = model.embed(some.modality, some.tensors)
                found[some.name] = Source(some.modality, [Embedded(row) for row in rows], some.labels)
                advance()
    return found


def _some(raw: RawSet, items: int, seed: int) -> RawSet:
    """At most ``items`` of a set, at random."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(raw.labels))[:items]).tolist()
    return RawSet(raw.name, raw.modality, raw.labels[rows], [raw.tensors[row] for row in rows])


def _asked(
    bot: Assistant,
    generator: Generator,
    task: Task,
    sources: Mapping[str, Source],
    items: int,
    rng: np.random.Generator,
) -> Asked:
    """A wish for each thing (or pair of things) of a task."""
    first, *others = (sources[name] for name in task.sources)
    if not others:
        places: list[tuple[int, ...]] = [(row,) for row in range(len(first.labels))]
    else:
        places = _pairs(first.labels, others[0].labels, task.same, items, rng)
    parts = (first, *others)
    rows, labels = [], []
    for place in places:
        media = {source.modality.value: source.media[row] for source, row in zip(parts, place, strict=True)}
        embedding = make_wish(bot, media, generator).embedding
        assert embedding is not None, "the generator reads embeddings"
        rows.append(embedding)
        labels.append([int(source.labels[row]) for source, row in zip(parts, place, strict=True)])
    stacked = torch.stack(rows) if rows else torch.empty(0, bot.model.config.embedding_dim)
    return Asked(stacked, np.array(labels, np.int64).reshape(-1, len(parts)))


def _pairs(
    first: np.ndarray, second: np.ndarray, same: bool, count: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """At most ``count`` pairs of rows whose labels are the same, or differ."""
    pairs: list[tuple[int, ...]] = []
    for row in rng.permutation(np.resize(np.arange(len(first)), 10 * count)).tolist():
        partners = np.flatnonzero((second == first[row]) == same)
        if len(partners) and len(pairs) < count:
            pairs.append((row, int(rng.choice(partners))))
    return pairs
