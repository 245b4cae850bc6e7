"""The bind stage: on pictures with captions, or on pairs of a sensor's arrays and pictures.

With captions the text tower learns, or text and vision. With pairs a tower, new or not, learns where the
frozen one puts the images.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.pairs import Pair, read_pairs
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.records import CaptionedPicture, CaptionReader
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.encoders.imagebind.kind import sensor_media
from imagebind_llm.encoders.registry import encoder_kind, load_encoder, media_of_encoder
from imagebind_llm.media import load_media
from imagebind_llm.media.base import Limits, MediaReader, name_of
from imagebind_llm.media.reading import one_medium
from imagebind_llm.media.sensor import array_of, shaped
from imagebind_llm.media.settings import MediaSettings, SensorSettings
from imagebind_llm.training.checkpoint import claim_run_folder
from imagebind_llm.training.contrastive import (
    ContrastiveStage,
    TowerBatch,
    TowerStage,
    nearest_class_accuracy,
    symmetric_loss,
)
from imagebind_llm.training.examples import described, open_mixtures
from imagebind_llm.training.new_sensor import with_sensor
from imagebind_llm.training.pair_survey import Moments, Reader, Survey, survey
from imagebind_llm.training.recipe import BindRecipe
from imagebind_llm.training.stage import step_rng
from imagebind_llm.training.towers import open_encoder, vision_fingerprint

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
        encoder, media = _open_for_captions(recipe)
        made_by = None if recipe.encoder == "new" else encoder  # before updates are added to it
        mixtures = open_mixtures(recipe.data, recipe.run, made_by)
        super().__init__(recipe, encoder, [Modality.parse(name) for name in recipe.modalities])
        self._reader = CaptionReader(media, encoder.config.embedding_dim)
        self._training, self._testing = mixtures

    def batch(self, index: int) -> CaptionBatch:
        assert self._training is not None, "the recipe has sources"
        rng = step_rng(self.recipe.run.seed, index)
        crops = rng if self.recipe.data.augment else None
        size = self.recipe.run.batch_size
        numbers = range(index * size, (index + 1) * size)
        return self._collate(
            [
                self._training.numbered(n, rng, lambda record: self._reader.read(record, crops))
                for n in numbers
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


def _open_for_captions(recipe: BindRecipe) -> tuple[ImageBindModel, MediaReader]:
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


_NO_MOMENTS: Moments = np.zeros((3, 1))


class BindPairs(TowerStage):
    """Pairs of arrays and images (``data.root``, see :mod:`imagebind_llm.data.pairs`).

    Images are embedded once. Pairs with labels count as positive for each other; without, each pair is alone.
    """

    def __init__(self, recipe: BindRecipe) -> None:
        encoder, media = _opened(recipe)
        modality = Modality.parse(recipe.modalities[0])
        claim_run_folder(Path(recipe.run.folder))
        self._quarantine = Quarantine(Path(recipe.run.folder) / "quarantine.jsonl")
        self._folder = Path(recipe.run.folder) / "images"
        self._limits = Limits()
        assert recipe.data.root is not None, "the recipe has checked it"
        sets = read_pairs(Path(recipe.data.root))
        new = recipe.sensor
        raw = None if new is None else SensorSettings(new.kind, new.shape)
        reader = Reader(
            lambda path: load_media(Modality.IMAGE, path, media, self._limits),
            lambda path: self._moments(path, modality, media, raw),
            lambda images: _unit_images(encoder, images),
        )
        identity = f"{vision_fingerprint(encoder)} {new and (new.kind, new.shape)}"
        surveys = {
            name: survey(self._folder / name, pairs, reader, identity, self._quarantine)
            for name, pairs in (("train", sets.train), ("test", sets.test))
        }
        if new is not None:
            mean, std = new.mean, new.std
            if mean is None or std is None:
                mean, std = surveys["train"].mean_and_std()
            encoder = with_sensor(encoder, modality.value, new.config(mean, std), recipe.run.seed)
            media = MediaSettings.from_dict({**media.to_dict(), "sensors": _plain_sensors(encoder)})
        super().__init__(recipe, encoder, modality)
        self.media, self.labels = media, sets.labels
        self.train_pairs, self.train_images = _usable(sets.train, surveys["train"])
        self.test_pairs, self.test_images = _usable(sets.test, surveys["test"])
        self.train_ids = sets.ids(self.train_pairs)
        self.test_ids = sets.ids(self.test_pairs)

    def _moments(
        self, path: Path, modality: Modality, media: MediaSettings, new: SensorSettings | None
    ) -> Moments:
        """Of one array, per channel; of a modality that exists already only that it can be read."""
        if new is None:
            load_media(modality, path, media, self._limits)
            return _NO_MOMENTS
        from imagebind_llm.media.arrays import check_finite

        with one_medium(path):
            values = shaped(array_of(path, self._limits, modality.value), new, name_of(path))
            check_finite(values, name_of(path))
        rows = values.T if new.kind == "cloud" else values
        rows = rows.reshape(new.channels, -1).astype(np.float64)
        counts = np.full(new.channels, rows.shape[1], np.float64)
        return np.stack([counts, rows.sum(1), (rows**2).sum(1)])

    def batch(self, index: int) -> TowerBatch:
        recipe = self.recipe
        rng = step_rng(recipe.run.seed, index)
        count = len(self.train_pairs)
        rows = rng.choice(count, recipe.run.batch_size, replace=count < recipe.run.batch_size)
        others = rng.choice(count, min(recipe.bank_sample, count), replace=False)
        others = np.setdiff1d(others, rows)
        media = self._load([self.train_pairs[row] for row in rows])
        if recipe.sensor is not None and recipe.sensor.noise:
            noise = rng.standard_normal(tuple(media.shape), dtype=np.float32)
            media = media + recipe.sensor.noise * torch.from_numpy(noise)
        seen = np.concatenate([np.unique(rows), others])
        return TowerBatch(
            media=media,
            labels=torch.from_numpy(self.train_ids[rows]),
            images=self.train_images[seen],
            image_labels=torch.from_numpy(self.train_ids[seen]),
            own=self.train_images[rows],
            has_own=torch.ones(len(rows), dtype=torch.bool),
        )

    def _load(self, pairs: Sequence[Pair]) -> Tensor:
        """The arrays ``[n, …]`` as the tower reads them."""
        return torch.stack(
            [load_media(self.modality, pair.array, self.media, self._limits) for pair in pairs]
        )

    @cached_property
    def _test(self) -> tuple[Tensor, Tensor, Tensor]:
        """Held-out media, the embeddings of their images, their labels."""
        count = min(self.recipe.evaluate_items, len(self.test_pairs))
        rows = np.sort(np.random.default_rng(0).permutation(len(self.test_pairs))[:count])
        media = self._load([self.test_pairs[row] for row in rows])
        return media, self.test_images[rows], torch.from_numpy(self.test_ids[rows])

    @cached_property
    def _prototypes(self) -> Tensor:
        means = torch.zeros(len(self.labels), self.train_images.shape[1])
        means.index_add_(0, torch.from_numpy(self.train_ids), self.train_images)
        return torch.nn.functional.normalize(means, dim=1)

    def evaluate(self) -> dict[str, float]:
        """``own_image``: the nearest of the held-out images is the array's own; ``own_cosine``: to it;
        ``accuracy``: the nearest mean image of a label is that of its own."""
        media, images, labels = self._test
        found = self.embeddings(self.modality, media)
        own = (found @ images.T).argmax(1) == torch.arange(len(found))
        measured = {
            "own_image": float(own.float().mean()),
            "own_cosine": float((found * images).sum(1).mean()),
        }
        if self.labels:
            measured["accuracy"] = nearest_class_accuracy(found, labels, self._prototypes)
        return measured

    def data_fingerprints(self) -> dict[str, str]:
        """The pairs, by what the survey recorded of them."""
        return {
            name: (self._folder / name / "identity.json").read_text(encoding="utf-8")
            for name in ("train", "test")
        }

    def extra_metadata(self) -> dict[str, Any]:
        return {
            **super().extra_metadata(),
            "vision": vision_fingerprint(self.encoder),
            "pairs": {"train": len(self.train_pairs), "test": len(self.test_pairs)},
            "left_out": self._quarantine.total,
        }


def _opened(recipe: BindRecipe) -> tuple[ImageBindModel, MediaSettings]:
    encoder = load_encoder(recipe.encoder)
    media = media_of_encoder(recipe.media_from or recipe.encoder, encoder)
    if not isinstance(encoder, ImageBindModel) or not isinstance(media, MediaSettings):
        raise ConfigError(f"encoder {recipe.encoder!r} is not an ImageBind; only those can be trained here")
    return encoder, media


@torch.no_grad()
def _unit_images(encoder: ImageBindModel, images: Tensor) -> Tensor:
    return encoder.encode(Modality.IMAGE, images)


def _usable(pairs: Sequence[Pair], found: Survey) -> tuple[list[Pair], Tensor]:
    return [pair for pair, usable in zip(pairs, found.usable, strict=True) if usable], found.vectors


def _plain_sensors(encoder: ImageBindModel) -> dict[str, Any]:
    own = MediaSettings(sensors=sensor_media(encoder.config)).to_dict()
    sensors: dict[str, Any] = own["sensors"]
    return sensors
