"""How far apart two modalities lie in the joint space: numbers of the modality gap.

Encoders trained by contrast put each modality into a narrow cone of its own. The gap is the difference of the
two means, as Liang et al. define it (2022, "Mind the Gap: Understanding the Modality Gap in Multi-modal
Contrastive Representation Learning", arXiv:2203.02053). Beside its length stand the spread within each
modality, without which no length says much, the distance of what belongs together and of what does not, and
how well a linear rule tells the modalities apart (0.5: not at all; 1: always).

Arrays in, numbers out; nothing here knows where embeddings come from. To see what the visual cache does to
the gap, call it with the queries before and after they were moved towards cached pictures.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagebind_llm.common.errors import UserError

Floats = NDArray[np.float64]

_UNIT = 1e-3
"""How far from 1 the length of a unit row may be: bfloat16 leaves as much."""
_FOLDS = 5
_SHRINK = 0.1
"""Weight of the identity in the covariance of the linear rule, which has fewer rows than columns."""


@dataclass(frozen=True)
class Gap:
    """Two sets of unit embeddings against each other. Distances are 1 - cosine, 0 … 2.

    Attributes:
        n, m: rows of the first and of the second set.
        gap: length of the difference of the two means, 0 … 2.
        centroid_cosine: cosine of the two means; NaN if one is zero.
        within_first, within_second: mean distance of two different rows of one set; NaN for a single row.
        between: mean distance of a row of the first set and one of the second.
        matched: mean distance of rows at the same place; None where rows are no pairs.
        unmatched: mean distance of rows at different places; None where rows are no pairs.
        separability: share of held-out rows whose modality a linear rule tells, both sets counting the same,
            0 … 1; None with fewer than two rows a set.
    """

    n: int
    m: int
    gap: float
    centroid_cosine: float
    within_first: float
    within_second: float
    between: float
    matched: float | None
    unmatched: float | None
    separability: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: NaN comes as None."""
        return {
            key: None if isinstance(value, float) and np.isnan(value) else value
            for key, value in asdict(self).items()
        }


def modality_gap(first: ArrayLike, second: ArrayLike, paired: bool = False, seed: int = 0) -> Gap:
    """The gap between two sets.

    Args:
        first, second: unit rows ``[n, D]`` and ``[m, D]``.
        paired: rows at the same place belong together (``n == m``, at least 2).
        seed: of the folds of the separability.

    Raises:
        UserError: no such rows, rows that are not of length 1, or pairs of different number.
    """
    one, other = _rows(first, "the first set"), _rows(second, "the second set")
    if one.shape[1] != other.shape[1]:
        raise UserError(
            f"embeddings of {one.shape[1]} and {other.shape[1]} numbers; both sets must come from one encoder"
        )
    if paired and not len(one) == len(other) >= 2:
        raise UserError(f"{len(one)} and {len(other)} rows; pairs need equally many, at least 2")
    means = one.mean(axis=0), other.mean(axis=0)
    lengths = [float(np.linalg.norm(mean)) for mean in means]
    cosine = float(means[0] @ means[1])
    matched = 1 - float((one * other).sum(axis=1).mean()) if paired else None
    unmatched = None
    if matched is not None:
        count = len(one)
        unmatched = ((1 - cosine) * count - matched) / (count - 1)
    enough = min(len(one), len(other)) >= 2
    return Gap(
        n=len(one),
        m=len(other),
        gap=float(np.linalg.norm(means[0] - means[1])),
        centroid_cosine=cosine / (lengths[0] * lengths[1]) if min(lengths) > 1e-12 else float("nan"),
        within_first=_within(lengths[0], len(one)),
        within_second=_within(lengths[1], len(other)),
        between=1 - cosine,
        matched=matched,
        unmatched=unmatched,
        separability=separability(one, other, seed) if enough else None,
    )


