"""Drawings as solids: the ink is sawn out of a board."""

import numpy as np
import torch
import torch.nn.functional as F

from imagebind_llm.common.errors import UserError
from imagebind_llm.skills.generation.contract import Mesh

_FINE = 4
"""Cells of the solid for each pixel of the drawing."""
_HALF_THICKNESS = 0.14
"""Of the board, half of the drawing's height being 1: the middle of what nano's own 3D digits have
(0.06 … 0.22)."""


def extrude(ink: np.ndarray) -> Mesh:
    """A closed surface around the ink (values above one half) of a drawing.

    Args:
        ink: ``[H, W]`` in 0 … 1.

    Returns:
        Corners in -1 … 1; x points right, y up, z towards the viewer.

    Raises:
        UserError: there is no ink.
    """
    fine = F.interpolate(
        torch.from_numpy(ink.astype(np.float32))[None, None], scale_factor=_FINE, mode="bilinear"
    )[0, 0].numpy()
    solid = np.pad(fine > 0.5, 1)
    if not solid.any():
        raise UserError("the picture shows no ink, so no shape can be made of it; try another --seed")
    height, width = solid.shape
    rows, columns = np.nonzero(solid)
    quads = [
        _corners(rows, columns, [(1, 0), (1, 1), (0, 1), (0, 0)], front=(True,) * 4),
        _corners(rows, columns, [(1, 0), (0, 0), (0, 1), (1, 1)], front=(False,) * 4),
    ]
    for step, edge in _SIDES.items():
        outside = ~solid[rows + step[0], columns + step[1]]
        quads.append(_corners(rows[outside], columns[outside], edge, front=(True, False, False, True)))
    corners = np.concatenate(quads)  # [quads, 4, 3]: row, column, front
    keys = (corners[..., 0] * (width + 1) + corners[..., 1]) * 2 + corners[..., 2]
    known, numbers = np.unique(keys, return_inverse=True)
    numbers = numbers.reshape(keys.shape)
    faces = np.concatenate([numbers[:, [2, 1, 0]], numbers[:, [3, 2, 0]]])
    row, column, front = known // 2 // (width + 1), known // 2 % (width + 1), known % 2
    half = (max(height, width) - 2) / 2
    vertices = np.stack(
        [(column - width / 2) / half, (height / 2 - row) / half, np.where(front, 1, -1) * _HALF_THICKNESS], 1
    )
    return Mesh(vertices.astype(np.float32), faces.astype(np.int64))


_SIDES: dict[tuple[int, int], list[tuple[int, int]]] = {
    (-1, 0): [(0, 0), (0, 0), (0, 1), (0, 1)],
    (1, 0): [(1, 1), (1, 1), (1, 0), (1, 0)],
    (0, -1): [(1, 0), (1, 0), (0, 0), (0, 0)],
    (0, 1): [(0, 1), (0, 1), (1, 1), (1, 1)],
}
"""Where there is no neighbour: the wall's corners, as steps from a cell's upper left one."""


def _corners(
    rows: np.ndarray, columns: np.ndarray, steps: list[tuple[int, int]], front: tuple[bool, ...]
) -> np.ndarray:
    """The corners ``[cells, 4, 3]`` of a quad at each cell: row, column, whether it is in front."""
    return np.stack(
        [
            np.stack([rows + down, columns + right, np.full(len(rows), int(near))], 1)
            for (down, right), near in zip(steps, front, strict=True)
        ],
        1,
    )
