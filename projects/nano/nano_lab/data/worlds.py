"""What the training stages ask of a world of examples. Nano's is one; a test's tiny one is another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor

from imagebind_llm.common.modality import Modality
from nano_lab.data.pool import ImagePool

Split = Literal["train", "test"]
"""Of images and other media."""
Phrasing = Literal["train", "heldout", "wide"]
"""Of questions: those that training shows, those it never does, and ``wide``: the first and more of them, as
training draws them."""


@dataclass(frozen=True)
class ModalityExamples:
    """Examples of one modality.

    Attributes:
        media: ``[B, …]`` float32, shaped as the encoder's ``encode`` takes them.
        labels: int64 ``[B]``.
        image_rows: int64 ``[B]``, the row of the image each was derived from in the pool of its split, -1 if
        none.
    """

    media: Tensor
    labels: Tensor
    image_rows: Tensor


class PictureWorld(Protocol):
    """Images with labels and captions, and other modalities that share the labels."""

    @property
    def label_count(self) -> int:
        """Labels are ``0 … label_count-1``."""
        ...

    @property
    def judged_labels(self) -> int:
        """Labels ``0 … judged_labels-1`` are things to recognise; the rest (nothing to recognise) is not
        tested."""
        ...

    def images(self, split: Split, limit: int | None = None) -> ImagePool:
        """The images of ``"train"`` or ``"test"``."""
        ...

    def fresh(self, pool: ImagePool, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The pixels uint8 of these rows; a world may draw those of endless domains anew."""
        ...

    def augment(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        clip_probability: float | None = None,
    ) -> Tensor:
        """Augmented, normalised images ``[B, 3, H, W]`` (or clips ``[B, 3, 2, H, W]``)."""
        ...

    def plain(self, pixels: np.ndarray) -> Tensor:
        """Normalised images ``[B, 3, H, W]`` without augmentation."""
        ...

    def captions(self, label: int, count: int, seed: int) -> Sequence[str]:
        """Up to ``count`` distinct captions of a label."""
        ...

    def modality_batch(self, modality: Modality, rng: np.random.Generator, count: int) -> ModalityExamples:
        """Training examples of a modality, drawn at random."""
        ...

    def modality_test(self, modality: Modality, limit: int) -> ModalityExamples:
        """Held-out examples of a modality, always the same."""
        ...


class DialogWorld(Protocol):
    """Dialogs to learn from, in the form :mod:`imagebind_llm.model.messages` reads.

    Media sources are rows of an image pool.
    """

    @property
    def kinds(self) -> Sequence[str]:
        """What ``dialog`` can draw. ``"text"``, ``"statement"`` and ``"claim"`` bring no media; the others
        do."""
        ...

    def dialog(
        self,
        kind: str,
        rng: np.random.Generator,
        split: Phrasing,
        row_of: Callable[[int], int] | None = None,
        weight_range: float = 0.0,
    ) -> list[dict[str, Any]]:
        """A dialog; ``split`` is ``"wide"`` (in training), ``"train"`` or ``"heldout"`` (phrasings never
        trained on).

        ``row_of`` picks an image for a label; two media in one message get weights 0.5 ± up to
        ``weight_range``.
        """
        ...

    def caption(
        self, rng: np.random.Generator, split: Phrasing, label: int, row: int
    ) -> list[dict[str, Any]]:
        """A request for a caption of the image ``row``, which shows ``label``, and its answer."""
        ...
