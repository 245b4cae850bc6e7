"""How a small picture was stored: the blocks of JPEG, or none.

CIFAR-10's copies, from which nano knows its things, are JPEG files of 32 x 32 pixels. Their blocks say
nothing of what is shown, so in training neither pictures of known things nor of others may be told by them.
"""

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

_QUALITY = (70, 85)
"""Of the files; CIFAR-10's copies have 75."""
_STORED = 0.75
_SMOOTHED = 0.35


def stored(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Three quarters of the pictures uint8 ``[B, H, W, 3]`` as JPEG files give them back, the rest as is."""
    out = pixels.copy()
    for row in np.flatnonzero(rng.random(len(pixels)) < _STORED):
        out[row] = np.asarray(_read_back(Image.fromarray(pixels[row]), int(rng.integers(*_QUALITY))))
    return out


def copied(picture: Image.Image, side: int = 32) -> Image.Image:
    """The middle of a picture as CIFAR-10's copies are stored: small, as JPEG of quality 75."""
    width, height = picture.size
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    small = picture.convert("RGB").resize(
        (side, side), Image.Resampling.BICUBIC, (left, top, left + edge, top + edge)
    )
    return _read_back(small, 75)


def _read_back(picture: Image.Image, quality: int) -> Image.Image:
    """A picture as a JPEG file gives it back."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    with Image.open(file) as opened:
        return opened.convert("RGB")


def smoothed(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """A third of the pictures uint8 ``[B, H, W, 3]`` moved by part of a pixel, which blurs blocks away."""
    chosen = np.flatnonzero(rng.random(len(pixels)) < _SMOOTHED)
    if not len(chosen):
        return pixels
    planes = torch.from_numpy(pixels[chosen]).permute(0, 3, 1, 2).float()
    steps = rng.uniform(0.3, 0.5, (2, len(chosen), 1, 1, 1)).astype(np.float32)
    down, right = torch.from_numpy(steps)
    padded = F.pad(planes, (0, 1, 0, 1), mode="replicate")
    planes = (1 - down) * padded[:, :, :-1] + down * padded[:, :, 1:]
    planes = (1 - right) * planes[..., :-1] + right * planes[..., 1:]
    out = pixels.copy()
    out[chosen] = planes.round().clamp(0, 255).permute(0, 2, 3, 1).numpy().astype(np.uint8)
    return out
