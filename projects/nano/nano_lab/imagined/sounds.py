"""Sounds that the generator looks up: whether they are of the thing that was asked for, and whether what has
no sound is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from imagebind_llm.evaluation.metrics import Score
from imagebind_llm.skills.generation.bank import SoundBank
from nano_lab.imagined.measure import Asked, score
from nano_lab.imagined.tasks import TASKS
from nano_lab.world.concepts import UNCLEAR, concept_named


def looked_up(bank: SoundBank, asked: Mapping[str, Asked], seed: int) -> list[dict[str, Any]]:
    """For each task of one medium: how often the nearest name is that of the thing (a refusal is wrong), and
    how often things without a sound are refused.

    Args:
        bank: the sounds; their names are things of nano's.
        asked: embeddings and labels by the task's name.
        seed: of the control arm.
    """
    things = np.array([concept_named(name).id for name in bank.names])
    found = []
    for task in TASKS:
        if task.kind == "mixture" or task.name not in asked:
            continue
        one = asked[task.name]
        near = [bank.near(row) for row in one.embeddings]
        heard = np.array([things[places[0]] if places else UNCLEAR for places in near])
        known = np.isin(one.labels[:, 0], things)
        if not known.any():
            continue
        found.append(
            {
                "name": f"sounds: {task.name}",
                "refused": int((heard[known] == UNCLEAR).sum()),
                **score(one.labels[known], heard[known], seed),
                "without": None if known.all() else Score.of(heard[~known] == UNCLEAR).to_dict(),
            }
        )
    return found
