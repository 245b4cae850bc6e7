"""Dialogs of several turns, answered one after another with the model's own earlier answers in them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.model.dialog import Message
from nano_lab.evaluation.model import Question, user
from nano_lab.evaluation.sets import EmbeddedSet
from nano_lab.evaluation.variants import generator
from nano_lab.grammar import LANGUAGES, Sample, correct, media_sample

PLACES = ("first turn", "later, about the same media", "later, with new media")

Answer = Callable[[list[Question]], list[str]]


@dataclass
class _Talk:
    sample: Sample
    rows: list[Tensor | None]
    """For each turn the condition that comes with it, if any."""
    messages: list[Message] = field(default_factory=list)
    given: list[Tensor] = field(default_factory=list)


def follow_up_outcomes(
    known: Mapping[str, EmbeddedSet],
    unknown: Mapping[str, EmbeddedSet],
    answer: Answer,
    seed: int,
    count: int,
) -> dict[str, list[bool]]:
    """Hold ``count`` dialogs of up to three turns, half of them Chinese, about items of all senses.

    Returns:
        For each of :data:`PLACES` that occurs, whether the answers there were right.
    """
    talks = _draw_talks(known, unknown, seed, count)
    outcomes: dict[str, list[bool]] = {}
    for number in range(max(len(talk.sample.turns) for talk in talks)):
        going = [talk for talk in talks if number < len(talk.sample.turns)]
        questions = []
        for talk in going:
            turn, row = talk.sample.turns[number], talk.rows[number]
            if row is not None:
                talk.given.append(row)
            talk.messages.append(user(turn.question, row is not None))
            conditions = torch.stack(talk.given) if talk.given else None
            questions.append(Question(turn, tuple(talk.messages), conditions))
        for talk, question, text in zip(going, questions, answer(questions), strict=True):
            talk.messages.append({"role": "assistant", "content": text})
            if question.turn.truth == "free":
                continue  # small talk has no right answer
            new = talk.rows[number] is not None
            place = PLACES[0] if len(talk.given) == 1 and new else PLACES[2 if new else 1]
            outcomes.setdefault(place, []).append(correct(question.turn, text))
    return {place: outcomes[place] for place in PLACES if place in outcomes}


def _draw_talks(
    known: Mapping[str, EmbeddedSet], unknown: Mapping[str, EmbeddedSet], seed: int, count: int
) -> list[_Talk]:
    rng = generator(seed, "follow-ups")
    sets, unclear = list(known.values()), list(unknown.values())
    talks: list[_Talk] = []
    for number in itertools.count():
        if len(talks) == count:
            break
        data = sets[number % len(sets)]
        row = int(rng.integers(len(data)))
        language = LANGUAGES[number // len(sets) % 2]
        label = int(data.labels[row])
        sample = media_sample(rng, (label,), "heldout", language, follow_ups=1 + number % 2)
        rows: list[Tensor | None] = []
        first = True
        for turn in sample.turns:
            if turn.concepts is None:
                rows.append(None)
            elif first:
                rows.append(data.conditions()[row])
                first = False
            else:
                found = _showing(rng, turn.concepts[0], [data, *sets, *unclear])
                if found is None:  # no set at hand shows it: talk about something else
                    break
                rows.append(found)
        else:
            talks.append(_Talk(sample, rows))
    return talks


def _showing(rng: np.random.Generator, label: int, sets: list[EmbeddedSet]) -> Tensor | None:
    """A condition that shows ``label``, from the first set that has one."""
    for data in sets:
        rows = np.flatnonzero(data.labels == label)
        if len(rows):
            return data.conditions()[int(rng.choice(rows))]
    return None
