"""Questions about boxes: "what is in box 2?"."""

import re
from typing import Any

import numpy as np

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.inference.request import Answer
from imagebind_llm.skills.detection.boxes import cut, squared
from imagebind_llm.skills.detection.results import Detections

_NAMED = re.compile(r"\b(?:box|number|no\.?)\s*#?\s*(\d+)\b|#(\d+)\b", re.IGNORECASE)
_MOST_DIGITS = 9
"""Of the number of a box; what follows is cut off, as no picture has so many boxes."""


def ask_box(
    bot: Assistant, detections: Detections, question: str, number: int | None = None, **options: Any
) -> Answer:
    """Ask the assistant about what is in one box.

    Args:
        bot: who answers.
        detections: with the picture.
        question: "What is this?", or one that names the box: "What is in box 2?". Then the model is asked
            about "the picture" instead, as it sees nothing else.
        number: of the box; None: the one that the question names, or the only one.
        options: fields of :class:`~imagebind_llm.inference.request.Options`.

    Raises:
        UserError: there is no such box, or it is not said which.
    """
    named = _NAMED.search(question)
    if number is None and named is not None:
        digits = named[1] or named[2]
        number = int(digits[:_MOST_DIGITS])
        question = f"{question[: named.start()]}the picture{question[named.end() :]}"
    if number is None and len(detections) == 1:
        number = 1
    if number is None:
        raise UserError(f"which of {len(detections)} boxes is meant? name one, as in 'What is in box 1?'")
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(detections):
        there = f"boxes 1 to {len(detections)}" if len(detections) else "no boxes"
        raise UserError(f"box {short(number)} is asked for, and there are {there}")
    one = detections[number - 1]
    shown = cut(detections.picture, squared(np.array(one.box), one.margin))
    return bot.ask(question, image=shown, **options)
