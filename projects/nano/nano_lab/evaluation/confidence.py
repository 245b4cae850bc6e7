"""How sure a model is of its own answers, and what a threshold on that would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from imagebind_llm.data.packing import Example, pack
from imagebind_llm.model.dialog import build_dialog
from nano_lab.evaluation.model import AssistantUnderTest, Question

_AT_ONCE = 64
THRESHOLDS: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Of the confidence below which a name would be withdrawn."""


@torch.no_grad()
def confidences(
    model: AssistantUnderTest, questions: Sequence[Question], answers: Sequence[str]
) -> np.ndarray:
    """The probability that the model gives to each whole answer, 0..1, float64 ``[n]``.

    Nano says each thing in one wording, so that of all its answers one is about as probable as the model is
    sure. A model that can say the same in many ways is surer than this number.
    """
    bot: Any = model.bot
    tokenizer = bot.processor.tokenizer
    sure = np.zeros(len(questions))
    for start in range(0, len(questions), _AT_ONCE):
        part = range(start, min(start + _AT_ONCE, len(questions)))
        examples = []
        for number in part:
            question = questions[number]
            said = [*question.messages, {"role": "assistant", "content": answers[number]}]
            dialog = build_dialog(said, tokenizer)
            asked = len(build_dialog(question.messages, tokenizer, add_generation_prompt=True))
            mask = [place >= asked for place in range(len(dialog))]
            examples.append(Example(dialog.input_ids, mask, dialog.condition_ids, question.conditions))
        batch = pack(examples, max(len(example) for example in examples), tokenizer.pad_token_id or 0)
        logits = bot.model(
            input_ids=batch.input_ids.to(bot.model.device),
            position_ids=batch.position_ids.to(bot.model.device),
            conditions=None if batch.conditions is None else batch.conditions.to(bot.model.device),
            condition_ids=batch.condition_ids.to(bot.model.device),
            use_cache=False,
        ).logits.float()
        labels = batch.labels[:, 1:]
        learnt = labels != -100
        chosen = F.log_softmax(logits[:, :-1].cpu(), -1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
        owner = batch.segment_ids[:, 1:][learnt]
        total = torch.zeros(len(examples), dtype=torch.float64)
        total.index_add_(0, owner, chosen[learnt].double())
        sure[start : start + len(examples)] = total.exp().numpy()
    return sure


@dataclass(frozen=True)
class Judged:
    """Answers about one set: ``right`` names, ``doubted`` at once, and how sure each answer was, ``[n]``
    each."""

    right: np.ndarray
    doubted: np.ndarray
    sure: np.ndarray


def curve(known: Judged, unknown: Judged, thresholds: Sequence[float] = THRESHOLDS) -> list[dict[str, float]]:
    """What a threshold does: names below it count as doubt.

    Returns:
        For each threshold the shares of known things named rightly, named wrongly and doubted, and of
        unknown things that are doubted.
    """
    rows = []
    for threshold in thresholds:
        silent = known.doubted | (known.sure < threshold)
        rows.append(
            {
                "threshold": float(threshold),
                "known_right": float((known.right & ~silent).mean()),
                "known_wrong": float((~known.right & ~silent).mean()),
                "known_doubted": float(silent.mean()),
                "unknown_doubted": float((unknown.doubted | (unknown.sure < threshold)).mean()),
            }
        )
    return rows


def separation(known: Judged, unknown: Judged) -> float:
    """Chance that a known thing, rather than an unknown one, is the surer named of the two (0.5: by luck)."""
    first = np.where(known.doubted, 0.0, known.sure)[:, None]
    second = np.where(unknown.doubted, 0.0, unknown.sure)[None, :]
    return float(((first > second) + 0.5 * (first == second)).mean())
