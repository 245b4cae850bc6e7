"""The standard evaluation of nano: every sense, cache on and off, languages, phrasings, mixtures, controls.

The language model was trained on image-text pairs only, so every number of another sense is zero-shot. Media
are embedded once; all questions are then asked about embeddings, in batches.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.provenance import environment, model_facts
from imagebind_llm.inference.assistant import Assistant
from nano_lab.evaluation import summary
from nano_lab.evaluation import variants as asking
from nano_lab.evaluation.followups import follow_up_outcomes
from nano_lab.evaluation.model import NEW_TOKENS, AssistantUnderTest, ModelUnderTest, Question
from nano_lab.evaluation.out_of_distribution import out_of_distribution_sets
from nano_lab.evaluation.reference import ClassMeans, means_from_cache, means_from_pictures
from nano_lab.evaluation.sets import (
    SENSES,
    EmbeddedSet,
    embed_set,
    other_sets,
    picture_sets,
    settings_of,
)
from nano_lab.world.senses import World

SCHEMA = 1
"""Of the results file; a reader refuses another."""

_ASKED_AT_ONCE = 1024


@dataclass(frozen=True)
class Caps:
    """How many items at most: of a picture set, of recordings and shapes (None: all), of a derived set, of
    films; and of the items or questions of the smaller variants."""

    pictures: int = 2000
    recordings: int | None = None
    derived: int = 500
    films: int = 300
    wordings: int = 200
    shuffled: int = 500
    kinds: int = 120
    mixtures: int = 500
    dialogs: int = 300
    text: int = 150
    strange: int = 30

    @staticmethod
    def of(items: int | None) -> Caps:
        """The standard caps, or ``items`` of each sense, with the smaller variants shrunk if need be.

        Raises:
            UserError: fewer than 2 items.
        """
        caps = Caps()
        if items is None:
            return caps
        if items < 2:
            raise UserError(f"{items} items of each sense; expected at least 2")
        smaller = {
            name: min(getattr(caps, name), items)
            for name in ("wordings", "shuffled", "kinds", "mixtures", "dialogs", "text", "strange")
        }
        return replace(caps, pictures=items, recordings=items, derived=items, films=2 * items, **smaller)


@dataclass(frozen=True)
class Material:
    """Embedded test sets by name, far-off sets by name, and the class means of training pictures."""

    known: Mapping[str, EmbeddedSet]
    unknown: Mapping[str, EmbeddedSet]
    means: ClassMeans


class Clock:
    """Seconds spent in named parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside as that of ``name``."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 2)


