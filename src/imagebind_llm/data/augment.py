"""The published training augmentation of pictures."""

import math

import numpy as np
from PIL import Image

SCALE = (0.9, 1.0)
"""Share of the picture's area that is kept (the original's training transform)."""
RATIO = (0.75, 1.3333)
"""Width over height of what is kept, before it is squeezed into a square (likewise)."""

_ATTEMPTS = 10


def random_resized_crop(
    image: Image.Image,
    rng: np.random.Generator,
    size: int,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
) -> Image.Image:
    """A random part of ``image``, resized to ``size`` × ``size`` pixels with the bicubic filter.

    Area and aspect ratio are drawn (the ratio evenly on a logarithmic scale) until the part fits, at most ten
    times; then the largest central part of an allowed ratio is taken.
    """
    width, height = image.size
    for _ in range(_ATTEMPTS):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            left = int(rng.integers(width - wide + 1))
            top = int(rng.integers(height - high + 1))
            break
    else:
        wide, high = _central(width, height, ratio)
        left, top = (width - wide) // 2, (height - high) // 2
    return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + wide, top + high))


def _central(width: int, height: int, ratio: tuple[float, float]) -> tuple[int, int]:
    if width / height < ratio[0]:
        return width, round(width / ratio[0])
    if width / height > ratio[1]:
        return round(height * ratio[1]), height
    return width, height
