"""How well the encoder alone tells things apart: the nearest class mean of training pictures.

The language model only sees the embedding, so this is about the best it could do; what lies between the two
is lost in binding and language, what lies below 1 in the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imagebind_llm.cache import VisualCache
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media import MediaSettings, load_media
from nano_lab.evaluation.model import ModelUnderTest
from nano_lab.grammar import is_doubt, named
from nano_lab.world.concepts import CONCEPTS, UNCLEAR
from nano_lab.world.tables import label_ids, read_columns
from nano_lab.world.unclear import unclear_images

PICTURES_PER_CLASS = 150


@dataclass(frozen=True)
class ClassMeans:
    """Unit means ``[C, D]`` of the pictures of the concepts ``labels [C]``, and where these came from."""

    means: Tensor
    labels: np.ndarray
    source: str

    def nearest(self, embeddings: Tensor) -> np.ndarray:
        """The concept id ``[n]`` of the nearest mean to each embedding ``[n, D]``."""
        found: np.ndarray = self.labels[(embeddings @ self.means.T).argmax(1).numpy()]
        return found

    def nearest_two(self, embeddings: Tensor) -> np.ndarray:
        """The two nearest known concepts ``[n, 2]``, in ascending order (for mixtures)."""
        known = self.labels != UNCLEAR
        scores = embeddings @ self.means[torch.from_numpy(known)].T
        found: np.ndarray = np.sort(self.labels[known][scores.topk(2, dim=1).indices.numpy()], axis=1)
        return found


def means_of(embeddings: Tensor, labels: np.ndarray, source: str) -> ClassMeans:
    """Means of embeddings ``[n, D]`` by label."""
    present = np.unique(labels)
    rows = [embeddings[torch.from_numpy(labels == label)].mean(0) for label in present]
    return ClassMeans(functional.normalize(torch.stack(rows), dim=1), present, source)


def means_from_pictures(
    model: ModelUnderTest, root: Path, settings: MediaSettings, each: int = PICTURES_PER_CLASS
) -> ClassMeans:
    """Means of the first ``each`` training pictures of each concept, and of as many that show none.

    Raises:
        UserError: the training split is not there.
    """
    tensors: list[Tensor] = []
    labels: list[int] = []
    for dataset in ("mnist", "cifar10"):
        columns = read_columns(root, dataset, "train", ("image", "label"))
        ids = label_ids(columns["label"])
        for label in np.unique(ids):
            for row in np.flatnonzero(ids == label)[:each]:
                tensors.append(load_media(Modality.IMAGE, columns["image"][row], settings))
                labels.append(int(label))
    for picture in unclear_images(np.random.default_rng(0), each):
        tensors.append(load_media(Modality.IMAGE, picture, settings))
        labels.append(UNCLEAR)
    rows = model.embed(Modality.IMAGE, tensors)
    return means_of(rows, np.array(labels), f"{each} training pictures of each class")


def means_from_cache(cache: VisualCache) -> ClassMeans:
    """Means of cached pictures by what their captions name.

    Raises:
        UserError: fewer than two concepts are named by the captions.
    """
    hits = cache.search(torch.ones(1, cache.dim), k=cache.size)
    by_name = {f"num:{c.id}" if c.kind == "digit" else f"obj:{c.id}": c.id for c in CONCEPTS}
    rows, labels = [], []
    for vector, number in zip(hits.vectors[0], hits.indices[0].tolist(), strict=True):
        caption = (cache.entry(number).caption or "") if number >= 0 else ""
        found = named(caption)
        if len(found) == 1 and (label := by_name.get(next(iter(found)))) is not None:
            rows.append(vector)
            labels.append(label)
        elif caption and is_doubt(caption):
            rows.append(vector)
            labels.append(UNCLEAR)
    if len(set(labels)) < 2:
        raise UserError(
            "there are neither training pictures nor a cache with captions to take class means from; "
            "give the data folder with its train split"
        )
    return means_of(torch.stack(rows), np.array(labels), f"{len(rows)} captioned pictures of the cache")