def evaluate_nano(
    bot: Assistant,
    data: Path,
    *,
    model_name: str = "nano",
    folder: Path | None = None,
    seed: int = 0,
    items: int | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> dict[str, Any]:
    """Run the standard evaluation.

    Args:
        bot: the model, with its cache if it has one.
        data: folder with mnist, cifar10, fsdd, animals, animals_extra and shapes.
        model_name: how the model was called, for the record.
        folder: where its weights lie, to record their digest.
        seed: of the questions, derivations and pairings.
        items: most items of each sense (None: :class:`Caps`).
        batch_size: questions answered at once.
        progress: show progress bars on a terminal.

    Returns:
        Plain values for JSON; see :mod:`nano_lab.evaluation.summary`.

    Raises:
        UserError: the data or the model cannot be used.
    """
    caps, clock = Caps.of(items), Clock()
    model = AssistantUnderTest(bot, batch_size)
    material = gather(model, bot, Path(data), caps, seed, clock, progress)
    parts = ask_everything(model, material, caps, seed, clock, progress)
    results = whole_results(bot, parts, caps, model_name, folder, seed, batch_size)
    return {**results, "seconds": clock.seconds}


def whole_results(
    bot: Assistant,
    parts: Mapping[str, Any],
    caps: Caps,
    model_name: str,
    folder: Path | None,
    seed: int,
    batch_size: int,
) -> dict[str, Any]:
    """What :func:`ask_everything` found, with the facts of the model, the environment and the settings."""
    return {
        "schema": SCHEMA,
        "task": "nano",
        "model": model_facts(bot, model_name, folder),
        "environment": environment(),
        "settings": {
            "seed": seed,
            "caps": asdict(caps),
            "batch_size": batch_size,
            "max_new_tokens": NEW_TOKENS,
            "decoding": "greedy",
            "headline": {"language": asking.HEADLINE[0], "phrasings": asking.HEADLINE[1]},
        },
        **parts,
    }


def gather(
    model: ModelUnderTest, bot: Assistant, data: Path, caps: Caps, seed: int, clock: Clock, progress: bool
) -> Material:
    """Make, embed and enhance all test sets, each once."""
    from tqdm import tqdm

    world = World(data, "test", settings_of(bot.processor.media))
    known: dict[str, EmbeddedSet] = {}
    unknown: dict[str, EmbeddedSet] = {}
    names = {sense.name for sense in SENSES}
    with clock.part("class means"):
        cache = bot.cache
        if (data / "mnist" / "train.parquet").is_file() or cache is None:
            means = means_from_pictures(model, data, world.settings)
        else:
            means = means_from_cache(cache)
    with clock.part("test sets"), tqdm(unit="set", desc="embed", disable=None if progress else True) as bar:
        for source in (
            picture_sets(world, caps.pictures),
            other_sets(world, seed, caps.recordings, caps.derived, caps.films),
            out_of_distribution_sets(world, seed, caps.strange),
        ):
            for raw in source:
                bar.set_postfix_str(raw.name)
                (known if raw.name in names else unknown)[raw.name] = embed_set(model, raw)
                bar.update()
    return Material(
        {sense.name: known[sense.name] for sense in SENSES if sense.name in known}, unknown, means
    )


def ask_everything(
    model: ModelUnderTest, material: Material, caps: Caps, seed: int, clock: Clock, progress: bool
) -> dict[str, Any]:
    """Ask all variants and sum up; see :mod:`nano_lab.evaluation.summary` for the parts."""
    from tqdm import tqdm

    known, unknown = material.known, material.unknown
    mixed = [found for found in _mixtures(model, known, caps, seed) if found is not None]
    plan = list(_plan(known, unknown, mixed, caps, seed))
    total = sum(len(variant.questions) for variant in plan)
    answers: dict[str, list[str]] = {}
    with tqdm(total=total, unit="question", desc="ask", disable=None if progress else True) as bar:

        def answer(questions: list[Question]) -> list[str]:
            found: list[str] = []
            for start in range(0, len(questions), _ASKED_AT_ONCE):
                part = questions[start : start + _ASKED_AT_ONCE]
                found += model.answer(part)
                bar.update(len(part))
            return found

        with clock.part("single questions"):
            found = answer([question for variant in plan for question in variant.questions])
        for variant in plan:
            answers[variant.name], found = found[: len(variant.questions)], found[len(variant.questions) :]
        with clock.part("dialogs"):
            dialogs = follow_up_outcomes(known, unknown, answer, seed, caps.dialogs)
    asked = summary.Asked({variant.name: variant for variant in plan}, answers)
    return summary.summarise(asked, known, unknown, mixed, material.means, dialogs)


def _plan(
    known: Mapping[str, EmbeddedSet],
    unknown: Mapping[str, EmbeddedSet],
    mixed: list[asking.Mixtures],
    caps: Caps,
    seed: int,
) -> Iterator[asking.Variant]:
    for data in known.values():
        yield from asking.naming_variants(data, "sense", seed)
        yield from asking.wording_variants(data, seed, caps.wordings)
        yield from asking.control_variants(data, seed, caps.shuffled)
    for data in unknown.values():
        yield from asking.naming_variants(data, "strange", seed)
    for pairs in mixed:
        yield from asking.mixture_variants(pairs, seed)
    yield from asking.kind_variants(known, seed, caps.kinds)
    yield from asking.text_variants(seed, caps.text)


MIXTURES: tuple[tuple[str, str, str, bool], ...] = (
    ("picture and speech, different digits", "handwriting", "spoken digits", False),
    ("picture and speech, the same digit", "handwriting", "spoken digits", True),
    ("two pictures, different digits", "handwriting", "handwriting", False),
    ("photograph and animal sound, different", "photographs", "animal sounds", False),
    ("depth and speech, different digits", "depth digits", "spoken digits", False),
)
"""Name, two senses, and whether both show the same thing. The third is what training looked like."""


def _mixtures(
    model: ModelUnderTest, known: Mapping[str, EmbeddedSet], caps: Caps, seed: int
) -> Iterator[asking.Mixtures | None]:
    for number, (name, first, second, same) in enumerate(MIXTURES):
        if first in known and second in known:
            count = caps.mixtures if number == 0 else max(2, caps.mixtures * 2 // 5)
            yield asking.mixtures(model, name, known[first], known[second], same, seed, count)