def separability(first: ArrayLike, second: ArrayLike, seed: int = 0) -> float:
    """How well a linear rule tells two sets apart that it has not seen: balanced accuracy, 0 … 1.

    Linear discriminant analysis with a covariance shrunk by a tenth towards a multiple of the identity, over
    five folds (fewer with few rows). Rows on the border count as half.

    Args:
        first, second: rows ``[n, D]`` and ``[m, D]``, at least two each.
        seed: of the folds.

    Raises:
        UserError: fewer rows, or sets of different width.
    """
    sets = [np.asarray(rows, np.float64) for rows in (first, second)]
    if any(rows.ndim != 2 or len(rows) < 2 for rows in sets) or sets[0].shape[1] != sets[1].shape[1]:
        raise UserError("two sets of two or more rows of the same width are needed to tell modalities apart")
    rng = np.random.default_rng(seed)
    folds = min(_FOLDS, *(len(rows) for rows in sets))
    parts = [rng.permutation(len(rows)) % folds for rows in sets]
    right = np.zeros(2)
    for fold in range(folds):
        train = [rows[part != fold] for rows, part in zip(sets, parts, strict=True)]
        weights, border = _rule(*train)
        for number, (rows, part, sign) in enumerate(zip(sets, parts, (1, -1), strict=True)):
            side = sign * (rows[part == fold] @ weights - border)
            right[number] += float((side > 0).sum() + 0.5 * (side == 0).sum())
    return float(np.mean(right / [len(rows) for rows in sets]))


def _rule(one: Floats, other: Floats) -> tuple[Floats, float]:
    """Weights ``[D]`` and border: what scores above it is of the first set."""
    means = one.mean(axis=0), other.mean(axis=0)
    centred = np.concatenate([one - means[0], other - means[1]])
    difference = means[0] - means[1]
    variance = float((centred**2).sum()) / max(len(centred) - 2, 1)
    width = centred.shape[1]
    scaled = centred * np.sqrt((1 - _SHRINK) / max(len(centred) - 2, 1))
    ridge = max(_SHRINK * variance / width, 1e-12)
    if len(scaled) < width:  # the same inverse by the smaller side (Woodbury)
        inner = np.eye(len(scaled)) * ridge + scaled @ scaled.T
        weights = (difference - scaled.T @ np.linalg.solve(inner, scaled @ difference)) / ridge
    else:
        weights = np.linalg.solve(np.eye(width) * ridge + scaled.T @ scaled, difference)
    return weights, float(weights @ (means[0] + means[1]) / 2)


def plane(*sets: ArrayLike) -> list[Floats]:
    """Coordinates of every row on the two principal axes of all rows together, for a drawing.

    Args:
        sets: rows ``[n, D]`` each, all of one width.

    Returns:
        ``[n, 2]`` for each set. Axes point so that their largest weight is positive.

    Raises:
        UserError: no rows, or of different width.
    """
    rows = [np.asarray(values, np.float64) for values in sets]
    if not rows or any(values.ndim != 2 or values.shape[1:] != rows[0].shape[1:] for values in rows):
        raise UserError("sets of rows of one width are needed to lay them out in a plane")
    whole = np.concatenate(rows)
    if not len(whole):
        raise UserError("there are no rows to lay out in a plane")
    centred = whole - whole.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # in rising order, one a column
    axes = axes[:, ::-1][:, :2].T
    axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    places = centred @ axes.T
    places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    return np.split(places, np.cumsum([len(values) for values in rows])[:-1])


def _rows(values: ArrayLike, what: str) -> Floats:
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise UserError(f"{what} has the shape {rows.shape}; expected one embedding a row, at least one")
    lengths = np.linalg.norm(rows, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT))
    if len(wrong):
        raise UserError(
            f"row {wrong[0]} of {what} has the length {lengths[wrong[0]]:.4g}; expected unit rows, so "
            "normalise them"
        )
    return rows / lengths[:, None]


def _within(length: float, count: int) -> float:
    """Mean distance of two different unit rows, of the length of their mean."""
    # the sum over all pairs of cosines is (count * length)²; a row with itself gives 1
    return 1 - (count * length**2 - 1) / (count - 1) if count > 1 else float("nan")
