"""Resizing and cropping of one-channel maps and video frames."""

import torch
from torch import Tensor

LONGEST_ASPECT = 16
"""Maps more elongated than this are cut to it around their centre before resizing: a 1 × 20000 image scaled
to a short side of 224 would otherwise need a billion pixels, of which the centre crop keeps a square."""


def central_aspect(height: int, width: int, aspect: int = LONGEST_ASPECT) -> tuple[int, int, int, int]:
    """Top, left, height and width of the central region whose sides differ by at most ``aspect``."""
    new_height, new_width = min(height, width * aspect), min(width, height * aspect)
    return (height - new_height) // 2, (width - new_width) // 2, new_height, new_width


def resize_map(values: Tensor, size: int) -> Tensor:
    """A map ``[H, W]`` as ``[1, size, size]``: short side resized (bilinear, antialiased), centre crop."""
    top, left, height, width = central_aspect(*values.shape)
    values = values[top : top + height, left : left + width]
    short = min(height, width)
    target = (max(size, size * height // short), max(size, size * width // short))
    image = values[None, None]
    if target != (height, width):
        image = torch.nn.functional.interpolate(
            image, size=target, mode="bilinear", align_corners=False, antialias=True
        )
    top, left = round((target[0] - size) / 2), round((target[1] - size) / 2)
    return image[0, :, top : top + size, left : left + size].contiguous()
