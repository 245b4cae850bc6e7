"""From records of a source to examples: embeddings are looked up, other media opened for the encoder."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.augment import random_resized_crop
from imagebind_llm.data.packing import Example
from imagebind_llm.data.sources.base import Embedded, Record
from imagebind_llm.media.batch import MediaPart
from imagebind_llm.messages import MediaItem
from imagebind_llm.mixing import mix
from imagebind_llm.model.dialog import build_dialog

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from imagebind_llm.media.base import MediaReader


@dataclass(frozen=True)
class RecordReader:
    """Renders records as at inference.

    Attributes:
        media: how media that are not embedded yet are opened.
        dim: length of an embedding.
        longest: tokens of an example; what is longer is cut there, as published.
    """

    tokenizer: "PreTrainedTokenizerBase"
    media: "MediaReader"
    dim: int
    longest: int

    def read(self, record: Record, rng: np.random.Generator | None = None) -> Example:
        """The example of a record. Text alone sees no condition.

        Args:
            rng: pictures are augmented with it (:mod:`.augment`); None = as at inference.

        Raises:
            UserError: the dialog is malformed or has nothing to learn within ``longest`` tokens, a medium
                cannot be opened, or embeddings have another length than the encoder's.
        """
        dialog = build_dialog(record.messages, self.tokenizer)
        kept = slice(0, self.longest)
        learnt = dialog.labels_mask[kept]
        if not any(learnt[1:]):
            raise UserError(f"nothing to learn in its first {self.longest} tokens")
        conditions = torch.zeros(len(dialog.conditions), self.dim)
        opened: dict[int, list[MediaPart]] = {}
        for number, items in enumerate(dialog.conditions):
            embedded = [isinstance(item.source, Embedded) for item in items]
            if all(embedded):
                conditions[number] = self._mixed(items)
            elif any(embedded):
                raise UserError(
                    f"condition {number} mixes embeddings with other media; embed all of it or none"
                )
            else:
                opened[number] = [
                    MediaPart(
                        item.modality, open_medium(self.media, item.modality, item.source, rng), item.weight
                    )
                    for item in items
                ]
        return Example(
            dialog.input_ids[kept],
            learnt,
            dialog.condition_ids[kept],
            conditions if dialog.conditions else None,
            opened,
            record.key,
        )

    def _mixed(self, items: list[MediaItem]) -> Tensor:
        for item in items:
            if item.source.vector.shape != (self.dim,):
                raise UserError(
                    f"an embedding has shape {item.source.vector.shape}, the encoder's have ({self.dim},)"
                )
        vectors = torch.from_numpy(np.stack([item.source.vector for item in items])).float()
        weights = torch.tensor([item.weight for item in items])
        return mix(vectors, weights, torch.zeros(len(items), dtype=torch.int64), 1)[0]


def open_medium(
    media: "MediaReader", modality: Modality, source: Any, rng: np.random.Generator | None = None
) -> Tensor:
    """A medium as the encoder reads it; an opened picture after a random crop (:mod:`.augment`) if there is
    an ``rng``.

    Raises:
        MediaError: it cannot be opened.
    """
    if rng is not None and modality is Modality.IMAGE and hasattr(source, "resize"):
        settings = getattr(media, "image", None)
        source = random_resized_crop(source, rng, getattr(settings, "size", None) or min(source.size))
    return media.load(modality, source)
