"""The bind stage on data sets of pictures with captions: the text tower learns, or text and vision both."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.records import CaptionedPicture, CaptionReader
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.encoders.registry import encoder_kind, load_encoder, media_of_encoder
from imagebind_llm.media.base import MediaReader
from imagebind_llm.training.bind_sense import vision_fingerprint
from imagebind_llm.training.contrastive import symmetric_loss
from imagebind_llm.training.contrastive_stage import ContrastiveStage
from imagebind_llm.training.encoders import open_encoder
from imagebind_llm.training.recipe import BindRecipe
from imagebind_llm.training.source_mixture import described, open_mixtures
from imagebind_llm.training.stage import step_rng

_EVALUATED_AT_ONCE = 128


class CaptionBatch(NamedTuple):
    """``captions [B, context]``; ``images [K, 3, H, W]`` of the pairs ``rows [K]``; ``vectors [B, D]``, the
    embeddings of the other pairs' pictures (zeros in ``rows``)."""

    captions: Tensor
    images: Tensor
    rows: Tensor
    vectors: Tensor


class BindCaptions(ContrastiveStage):
    """Symmetric InfoNCE within a micro-batch of pictures and their captions. Equal captions count as one, so
    each is right for all their pictures."""

    unit = "pairs"

    def __init__(self, recipe: BindRecipe) -> None:
        encoder, media = _opened(recipe)
        made_by = None if recipe.encoder == "new" else encoder  # before updates are added to it
        mixtures = open_mixtures(recipe.data, recipe.run, made_by)
        super().__init__(recipe, encoder, [Modality.parse(name) for name in recipe.modalities])
        self._reader = CaptionReader(media, encoder.config.embedding_dim)
        self._training, self._testing = mixtures

    def batch(self, index: int) -> CaptionBatch:
        assert self._training is not None, "the recipe has sources"
        rng = step_rng(self.recipe.run.seed, index)
        crops = rng if self.recipe.data.augment else None
        return self._collate(
            [
                self._training.draw_as(rng, lambda record: self._reader.read(record, crops))
                for _ in range(self.recipe.run.batch_size)
            ]
        )

    def _collate(self, pairs: list[CaptionedPicture]) -> CaptionBatch:
        vectors = torch.zeros(len(pairs), self._reader.dim)
        images, rows = [], []
        for row, pair in enumerate(pairs):
            if pair.embedded:
                vectors[row] = pair.picture
            else:
                images.append(pair.picture)
                rows.append(row)
        return CaptionBatch(
            torch.stack([pair.caption for pair in pairs]),
            torch.stack(images) if images else torch.zeros(0),
            torch.tensor(rows, dtype=torch.int64),
            vectors,
        )

    def size(self, batch: CaptionBatch) -> int:
        return len(batch.captions)

    def loss(self, batch: CaptionBatch) -> tuple[Tensor, dict[str, Tensor]]:
        labels = _same_captions(batch.captions)
        captions = self.encoder.encode(Modality.TEXT, batch.captions)
        pictures = self._pictures(batch).to(captions)
        loss = symmetric_loss(pictures, captions, labels, labels, self.scale, self.recipe.label_smoothing)
        return loss, {"scale": self.scale.detach(), "own_cosine": _own_cosine(pictures, captions).detach()}

    def _pictures(self, batch: CaptionBatch) -> Tensor:
        """Unit rows ``[B, D]``; with gradients only if the vision tower learns."""
        if not len(batch.rows):
            return batch.vectors
        with torch.set_grad_enabled(torch.is_grad_enabled() and Modality.IMAGE in self.modalities):
            encoded = self.encoder.encode(Modality.IMAGE, batch.images)
        return batch.vectors.index_copy(0, batch.rows, encoded.to(batch.vectors))

    def evaluate(self) -> dict[str, float]:
        """``text_of_image`` and ``image_of_text``: the share of held-out pictures (captions) whose nearest
        caption (picture) is their own or one of an equal caption; ``own_cosine`` between the two."""
        if self._testing is None:
            return {}
        waiting: list[CaptionedPicture] = []
        tokens, pictures, captions = [], [], []

        def encode() -> None:
            batch = self._collate(waiting)
            waiting.clear()
            tokens.append(batch.captions)
            captions.append(self.embeddings(Modality.TEXT, batch.captions))
            if len(batch.rows):
                found = self.embeddings(Modality.IMAGE, batch.images)
                batch = batch._replace(vectors=batch.vectors.index_copy(0, batch.rows, found))
            pictures.append(batch.vectors)

        for pair in self._testing.spread(self.recipe.evaluate_items, self._reader.read):
            waiting.append(pair)
            if len(waiting) == _EVALUATED_AT_ONCE:  # opened anew each time: the pictures may be many
                encode()
        if waiting:
            encode()
        if not tokens:
            raise ConfigError("none of the held-out pairs can be read; mend data.test_sources")
        labels = _same_captions(torch.cat(tokens))
        images, words = torch.cat(pictures), torch.cat(captions)
        nearest = images @ words.T
        return {
            "text_of_image": float((labels[nearest.argmax(1)] == labels).float().mean()),
            "image_of_text": float((labels[nearest.argmax(0)] == labels).float().mean()),
            "own_cosine": float(_own_cosine(images, words)),
        }

    def data_fingerprints(self) -> dict[str, str]:
        return self._training.fingerprints if self._training else {}

    def extra_metadata(self) -> dict[str, Any]:
        return {
            **super().extra_metadata(),
            "vision": vision_fingerprint(self.encoder),
            **described(self._training, self.recipe.run),
        }


def _opened(recipe: BindRecipe) -> tuple[ImageBindModel, MediaReader]:
    if recipe.encoder == "new":
        fresh = open_encoder("new", recipe.config, recipe.run.seed)
        return fresh, encoder_kind("imagebind").media_of(Path(), fresh)
    encoder = load_encoder(recipe.encoder)
    if not isinstance(encoder, ImageBindModel):
        raise ConfigError(f"encoder {recipe.encoder!r} is not an ImageBind; only those can be trained here")
    return encoder, media_of_encoder(recipe.media_from or recipe.encoder, encoder)


def _same_captions(tokens: Tensor) -> Tensor:
    """A number for each row of ``[B, context]``, equal for equal rows."""
    numbers: Tensor = torch.unique(tokens, dim=0, return_inverse=True)[1]
    return numbers


def _own_cosine(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(1).mean()
