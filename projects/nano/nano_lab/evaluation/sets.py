"""The test sets of nano's senses, made from files and derived media, and their embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media import MediaSettings, load_media
from imagebind_llm.media.base import MediaReader
from nano_lab.evaluation.model import ModelUnderTest
from nano_lab.world.senses import World
from nano_lab.world.tables import label_ids, read_columns
from nano_lab.world.testing import modality_test_set

Origin = Literal["real", "derived"]


@dataclass(frozen=True)
class Sense:
    """A kind of input with labels.

    Attributes:
        name: how it is called in results.
        modality: which encoder reads it.
        origin: ``real`` recordings, or ``derived`` from test pictures by geometry and physics.
        target: share of right answers the project set itself, None if it set none.
    """

    name: str
    modality: Modality
    origin: Origin
    target: float | None


SENSES: tuple[Sense, ...] = (
    Sense("handwriting", Modality.IMAGE, "real", 0.97),
    Sense("photographs", Modality.IMAGE, "real", 0.78),
    Sense("spoken digits", Modality.AUDIO, "real", 0.85),
    Sense("animal sounds", Modality.AUDIO, "real", 0.65),
    Sense("3D shapes", Modality.POINT, "real", 0.65),
    Sense("3D digits", Modality.POINT, "derived", 0.80),
    Sense("depth digits", Modality.DEPTH, "derived", 0.80),
    Sense("thermal digits", Modality.THERMAL, "derived", 0.80),
    Sense("IMU digits", Modality.IMU, "derived", 0.80),
    Sense("video digits", Modality.VIDEO, "derived", 0.80),
    Sense("video photographs", Modality.VIDEO, "derived", None),
)
"""Every sense, in the order of the reports."""

_NAMES: dict[tuple[Modality, str], str] = {
    (Modality.AUDIO, "fsdd"): "spoken digits",
    (Modality.AUDIO, "animals"): "animal sounds",
    (Modality.POINT, "shapes"): "3D shapes",
    (Modality.POINT, "derived digits"): "3D digits",
    (Modality.DEPTH, "derived digits"): "depth digits",
    (Modality.THERMAL, "derived digits"): "thermal digits",
    (Modality.IMU, "derived digits"): "IMU digits",
    (Modality.VIDEO, "derived digits"): "video digits",
    (Modality.VIDEO, "derived photos"): "video photographs",
}
"""(modality, kind of test item) → name of the sense."""

UNKNOWN_SUFFIX = ": no meaning"
"""Ends the names of sets of far-off input."""


@dataclass(frozen=True)
class RawSet:
    """Media tensors (without batch axis) with concept ids ``[n]``."""

    name: str
    modality: Modality
    labels: np.ndarray
    tensors: list[Tensor]


@dataclass(frozen=True)
class EmbeddedSet:
    """Embeddings ``[n, D]`` with concept ids ``[n]``; ``cached`` are the same after the visual cache."""

    name: str
    modality: Modality
    labels: np.ndarray
    plain: Tensor
    cached: Tensor | None
    default: Literal["off", "on"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def modes(self) -> tuple[str, ...]:
        """``off`` and, with a cache, ``on``."""
        return ("off",) if self.cached is None else ("off", "on")

    def conditions(self, mode: str | None = None) -> Tensor:
        """``[n, D]`` with the cache ``off`` or ``on`` (None: the model's default)."""
        if (mode or self.default) == "off":
            return self.plain
        assert self.cached is not None, "there is no cache"
        return self.cached


def settings_of(media: MediaReader) -> MediaSettings:
    """Media settings that nano's test sets can be made with.

    Raises:
        UserError: the encoder is of another type.
    """
    if not isinstance(media, MediaSettings):
        raise UserError(
            f"this model's encoder is of type {media.encoder_type}; nano's test sets are made for imagebind"
        )
    return media


def embed_set(model: ModelUnderTest, raw: RawSet) -> EmbeddedSet:
    """Embed a set, once, and enhance it if there is a cache."""
    plain = model.embed(raw.modality, raw.tensors)
    return embedded(model, raw.name, (raw.modality,), raw.labels, plain)


def embedded(
    model: ModelUnderTest, name: str, modalities: tuple[Modality, ...], labels: np.ndarray, plain: Tensor
) -> EmbeddedSet:
    """A set of ready conditions (embeddings or mixtures of them)."""
    cached = model.enhance(plain) if model.has_cache else None
    default: Literal["off", "on"] = "on" if cached is not None and model.uses_cache(modalities) else "off"
    return EmbeddedSet(name, modalities[-1], labels, plain, cached, default)


def picture_sets(world: World, cap: int) -> Iterator[RawSet]:
    """Handwriting and photographs, read from their original files as a user's would be."""
    for name, dataset in (("handwriting", "mnist"), ("photographs", "cifar10")):
        columns = read_columns(world.root, dataset, world.split, ("image", "label"))
        files, labels = columns["image"][:cap], label_ids(columns["label"][:cap])
        tensors = [load_media(Modality.IMAGE, file, world.settings) for file in files]
        yield RawSet(name, Modality.IMAGE, labels, tensors)


def other_sets(
    world: World, seed: int, recorded_cap: int | None, derived_cap: int, film_cap: int
) -> Iterator[RawSet]:
    """All other senses, and for each of their modalities the far-off input of the test world.

    Args:
        world: the test split.
        seed: of the derivations.
        recorded_cap: most items of a real set; None takes all.
        derived_cap: most items of a derived set.
        film_cap: most films (half of digits, half of photographs); they take long to encode.
    """
    for modality in dict.fromkeys(modality for modality, _ in _NAMES):
        items = modality_test_set(
            world, modality, seed, film_cap if modality is Modality.VIDEO else derived_cap
        )
        for kind in dict.fromkeys(item.kind for item in items):
            name = _NAMES.get((modality, kind), modality.value + UNKNOWN_SUFFIX)
            chosen = [item for item in items if item.kind == kind][:recorded_cap]
            labels = np.array([item.label for item in chosen], dtype=np.int64)
            yield RawSet(name, modality, labels, [item.tensor for item in chosen])
