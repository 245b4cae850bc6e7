"""Nano's world as the training stages see it: real pictures and derived senses, captions and dialogs of its
grammar."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.modality import Modality
from nano_lab.captions import captions
from nano_lab.data.pool import ImagePool
from nano_lab.data.worlds import ModalityExamples
from nano_lab.world.augment import augment_images, plain_images
from nano_lab.world.concepts import CONCEPTS, UNCLEAR
from nano_lab.world.copies import smoothed, stored
from nano_lab.world.photographs import crops, known_photographs, other_photographs, written_sentences
from nano_lab.world.senses import World
from nano_lab.world.sounds import RATE
from nano_lab.world.strangers import strange_images
from nano_lab.world.tables import FLICKR8K, Split
from nano_lab.world.unclear import unclear_images

_UNCLEAR_IMAGES = {"train": 8192, "test": 500}
"""Unclear pictures in a pool (a bank needs a fixed set; batches draw theirs anew)."""


@lru_cache(maxsize=1)
def nano_pictures(root: str, others: tuple[str, ...] = ()) -> "NanoPictures":
    """The world in ``root``: one and the same for all runs of a process, as decoding it takes a while."""
    return NanoPictures(root, others)


class NanoPictures:
    """A :class:`~nano_lab.data.worlds.PictureWorld` over the folder of nano's datasets.

    Args:
        root: the folder.
        others: data sets of photographs of other things, for training to doubt
            (:data:`nano_lab.world.photographs.OTHERS`).
    """

    label_count = len(CONCEPTS)
    judged_labels = UNCLEAR

    def __init__(self, root: str | Path, others: Sequence[str] = ()) -> None:
        self.root, self.others = Path(root), tuple(others)

    @lru_cache(maxsize=4)  # noqa: B019 - a world lives as long as its process
    def images(self, split: Split, limit: int | None = None) -> ImagePool:
        """Digits, objects and unclear pictures. Rows of the first two are those of ``load_images``.

        With photographs, training has those of known things too.
        """
        found = self._world(split).images
        digits, objects = found.rows_of("mnist"), found.rows_of("cifar10")
        rng = np.random.default_rng((0, split == "test"))
        count, material = _UNCLEAR_IMAGES[split], found.pixels[objects]
        if split == "test":
            unclear = unclear_images(rng, count, material)
        else:
            unclear = strange_images(rng, count, material, self._photographs)
        pixels = np.concatenate([found.pixels, unclear])
        labels = np.concatenate([found.labels, np.full(len(unclear), UNCLEAR)])
        domains = {"digits": digits, "objects": objects, "unclear": np.arange(len(found), len(pixels))}
        if split == "train" and self._photographs is not None:
            domains["photographs"] = np.arange(len(pixels), len(pixels) + len(self._known[1]))
            pixels = np.concatenate([pixels, self._shown(rng, np.arange(len(self._known[1])))])
            labels = np.concatenate([labels, self._known[1]])
        if limit is not None:
            share = limit / len(pixels)
            domains = {name: rows[: max(1, round(share * len(rows)))] for name, rows in domains.items()}
            kept = np.sort(np.concatenate(list(domains.values())))
            domains = {name: np.searchsorted(kept, rows) for name, rows in domains.items()}
            return ImagePool(pixels[kept], labels[kept], domains)
        return ImagePool(pixels, labels, domains)

    def fresh(self, pool: ImagePool, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The pixels of ``rows``, with unclear pictures newly drawn and photographs newly cut."""
        pixels = pool.pixels[rows]
        objects = np.flatnonzero(np.isin(rows, pool.domains["objects"]))
        pixels[objects] = smoothed(rng, pixels[objects])
        known = np.flatnonzero(np.isin(rows, pool.domains.get("photographs", ())))
        if len(known):
            pixels[known] = self._shown(rng, np.searchsorted(pool.domains["photographs"], rows[known]))
        unclear = np.flatnonzero(pool.labels[rows] == UNCLEAR)
        if len(unclear):
            material = pool.pixels[rng.choice(pool.domains["objects"], len(unclear))]
            pixels[unclear] = strange_images(rng, len(unclear), material, self._photographs)
        return pixels

    def augment(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        clip_probability: float | None = None,
    ) -> Tensor:
        """See :func:`nano_lab.world.augment.augment_images`."""
        return augment_images(pixels, labels, rng, clip_probability)

    def plain(self, pixels: np.ndarray) -> Tensor:
        """See :func:`nano_lab.world.augment.plain_images`."""
        return plain_images(pixels)

    def captions(self, label: int, count: int, seed: int) -> Sequence[str]:
        """Up to ``count`` captions of a concept, see :func:`nano_lab.captions.captions`."""
        known = captions(label)
        order = np.random.default_rng((seed, label)).permutation(len(known))
        return [known[place] for place in order[:count]]

    def modality_batch(self, modality: Modality, rng: np.random.Generator, count: int) -> ModalityExamples:
        """See :meth:`nano_lab.world.senses.World.modality_batch`."""
        return ModalityExamples(*self._world("train").modality_batch(modality, rng, count))

    def modality_test(self, modality: Modality, limit: int) -> ModalityExamples:
        """Held-out examples, always the same: all recordings for audio, else derived from test images."""
        world = self._world("test")
        if modality is not Modality.AUDIO:
            return ModalityExamples(*world.modality_batch(modality, np.random.default_rng(0), limit))
        from imagebind_llm.media.audio import waveform_to_tensor

        sounds = world.sounds
        media = [
            waveform_to_tensor(torch.from_numpy(wave)[None], RATE, world.settings.audio)
            for wave in sounds.waves
        ]
        labels = torch.from_numpy(sounds.labels)
        return ModalityExamples(torch.stack(media), labels, torch.full_like(labels, -1))

    def _shown(self, rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        """Photographs of known things, cut out anew and stored as CIFAR-10's copies are."""
        return stored(rng, crops(rng, self._known[0], rows, smallest=48))

    @property
    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        return known_photographs(str(self.root), "train")

    @property
    def _photographs(self) -> np.ndarray | None:
        """Those of other things, if there are any."""
        return other_photographs(str(self.root), "train") if FLICKR8K in self.others else None

    @lru_cache(maxsize=2)  # noqa: B019
    def _world(self, split: Split) -> World:
        written = split == "train" and FLICKR8K in self.others
        return World(self.root, split, written=written_sentences(str(self.root), split) if written else ())

    def texts(self) -> list[str]:
        """What the text tower reads in training: every caption, and all that may stand around one."""
        every = [caption for concept in range(UNCLEAR + 1) for caption in captions(concept)]
        return every + self._world("train").sentences.vocabulary()
