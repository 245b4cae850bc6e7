"""Drawings, judged: right, and right by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.skills.generation.contract import Generator, Pictures, Settings, Wish
from nano_lab.imagined.judge import Judge, judged

DRAWS = 1000
"""Of the bootstrap."""


@dataclass(frozen=True)
class Asked:
    """What is to be drawn: unit ``embeddings [n, D]`` and the ``labels [n]`` that are right."""

    embeddings: Tensor
    labels: np.ndarray


def measure(
    asked: Asked,
    generator: Generator,
    judge: Judge,
    settings: Settings,
    others: Sequence[int] = (),
) -> tuple[dict[str, Any], np.ndarray]:
    """How often the judge sees in a drawing what was asked for, and in those of the control arm.

    In the control arm the embeddings are exchanged among the things, so whatever the drawings show, it has
    nothing to do with what was asked for: right by chance, ``Σ share(label)²``.

    Args:
        asked: what to draw, once each.
        generator: draws.
        judge: of :func:`train_judge`.
        settings: of the drawing; ``count`` 1.
        others: seeds, beside the settings' own, that the control arm is repeated with.

    Returns:
        ``n``, ``right``, ``interval`` (95 %, bootstrap over things), ``shuffled`` likewise, ``chance``; and
        the drawings uint8 ``[n, H, W, 3]``.

    Raises:
        UserError: nothing is asked for.
    """
    if not len(asked.labels):
        raise UserError("there is nothing to draw; the data hold none of these")
    wishes = [Wish(row) for row in asked.embeddings]
    made = generator.make("picture", wishes, settings)
    assert isinstance(made, Pictures), "pictures were asked for"
    seen = judged(judge, made.pixels)
    right = seen == asked.labels
    exchanged = [
        seen[np.random.default_rng(seed).permutation(len(seen))] == asked.labels
        for seed in (settings.seed, *others)
    ]
    shares = np.unique(asked.labels, return_counts=True)[1] / len(asked.labels)
    return {
        "n": len(right),
        "right": float(right.mean()),
        "interval": interval(right, settings.seed),
        "shuffled": float(np.mean(exchanged)),
        "shuffled_interval": interval(np.mean(exchanged, axis=0), settings.seed),
        "chance": float((shares**2).sum()),
    }, made.pixels


def interval(outcomes: np.ndarray, seed: int) -> list[float]:
    """The middle 95 % of the means of draws with replacement (Efron's bootstrap)."""
    rng = np.random.default_rng(seed)
    means = [rng.choice(outcomes, len(outcomes)).mean() for _ in range(DRAWS)]
    return [float(edge) for edge in np.quantile(means, (0.025, 0.975))]
