"""Solids as the judge sees them: from in front, white on black, like a drawn digit."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from imagebind_llm.common.errors import UserError
from imagebind_llm.skills.generation.contract import Mesh
from imagebind_llm.skills.generation.nano import ink_of
from imagebind_llm.skills.generation.solids import extrude

_FINE = 8
"""Pixels that are drawn for each pixel of the view; their mean is its value."""


def solid_of(picture: np.ndarray) -> Mesh | None:
    """The solid that nano's generator makes where it draws ``picture`` uint8 ``[H, W, 3]``; None where it
    refuses to, because the picture is no drawing of a digit."""
    try:
        return extrude(ink_of(picture))
    except UserError:
        return None


def front_view(mesh: Mesh, side: int) -> np.ndarray:
    """A solid from in front, uint8 ``[side, side, 3]``; -1 … 1 of its corners are the picture's edges.

    Seen are the faces that look at the viewer; there is no light and no perspective.
    """
    corners = mesh.vertices[mesh.faces]  # [F, 3, 3]
    along, up = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    seen = corners[np.cross(along, up)[:, 2] > 0][..., :2]
    fine = Image.new("L", (side * _FINE, side * _FINE))
    pen = ImageDraw.Draw(fine)
    across = (seen[..., 0] + 1) / 2 * side * _FINE
    down = (1 - seen[..., 1]) / 2 * side * _FINE
    for triangle in np.stack([across, down], -1).reshape(-1, 6).tolist():
        pen.polygon(triangle, fill=255)
    small = np.asarray(fine.resize((side, side), Image.Resampling.BOX))
    return np.repeat(small[..., None], 3, axis=-1)
