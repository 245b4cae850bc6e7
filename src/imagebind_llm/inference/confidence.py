"""How sure a model is of what it wrote.

The confidence of an answer is the probability that the model writes exactly this answer (its end included)
when every token is sampled at temperature 1: the product of the probabilities of its tokens. It says nothing
about how the answer was chosen: temperature, top-p, the repetition penalty and what else is being written do
not change it. It falls with the length of an answer, as there are more ways to say the same.

It is a probability of words, not of being right. Whether it can be read as one is a matter of measuring: see
:mod:`imagebind_llm.evaluation.calibration`. A model's ``confidence_temperature``, which was fitted on
questions whose answers are known, divides the logits first.
"""

import math
from collections.abc import Sequence


def confidence_of(logprobs: Sequence[float | None]) -> float | None:
    """The confidence, 0 … 1, of an answer whose tokens have these natural logarithms of probabilities.

    None if there is no token, or one whose probability is not known.
    """
    known = [value for value in logprobs if value is not None and not math.isnan(value)]
    if not known or len(known) < len(logprobs):
        return None
    return min(1.0, math.exp(math.fsum(known)))


def rounded(confidence: float) -> float:
    """``confidence`` to four digits that count, as it is written into JSON; a small one does not become 0."""
    return float(f"{confidence:.4g}")
