"""Real pictures: handwritten digits (MNIST) and photographs (CIFAR-10) on one 32 x 32 RGB canvas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nano_lab.world.tables import COLUMNS, Split, decode_pictures, label_ids, read_columns

CANVAS = 32
"""Side of nano's pictures in pixels: the size of CIFAR-10; MNIST's 28 are padded with two black pixels."""

_MNIST_PADDING = 2


@dataclass(frozen=True)
class ImageSet:
    """Pictures with labels.

    Attributes:
        pixels: uint8 ``[N, 32, 32, 3]``, RGB.
        labels: int64 ``[N]``, concept ids.
        source: ``[N]`` strings, ``"mnist"`` or ``"cifar10"``.
        index: int64 ``[N]``, the picture's number in its source dataset and split.
    """

    pixels: np.ndarray
    labels: np.ndarray
    source: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def rows_of(self, source: str) -> np.ndarray:
        """Row numbers (int64) of the pictures that come from ``source``."""
        return np.flatnonzero(self.source == source)

    def ink(self, rows: np.ndarray) -> np.ndarray:
        """Stroke coverage of digit pictures, float32 ``[B, 32, 32]`` in 0..1."""
        return self.pixels[rows, :, :, 0].astype(np.float32) / 255.0


def load_images(root: str | Path, split: Split) -> ImageSet:
    """All digits, then all photographs, of one split; within each in the stored (shuffled) order."""
    digits = read_columns(root, "mnist", split, COLUMNS["mnist"])
    grey = decode_pictures(digits["image"], "L")
    border = (_MNIST_PADDING, _MNIST_PADDING)
    digit_pixels = np.repeat(np.pad(grey, ((0, 0), border, border))[..., None], 3, axis=-1)
    photos = read_columns(root, "cifar10", split, COLUMNS["cifar10"])
    photo_pixels = decode_pictures(photos["image"], "RGB")
    return ImageSet(
        pixels=np.concatenate([digit_pixels, photo_pixels]),
        labels=np.concatenate([label_ids(digits["label"]), label_ids(photos["label"])]),
        source=np.array(["mnist"] * len(digit_pixels) + ["cifar10"] * len(photo_pixels)),
        index=np.array([*digits["index"], *photos["index"]], dtype=np.int64),
    )
