"""Whether the confidences of answers can be read as probabilities of being right.

A model is calibrated where, of the answers with a confidence of 0.8, eight in ten are right. The expected
calibration error (ECE, Naeini et al. 2015) is the mean distance between the two over bins. The bins hold
equally many answers here (Nixon et al. 2019), as most confidences are close to 1.

:func:`fit_temperature` finds the ``confidence_temperature`` of a model's configuration on questions whose
answers are known (temperature scaling, Guo et al. 2017). Measure on others than those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imagebind_llm.evaluation.bootstrap import DRAWS
from imagebind_llm.evaluation.metrics import wilson
from imagebind_llm.evaluation.suite import Floats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imagebind_llm.inference.assistant import Assistant

BINS = 10
LEAST = 20
"""Answers below which nothing is said of calibration."""
TEMPERATURES = (0.05, 20.0)
"""Between which :func:`fit_temperature` looks."""
_GRID = 41
_REFINED = 40
"""Steps of the golden section: the place is then known to one part in a million."""
_NEAREST = 1e-9
"""How near to 0 and 1 a probability may come in a logarithm."""


@dataclass(frozen=True)
class Bin:
    """Answers of about the same confidence.

    Attributes:
        n: how many.
        confidence: their mean confidence.
        right: the share of right ones.
        low: 95 % interval of that share (Wilson's).
        high: its other end.
    """

    n: int
    confidence: float
    right: float
    low: float
    high: float


def reliability(confidences: Floats, right: Floats, bins: int = BINS) -> list[Bin]:
    """The reliability table: bins of equally many answers (one more or less), the least sure first.

    Args:
        confidences: ``[n]``, 0 … 1.
        right: ``[n]``, 1 for a right answer, else 0.
        bins: how many; no more than answers.
    """
    order = np.argsort(confidences, kind="stable")
    found = []
    for rows in np.array_split(order, min(bins, len(order))):
        count = int(right[rows].sum())
        low, high = wilson(count, len(rows))
        found.append(Bin(len(rows), float(confidences[rows].mean()), count / len(rows), low, high))
    return found


def calibration_error(confidences: Floats, right: Floats, bins: int = BINS) -> float:
    """The expected calibration error, 0 … 1, over bins of equally many answers. See :func:`reliability`."""
    table = reliability(confidences, right, bins)
    return sum(one.n * abs(one.confidence - one.right) for one in table) / len(right)


def separation(confidences: Floats, right: Floats) -> float | None:
    """How often a right answer is surer than a wrong one, ties counting half: the area under the ROC curve.

    None if there are no right answers, or no wrong ones.
    """
    _, place, counts = np.unique(confidences, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    good = right > 0
    n, m = int(good.sum()), int((~good).sum())
    return float((ranks[good].sum() - n * (n + 1) / 2) / (n * m)) if n and m else None


def calibration(
    confidences: Sequence[float], right: Sequence[float], units: Sequence[str], seed: int = 0
) -> dict[str, Any] | None:
    """What results say of calibration; None below :data:`LEAST` answers.

    The interval of the error comes from draws of whole units. An error measured on few answers is too large,
    and that of a draw of them larger still, so the interval is the basic one: the draws mirrored at the
    error, at least 0 (Davison and Hinkley 1997, section 5.2).

    Args:
        confidences: ``[n]``, 0 … 1.
        right: ``[n]``, 1 for a right answer, else 0.
        units: ``[n]``; answers of one unit are drawn together.
        seed: of the draws.

    Returns:
        Plain values: ``n``, ``confidence`` (the mean), ``right`` (the share), ``error`` (``value``, ``low``,
        ``high``), ``separation`` (:func:`separation`), ``bins`` (:class:`Bin` as mappings).
    """
    if len(confidences) < LEAST:
        return None
    sure, good = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    error = calibration_error(sure, good)
    low, high = np.quantile(_drawn_errors(sure, good, units, seed), [0.025, 0.975])
    found = separation(sure, good)
    return {
        "n": len(sure),
        "confidence": round(float(sure.mean()), 5),
        "right": round(float(good.mean()), 5),
        "error": {
            "value": round(error, 5),
            "low": round(max(0.0, 2 * error - float(high)), 5),
            "high": round(min(1.0, max(0.0, 2 * error - float(low))), 5),
        },
        "separation": None if found is None else round(found, 5),
        "bins": [
            {name: value if name == "n" else round(value, 5) for name, value in asdict(one).items()}
            for one in reliability(sure, good)
        ],
    }


def _drawn_errors(confidences: Floats, right: Floats, units: Sequence[str], seed: int) -> Floats:
    """The calibration errors ``[DRAWS]`` of units drawn with replacement."""
    order = np.argsort(confidences, kind="stable")
    names, unit = np.unique(np.asarray(units), return_inverse=True)
    gap = (confidences - right)[order]
    generator = np.random.default_rng(seed)
    found = np.empty(DRAWS)
    for number in range(DRAWS):
        times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)))
        weights = times[unit][order].astype(np.float64)
        middle = (np.cumsum(weights) - weights / 2) / weights.sum()
        places = np.minimum((middle * BINS).astype(np.intp), BINS - 1)
        found[number] = np.abs(np.bincount(places, weights * gap, BINS)).sum() / weights.sum()
    return found


@dataclass(frozen=True)
class AnswerLogits:
    """What an answer was chosen from.

    Attributes:
        text: the answer.
        tokens: its token ids ``[T]``, the end token included.
        logits: ``[T, V]`` float32, before any temperature.
    """

    text: str
    tokens: Sequence[int]
    logits: Floats

    def confidence(self, temperature: float = 1.0) -> float:
        """The confidence of the answer with its logits divided by ``temperature``, 0 … 1."""
        scaled = np.asarray(self.logits, np.float64) / temperature
        top = scaled.max(-1, keepdims=True)
        sums = np.log(np.exp(scaled - top).sum(-1)) + top[:, 0]
        return float(np.exp((scaled[np.arange(len(self.tokens)), list(self.tokens)] - sums).sum()))


def answer_logits(assistant: Assistant, request: Mapping[str, Any]) -> AnswerLogits:
    """Ask, and keep the logits of every token of the answer (4 bytes for each word of the vocabulary).

    Raises:
        UserError: as :meth:`~imagebind_llm.inference.assistant.Assistant.ask`.
    """
    import torch

    from imagebind_llm.inference.perception import raised

    pipeline, model = assistant.pipeline, assistant.model
    prepared = pipeline.prepare(request)
    conditions = raised(pipeline.perception.finish_conditions([prepared.conditions])[0])
    asked = pipeline.token_request(prepared, conditions, reuse=False)
    ids = raised(pipeline.driver.complete([asked])[0]).ids
    given: dict[str, Any] = {}
    if asked.conditions is not None and asked.condition_ids is not None:
        seen = [*asked.condition_ids, *[asked.condition_ids[-1]] * (len(ids) - 1)]
        given = {
            "conditions": asked.conditions.to(model.device),
            "condition_ids": torch.tensor([seen], device=model.device),
        }
    whole = torch.tensor([[*asked.input_ids, *ids[:-1]]], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=whole, logits_to_keep=len(ids), **given).logits[0]
    text = pipeline.processor.decode(ids, skip_special_tokens=True).strip()
    return AnswerLogits(text, ids, logits.float().cpu().numpy())


def fit_temperature(answers: Sequence[AnswerLogits], right: Sequence[bool]) -> float:
    """The temperature at which the confidences say best which answers are right.

    It has the smallest negative log-likelihood of right and wrong, each confidence being taken for the
    probability of being right; between the ends of :data:`TEMPERATURES`. Where all answers are right, or all
    wrong, it is at an end, which says that there is too little to fit it on.

    Args:
        answers: to questions that are not used for measuring.
        right: whether each is right.

    Raises:
        ValueError: other numbers of answers and outcomes, or none.
    """
    if len(answers) != len(right) or not answers:
        raise ValueError(f"{len(answers)} answers and {len(right)} outcomes; expected as many, at least one")
    outcomes = np.asarray(right, np.float64)

    def loss(logarithm: float) -> float:
        sure = np.array([one.confidence(float(np.exp(logarithm))) for one in answers])
        sure = np.clip(sure, _NEAREST, 1 - _NEAREST)
        return float(-(outcomes * np.log(sure) + (1 - outcomes) * np.log1p(-sure)).mean())

    grid = np.linspace(np.log(TEMPERATURES[0]), np.log(TEMPERATURES[1]), _GRID)
    best = int(np.argmin([loss(place) for place in grid]))
    low, high = float(grid[max(0, best - 1)]), float(grid[min(_GRID - 1, best + 1)])
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(_REFINED):
        first, second = high - golden * (high - low), low + golden * (high - low)
        if loss(first) < loss(second):
            high = second
        else:
            low = first
    return float(np.exp((low + high) / 2))
