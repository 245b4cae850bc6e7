"""What is asked of every variant: the same questions about the same media, embedded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from imagebind_llm.inference.assistant import Assistant
from nano_lab.evaluation.model import AssistantUnderTest
from nano_lab.evaluation.sets import UNKNOWN_SUFFIX, RawSet, other_sets, picture_sets, settings_of
from nano_lab.evaluation.variants import HEADLINE, about, generator, naming_turns, text_variants
from nano_lab.grammar import Turn, correct, judge, media_sample
from nano_lab.world.senses import World

PICTURES = ("handwriting", "photographs")
"""Sets of the modality that training used; all others are zero-shot."""
_CAPTIONS = ("caption_image", "caption")
_ENCODED_AT_ONCE = 64


@dataclass(frozen=True)
class Probe:
    """One test set: conditions ``[n, D]`` (``[n, 1 + G, D]``) and a question about each that the variant has
    learnt to answer."""

    name: str
    conditions: Tensor
    captions: list[Turn]
    naming: list[Turn]


def read_sets(data: Path, assistant: Assistant, items: int, seed: int) -> list[RawSet]:
    """Test media of every sense, at most ``items`` of each, as tensors."""
    world = World(data, "test", settings_of(assistant.processor.media))
    found = [*picture_sets(world, items), *other_sets(world, seed, items, items, items)]
    return [raw for raw in found if not raw.name.endswith(UNKNOWN_SUFFIX)]


def make_probes(sets: Sequence[RawSet], assistant: Assistant, seed: int) -> list[Probe]:
    """Embed the sets with an assistant's encoder, and draw the questions (unseen phrasings, English)."""
    model = AssistantUnderTest(assistant, _ENCODED_AT_ONCE)
    probes = []
    for raw in sets:
        rng = generator(seed, "caption", raw.name)
        kinds = [_CAPTIONS[int(rng.integers(len(_CAPTIONS)))] for _ in raw.labels]
        captions = [
            media_sample(rng, (int(label),), HEADLINE[1], HEADLINE[0], kind, 0).turns[0]
            for label, kind in zip(raw.labels, kinds, strict=True)
        ]
        naming = naming_turns(seed, raw.name, raw.labels, *HEADLINE)
        probes.append(Probe(raw.name, model.conditions(raw.modality, raw.tensors), captions, naming))
    return probes


Outcomes = dict[str, list[bool]]
"""For each set, whether each answer is right."""


def ask_media(assistant: Assistant, probes: Sequence[Probe], naming: bool) -> Outcomes:
    """Answers about every probe: right is what names the true thing and no other."""
    model = AssistantUnderTest(assistant, _ENCODED_AT_ONCE)
    questions = [q for p in probes for q in about(p.naming if naming else p.captions, p.conditions)]
    answers = model.answer(questions)
    found: Outcomes = {}
    for probe in probes:
        own, answers = answers[: len(probe.naming)], answers[len(probe.naming) :]
        turns = probe.naming if naming else probe.captions
        found[probe.name] = [judge(text, turn.about) for text, turn in zip(own, turns, strict=True)]
    return found


def ask_text(assistant: Assistant, items: int, seed: int) -> list[bool]:
    """Questions without media (facts, and perceptions stated in words, English and Chinese)."""
    model = AssistantUnderTest(assistant, _ENCODED_AT_ONCE)
    variants = [
        variant for variant in text_variants(seed, items) if not variant.name.startswith("text/nothing")
    ]
    questions = [question for variant in variants for question in variant.questions]
    answers = model.answer(questions)
    return [correct(question.turn, text) for question, text in zip(questions, answers, strict=True)]


def with_cache(
    assistant: Assistant, probes: Sequence[Probe], settings: Mapping[str, float] | None
) -> list[Probe]:
    """The probes moved towards the assistant's cached pictures; unchanged without settings.

    Every set is moved, pictures too, so that all of them show what the cache does.
    """
    if settings is None:
        return list(probes)
    cache = assistant.cache
    assert cache is not None, "there is no cache"
    options = {**settings, "k": min(int(settings["k"]), cache.size)}
    return [
        Probe(probe.name, cache.enhance(probe.conditions, **options), probe.captions, probe.naming)  # type: ignore[arg-type]
        for probe in probes
    ]


def split(outcomes: Outcomes) -> tuple[list[bool], list[bool]]:
    """All outcomes of pictures, and all of the other senses."""
    seen = [outcome for name in outcomes if name in PICTURES for outcome in outcomes[name]]
    rest = [outcome for name in outcomes if name not in PICTURES for outcome in outcomes[name]]
    return seen, rest
