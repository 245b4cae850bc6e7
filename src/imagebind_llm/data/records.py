"""From records of a source to training examples.

Dialogs are rendered as at inference, with a picture's embedding for its condition. Embeddings are looked up,
other media are opened for the encoder. Contrastive training reads pictures with captions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.augment import random_resized_crop
from imagebind_llm.data.packing import Example
from imagebind_llm.data.sources.base import Embedded, Record
from imagebind_llm.media.batch import MediaPart
from imagebind_llm.media.reading import load_medium
from imagebind_llm.model.conditioning import check_direction, mix
from imagebind_llm.model.dialog import build_dialog
from imagebind_llm.model.messages import MediaItem, read_messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from imagebind_llm.media.base import MediaReader


Embed = Callable[[Sequence[Any]], Tensor]
"""Sources of media parts to unit rows ``[M, D]``."""


def to_example(
    messages: Sequence[Mapping[str, Any]],
    tokenizer: "PreTrainedTokenizerBase",
    embed: Embed | None = None,
    learn_all: bool = False,
) -> Example:
    """Render a dialog and look up its media.

    Args:
        messages: see :mod:`imagebind_llm.model.messages`.
        embed: gives the embeddings of media sources; several in one message are mixed by their weights.
        learn_all: learn every token, not just the assistant's.

    Raises:
        UserError: the dialog is malformed, has nothing to learn, or brings media while ``embed`` is None.
    """
    dialog = build_dialog(messages, tokenizer)
    loss_mask = [True] * len(dialog) if learn_all else dialog.labels_mask
    if not any(loss_mask[1:]):
        raise UserError(
            f"a dialog of {len(messages)} messages has no assistant's token to learn; check its roles"
        )
    conditions = None
    if dialog.conditions:
        if embed is None:
            raise UserError(f"a text-only dialog brings {len(dialog.conditions)} media; leave them out")
        items = [(number, item) for number, group in enumerate(dialog.conditions) for item in group]
        conditions = mix(
            embed([item.source for _, item in items]),
            torch.tensor([item.weight for _, item in items]),
            torch.tensor([number for number, _ in items]),
            len(dialog.conditions),
        )
        check_direction(conditions)
    return Example(dialog.input_ids, loss_mask, dialog.condition_ids, conditions)


def pick_kind(rng: np.random.Generator, mixture: Mapping[str, float], known: Sequence[str]) -> str:
    """One of the mixture's kinds by its share.

    Raises:
        ConfigError: a kind that does not exist.
    """
    for name in mixture:
        if name not in known:
            raise ConfigError(f"mixture names {name!r}; known are {', '.join(known)}")
    shares = np.array(list(mixture.values()), dtype=float)
    return list(mixture)[int(np.searchsorted(np.cumsum(shares) / shares.sum(), rng.random(), side="right"))]


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
        caption = load_medium(self.media, Modality.TEXT, words)
        source = media[0].source
        if not isinstance(source, Embedded):
            return CaptionedPicture(open_medium(self.media, Modality.IMAGE, source, rng), False, caption)
        if source.vector.shape != (self.dim,):
            raise UserError(f"an embedding has shape {source.vector.shape}, the encoder's have ({self.dim},)")
        return CaptionedPicture(torch.from_numpy(source.vector).float(), True, caption)


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
        loss_mask = dialog.labels_mask[kept]
        if not any(loss_mask[1:]):
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
            loss_mask,
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
        mixed = mix(vectors, weights, torch.zeros(len(items), dtype=torch.int64), 1)
        check_direction(mixed)
        return mixed[0]


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
    return load_medium(media, modality, source)
