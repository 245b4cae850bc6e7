"""Suites of embeddings: media compared with one mean for each label, and media that are only embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from imagebind_llm.evaluation.suite import Answer, Floats, Item, Sample, ratio
from mini_lab.measures.context import Listed


class NearestMean(Listed):
    """Media whose embedding is compared with one row for each label.

    Args:
        name: of the suite.
        items: expected is the label.
        means: label → unit row ``[D]``. A label without one is never right.
    """

    asks = "embeddings"
    main = "right"

    def __init__(self, name: str, items: Sequence[Item], means: Mapping[str, Floats]) -> None:
        super().__init__(name, items)
        self._labels, self._rows = list(means), np.stack(list(means.values()))

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        samples = []
        for item, answer in zip(items, answers, strict=True):
            nearest = None
            if answer is not None and not isinstance(answer, str):
                nearest = self._labels[int(np.argmax(self._rows @ answer))]
            right = nearest == item.expected
            samples.append(Sample({"n": 1, "right": right}, nearest, float(right)))
        return samples

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        return {"right": ratio(sums.get("right", 0.0), sums["n"])}


def unit_means(rows: Floats, labels: Sequence[str]) -> dict[str, Floats]:
    """Label → the mean of its rows ``[n, D]``, scaled to length 1."""
    found = {}
    for label in dict.fromkeys(labels):
        mean = rows[[number for number, one in enumerate(labels) if one == label]].mean(axis=0)
        found[label] = mean / np.linalg.norm(mean)
    return found


class Rows(Listed):
    """Media that are embedded and kept; there is nothing to be right about."""

    asks = "embeddings"
    main = "read"

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        self.rows = [None if isinstance(answer, str) else answer for answer in answers]
        return [Sample({"n": 1, "right": row is not None}) for row in self.rows]

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        return {"read": ratio(sums.get("right", 0.0), sums["n"])}
