"""The nano world as the training and evaluation stages see it: batches and test sets per modality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.settings import ImuSettings, MediaSettings
from imagebind_llm.media.text import tokenize
from nano_lab.captions import captions
from nano_lab.world.concepts import DIGITS, UNCLEAR
from nano_lab.world.extrude import extruded_points, unclear_points
from nano_lab.world.film import film_batch
from nano_lab.world.furniture import furniture
from nano_lab.world.hearing import MelWorld
from nano_lab.world.heat import heat_picture, thermal_batch, unclear_heat
from nano_lab.world.images import ImageSet, load_images
from nano_lab.world.motion import aimless_paths, imu_batch, unclear_motion, writing_motion
from nano_lab.world.penpath import KNOTS, pen_paths
from nano_lab.world.relief import depth_batch, relief_depth, unclear_depth
from nano_lab.world.sentences import Sentences
from nano_lab.world.settings import nano_media_settings
from nano_lab.world.shapes import ShapeSet, load_shapes, view_shapes
from nano_lab.world.sounds import AudioSet, load_audio, load_other_sounds
from nano_lab.world.tables import Split
from nano_lab.world.tunes import strange_wave
from nano_lab.world.unclear import unclear_images

UNCLEAR_SHARE = 0.14
"""Share of a training batch that shows nothing known."""

_TUNES = 300
"""Made sounds that join the recordings of other animals in training."""

_MARKS = ("", ".", "", "。", "", "!", "?", "", "...")
"""What may stand behind a caption; mostly nothing."""

TowerBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class World:
    """One split of the nano world, loaded as it is needed.

    Args:
        root: folder with mnist, cifar10, fsdd, animals, animals_extra and shapes.
        split: which split every sense is made from.
        settings: sizes and standardisation of the senses; nano's own by default.
        written: sentences about photographs, that training texts are made of too.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        settings: MediaSettings | None = None,
        written: Sequence[str] = (),
    ) -> None:
        self.root = Path(root)
        self.split: Split = split
        self.settings = settings or nano_media_settings()
        self._written = written
        self._paths: np.ndarray | None = None
        self._path_known: np.ndarray | None = None

    @cached_property
    def images(self) -> ImageSet:
        """Digits and photographs."""
        return load_images(self.root, self.split)

    @cached_property
    def sounds(self) -> AudioSet:
        """Spoken digits and animal calls."""
        return load_audio(self.root, self.split)

    @cached_property
    def shapes(self) -> ShapeSet:
        """Point clouds of objects."""
        return load_shapes(self.root, self.split)

    @cached_property
    def mel(self) -> MelWorld:
        """All sounds as spectra; takes about half a minute the first time."""
        others = load_other_sounds(self.root, self.split)
        if self.split == "train":
            rng = np.random.default_rng(_TUNES)
            made = [strange_wave(rng) for _ in range(_TUNES)]
            others = replace(others, waves=[*others.waves, *made])
        return MelWorld(self.sounds, others, self.settings.audio, UNCLEAR_SHARE)

    @cached_property
    def sentences(self) -> Sentences:
        """What training puts around captions."""
        return Sentences(self._written)

    @cached_property
    def digit_rows(self) -> list[np.ndarray]:
        """For each digit, the rows of ``images`` that show it."""
        return [np.flatnonzero(self.images.labels == digit.id) for digit in DIGITS]

    @cached_property
    def class_rows(self) -> list[np.ndarray]:
        """For each known concept, the rows of ``images`` that show it."""
        return [np.flatnonzero(self.images.labels == label) for label in range(UNCLEAR)]

    def pen_paths(self, rows: np.ndarray) -> np.ndarray:
        """Pen paths ``[B, KNOTS, 2]`` of digit pictures, each traced once and remembered."""
        if self._paths is None or self._path_known is None:
            self._paths = np.zeros((len(self.images), KNOTS, 2), np.float32)
            self._path_known = np.zeros(len(self.images), bool)
        new = np.unique(rows[~self._path_known[rows]])
        if len(new):
            self._paths[new] = pen_paths(self.images.ink(new))
            self._path_known[new] = True
        return self._paths[rows]

    def modality_batch(self, modality: Modality, rng: np.random.Generator, count: int) -> TowerBatch:
        """A random batch of one sense, a pure function of the loaded data and ``rng``.

        Returns:
            The tensor as the encoder takes it (text ``[B, context]``, audio ``[B, 1, mel, frames]``, point
            ``[B, N, 3]``, depth and thermal ``[B, 1, H, W]``, imu ``[B, 6, samples]``, video
            ``[B, S, 3, T, H, W]``), labels int64 ``[B]``, and int64 ``[B]`` rows of ``images`` the items were
            derived from, -1 for texts, real recordings and shapes and for unclear items.

        Raises:
            UserError: the modality is not one of these seven.
        """
        makers: dict[Modality, Callable[[np.random.Generator, int], TowerBatch]] = {
            Modality.TEXT: self._text,
            Modality.AUDIO: self._audio,
            Modality.POINT: self._point,
            Modality.DEPTH: self._depth,
            Modality.THERMAL: self._thermal,
            Modality.IMU: self._imu,
            Modality.VIDEO: self._video,
        }
        if modality not in makers:
            known = ", ".join(makers)
            raise UserError(f"the nano world has no batches for {modality!s}; it has them for: {known}")
        return makers[modality](rng, count)

    def draw(
        self, rng: np.random.Generator, count: int, groups: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels and rows ``[count]``: a tenth unclear (row -1), the others even over ``groups`` of rows."""
        groups = [rows for rows in groups if len(rows)]
        group = rng.integers(0, len(groups), count)
        sizes = np.array([len(rows) for rows in groups])
        place = (rng.random(count) * sizes[group]).astype(np.int64)
        starts = np.cumsum(sizes) - sizes
        rows = np.concatenate(groups)[starts[group] + place]
        labels = self.images.labels[rows].copy()
        unclear = rng.random(count) < UNCLEAR_SHARE
        labels[unclear], rows[unclear] = UNCLEAR, -1
        return labels, rows

    def _assemble(
        self,
        rng: np.random.Generator,
        count: int,
        known: Callable[[np.ndarray], torch.Tensor],
        unclear: Callable[[int], torch.Tensor],
    ) -> TowerBatch:
        """A batch of derived digits (``known`` of their rows) and unclear items (``unclear`` of a number)."""
        labels, rows = self.draw(rng, count, self.digit_rows)
        return _merge(
            [(rows >= 0, known(rows[rows >= 0])), (rows < 0, unclear(int((rows < 0).sum())))], labels, rows
        )

    def _ink(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.images.ink(rows))

    def _audio(self, rng: np.random.Generator, count: int) -> TowerBatch:
        tensor, labels = self.mel.batch(rng, count)
        return tensor, labels, torch.full((count,), -1, dtype=torch.int64)

    def _depth(self, rng: np.random.Generator, count: int) -> TowerBatch:
        size = self.settings.depth.size
        batch = self._assemble(
            rng,
            count,
            lambda rows: relief_depth(self._ink(rows), rng, size),
            lambda number: unclear_depth(rng, number, size),
        )
        return depth_batch(batch[0], self.settings.depth), batch[1], batch[2]

    def _thermal(self, rng: np.random.Generator, count: int) -> TowerBatch:
        size = self.settings.thermal.size
        batch = self._assemble(
            rng,
            count,
            lambda rows: heat_picture(self._ink(rows), rng, size),
            lambda number: unclear_heat(rng, number, size),
        )
        return thermal_batch(batch[0], self.settings.thermal), batch[1], batch[2]

    def _text(self, rng: np.random.Generator, count: int) -> TowerBatch:
        """Captions as people end them: with a mark, or with none; in training also in sentences."""
        labels = rng.integers(0, UNCLEAR + 1, count)
        known = [captions(int(label)) for label in labels]
        texts = [forms[rng.integers(len(forms))] for forms in known]
        if self.split == "train":
            texts = [
                self.sentences.put(rng, int(label), text) for label, text in zip(labels, texts, strict=True)
            ]
        texts = [text + _MARKS[rng.integers(len(_MARKS))] for text in texts]
        rows = torch.full((count,), -1, dtype=torch.int64)
        return tokenize(texts, self.settings.text), torch.from_numpy(labels), rows

    def _imu(self, rng: np.random.Generator, count: int) -> TowerBatch:
        imu = self.settings.imu
        return self._assemble(
            rng,
            count,
            lambda rows: imu_batch(writing_motion(self.pen_paths(rows), rng, imu.samples, imu.rate_hz), imu),
            lambda number: imu_batch(self._strange_motion(rng, number, imu), imu),
        )

    def _strange_motion(self, rng: np.random.Generator, count: int, imu: ImuSettings) -> np.ndarray:
        """Motions of no digit; in training every third one follows a path that a hand might write."""
        readings = unclear_motion(rng, count, imu.samples, imu.rate_hz)
        written = np.flatnonzero(rng.random(count) < 0.35) if self.split == "train" else np.zeros(0, np.int64)
        if len(written):
            paths = aimless_paths(rng, len(written))
            readings[written] = writing_motion(paths, rng, imu.samples, imu.rate_hz)
        return readings

    def _strange_points(self, rng: np.random.Generator, count: int, points: int) -> np.ndarray:
        """Clouds of no known shape; in training half of them are solid things."""
        clouds = unclear_points(rng, count, points)
        solid = np.flatnonzero(rng.random(count) < 0.5) if self.split == "train" else np.zeros(0, np.int64)
        if len(solid):
            clouds[solid] = furniture(rng, len(solid), points)
        return clouds

    def _point(self, rng: np.random.Generator, count: int) -> TowerBatch:
        points = self.settings.point.count
        labels, rows = self.draw(rng, count, self.digit_rows)
        real = (rows >= 0) & (rng.random(count) < 0.5)
        classes = np.unique(self.shapes.labels)
        labels[real], rows[real] = classes[rng.integers(0, len(classes), int(real.sum()))], -1
        chosen = np.array(
            [rng.choice(np.flatnonzero(self.shapes.labels == label)) for label in labels[real]], np.int64
        )
        parts = [
            (rows >= 0, torch.from_numpy(extruded_points(self._ink(rows[rows >= 0]), rng, points))),
            (real, torch.from_numpy(view_shapes(self.shapes.points[chosen], rng, points))),
            (
                labels == UNCLEAR,
                torch.from_numpy(self._strange_points(rng, int((labels == UNCLEAR).sum()), points)),
            ),
        ]
        return _merge(parts, labels, rows)

    def _video(self, rng: np.random.Generator, count: int) -> TowerBatch:
        labels, rows = self.draw(rng, count, self.class_rows)
        pixels = self.images.pixels[np.maximum(rows, 0)]
        unclear = np.flatnonzero(rows < 0)
        pixels[unclear] = unclear_images(rng, len(unclear), self.images.pixels)
        tensor = film_batch(pixels, labels, rng, self.settings.video)
        return tensor, torch.from_numpy(labels), torch.from_numpy(rows)


def _merge(parts: list[tuple[np.ndarray, torch.Tensor]], labels: np.ndarray, rows: np.ndarray) -> TowerBatch:
    """Put parts of a batch back in place; empty parts may have any shape."""
    filled = [(mask, tensor) for mask, tensor in parts if mask.any()]
    out = torch.empty(len(labels), *filled[0][1].shape[1:])
    for mask, tensor in filled:
        out[torch.from_numpy(mask)] = tensor
    return out, torch.from_numpy(labels), torch.from_numpy(rows)
