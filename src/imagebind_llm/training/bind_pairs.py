"""The bind stage on pairs from disk: a tower, new or not, learns where the frozen one puts the images."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.pairs import Pair, read_pairs
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.encoders.imagebind.kind import sensor_media
from imagebind_llm.encoders.registry import load_encoder, media_of_encoder
from imagebind_llm.media import load_media
from imagebind_llm.media.base import Limits, name_of
from imagebind_llm.media.sensor import array_of, shaped
from imagebind_llm.media.settings import MediaSettings, SensorSettings
from imagebind_llm.training.bind_sense import vision_fingerprint
from imagebind_llm.training.contrastive import nearest_class_accuracy
from imagebind_llm.training.new_sensor import with_sensor
from imagebind_llm.training.pair_survey import Moments, Reader, Survey, survey
from imagebind_llm.training.recipe import BindRecipe
from imagebind_llm.training.stage import step_rng
from imagebind_llm.training.tower import SenseBatch, TowerStage

_NO_MOMENTS: Moments = np.zeros((3, 1))


class BindPairs(TowerStage):
    """Pairs of arrays and images (``data.root``, see :mod:`imagebind_llm.data.pairs`).

    Images are embedded once. Pairs with labels count as positive for each other; without, each pair is alone.
    """

    def __init__(self, recipe: BindRecipe) -> None:
        encoder, media = _opened(recipe)
        modality = Modality.parse(recipe.modalities[0])
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
        name = name_of(path)
        values = shaped(array_of(path, self._limits, modality.value), new, name)
        from imagebind_llm.media.arrays import check_finite

        check_finite(values, name)
        rows = values.T if new.kind == "cloud" else values
        rows = rows.reshape(new.channels, -1).astype(np.float64)
        counts = np.full(new.channels, rows.shape[1], np.float64)
        return np.stack([counts, rows.sum(1), (rows**2).sum(1)])

    def batch(self, index: int) -> SenseBatch:
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
        return SenseBatch(
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
