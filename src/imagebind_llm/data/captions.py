"""From records of a source to pictures with captions, as contrastive training reads them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.records import open_medium
from imagebind_llm.data.sources.base import Embedded, Record
from imagebind_llm.messages import read_messages

if TYPE_CHECKING:
    from imagebind_llm.media.base import MediaReader


@dataclass(frozen=True)
class CaptionedPicture:
    """A picture, as the encoder reads it or embedded before (unit ``[D]``), and its caption's tokens."""

    picture: Tensor
    embedded: bool
    caption: Tensor


@dataclass(frozen=True)
class CaptionReader:
    """Takes a record's one picture and what the assistant says first, which is its caption.

    Attributes:
        media: how the encoder's pictures and texts are opened.
        dim: length of an embedding.
    """

    media: "MediaReader"
    dim: int

    def read(self, record: Record, rng: np.random.Generator | None = None) -> CaptionedPicture:
        """The pair of a record.

        Args:
            rng: the picture is augmented with it (:mod:`.augment`); None = as at inference.

        Raises:
            UserError: the dialog is malformed, has not exactly one picture, no answer, or an embedding of
                another length than the encoder's.
        """
        turns = read_messages(record.messages)
        media = [item for turn in turns for item in turn.media]
        if len(media) != 1 or media[0].modality is not Modality.IMAGE:
            found = ", ".join(str(item.modality) for item in media) or "none"
            raise UserError(f"its media are {found}; a pair has exactly one picture")
        words = next((turn.text.strip() for turn in turns if turn.role == "assistant"), "")
        if not words:
            raise UserError("no caption: the assistant says nothing")
        caption = self.media.load(Modality.TEXT, words)
        source = media[0].source
        if not isinstance(source, Embedded):
            return CaptionedPicture(open_medium(self.media, Modality.IMAGE, source, rng), False, caption)
        if source.vector.shape != (self.dim,):
            raise UserError(f"an embedding has shape {source.vector.shape}, the encoder's have ({self.dim},)")
        return CaptionedPicture(torch.from_numpy(source.vector).float(), True, caption)
