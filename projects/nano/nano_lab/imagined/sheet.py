"""Samples side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


def sheet(rows: Mapping[str, np.ndarray], each: int = 10, scale: int = 2) -> np.ndarray:
    """Samples uint8 ``[H, W, 3]``: a row for each set, its first ``each`` drawings, enlarged, on white."""
    lines = []
    enlarge: Callable[[np.ndarray], np.ndarray] = lambda picture: picture.repeat(scale, 0).repeat(scale, 1)  # noqa: E731
    for pixels in rows.values():
        shown = [np.pad(enlarge(one), ((2, 2), (2, 2), (0, 0)), constant_values=255) for one in pixels[:each]]
        blank = np.full_like(shown[0], 255)
        lines.append(np.concatenate([*shown, *([blank] * (each - len(shown)))], axis=1))
    return np.concatenate(lines)
