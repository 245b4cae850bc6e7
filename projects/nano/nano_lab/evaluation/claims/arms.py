"""Questions beyond the standard ones: with the injection switched off, and about mixtures of every weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from imagebind_llm.evaluation.claims.mixtures import Outcome, crossing, curve, outcome
from imagebind_llm.evaluation.metrics import Score
from nano_lab.evaluation.model import ModelUnderTest, Question
from nano_lab.evaluation.run import MIXTURES, Caps
from nano_lab.evaluation.sets import EmbeddedSet
from nano_lab.evaluation.variants import (
    HEADLINE,
    about,
    chance,
    generator,
    naming_turn,
    naming_turns,
    paired_rows,
)
from nano_lab.grammar import is_nothing_given, judge, named
from nano_lab.world.concepts import CONCEPTS

CURVES: tuple[tuple[str, str, str], ...] = (
    ("picture and speech, different digits", "picture", "speech"),
    ("photograph and animal sound, different", "photograph", "sound"),
    ("depth and speech, different digits", "depth map", "speech"),
)
"""Standard mixtures of which the curve is drawn, and what their two things are called."""


def without_injection(
    model: ModelUnderTest, known: Mapping[str, EmbeddedSet], caps: Caps, seed: int
) -> list[dict[str, Any]]:
    """The questions of the shuffled control once more, with nothing injected: the plain language model.

    Returns:
        For each sense ``name``, ``chance``, ``right`` and ``said_nothing_given`` (scores).
    """
    rows = []
    for name, data in known.items():
        turns = naming_turns(seed, name, data.labels[: caps.shuffled], *HEADLINE)
        answers = model.answer([Question.about(turn, None) for turn in turns])
        rows.append(
            {
                "name": name,
                "chance": round(chance(data), 5),
                "right": Score.of(judge(a, t.about) for a, t in zip(answers, turns, strict=True)).to_dict(),
                "said_nothing_given": Score.of(map(is_nothing_given, answers)).to_dict(),
            }
        )
    return rows


def mixture_curves(
    model: ModelUnderTest, known: Mapping[str, EmbeddedSet], caps: Caps, seed: int
) -> list[dict[str, Any]]:
    """The pairs and questions of standard mixtures at weights from 0 to 1, without the cache.

    At 0.5 they are the standard mixtures, or (of the first) their first pairs.

    Returns:
        For each of :data:`CURVES` ``name``, ``first``, ``second``, ``points`` and ``crossing``.
    """
    found = []
    senses = {name: (first, second) for name, first, second, _ in MIXTURES}
    for number, (name, first, second) in enumerate(CURVES):
        one, other = (known.get(sense) for sense in senses[name])
        if one is None or other is None:
            continue
        count = caps.mixtures if number == 0 else max(2, caps.mixtures * 2 // 5)
        lefts, rights = paired_rows(name, one, other, False, seed, count)
        concepts = np.stack((one.labels[lefts], other.labels[rights]), 1)
        rng = generator(seed, "naming", name)
        turns = [naming_turn(rng, (int(a), int(b)), *HEADLINE) for a, b in concepts]
        most = max(2, caps.mixtures * 2 // 5)
        lefts, rights, concepts, turns = lefts[:most], rights[:most], concepts[:most], turns[:most]

        def ask(
            conditions: Tensor, turns: Sequence[Any] = turns, concepts: np.ndarray = concepts
        ) -> list[Outcome]:
            answers = model.answer(about(list(turns), conditions))
            return [
                outcome(named(answer), _key(a), _key(b))
                for answer, (a, b) in zip(answers, concepts.tolist(), strict=True)
            ]

        points = curve(one.plain[lefts], other.plain[rights], ask)
        where = crossing(points)
        found.append(
            {
                "name": name,
                "first": first,
                "second": second,
                "points": [point.to_dict() for point in points],
                "crossing": None if where is None else round(where, 3),
            }
        )
    return found


def _key(concept: int) -> str:
    """How :func:`nano_lab.grammar.named` calls a concept."""
    return f"{'num' if CONCEPTS[concept].kind == 'digit' else 'obj'}:{concept}"
