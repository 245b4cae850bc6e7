"""Video frames turned and mirrored as their display matrix says."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError


def upright(pixels: NDArray[np.uint8], frame: Any, name: str) -> NDArray[np.uint8]:
    """``pixels [H, W, 3]`` of a PyAV frame as they are to be shown.

    FFmpeg's display matrix (``libavutil/display.h``) sends column x and row y to ``a·x + c·y`` and
    ``b·x + d·y``. Quarter turns and reflections are applied.

    Raises:
        MediaError: a matrix that turns by other angles, or shears.
    """
    matrix = next((bytes(item) for item in frame.side_data if item.type.name == "DISPLAYMATRIX"), None)
    if matrix is None or len(matrix) < 36:
        return pixels
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    if (a or d) and not (b or c):
        turned, down, right = pixels, d, a
    elif (b or c) and not (a or d):
        turned, down, right = pixels.transpose(1, 0, 2), b, c
    elif not (a or b or c or d):
        return pixels
    else:
        raise MediaError(
            name, "a video turned by an angle that is no quarter turn", "0, 90, 180 or 270°", "convert it"
        )
    return np.ascontiguousarray(turned[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])
