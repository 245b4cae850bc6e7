"""Features as pairs: drawn for training, held out for evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.training.heads.features import Features


class Pairs(NamedTuple):
    """Features ``first [A, W]`` and ``second [B, V]`` with numbers of their labels."""

    first: Tensor
    second: Tensor
    first_labels: Tensor
    second_labels: Tensor


class PairSet(Protocol):
    """Pairs of two modalities."""

    @property
    def modalities(self) -> tuple[Modality, Modality]:
        """The two sides."""
        ...

    def draw(self, rng: np.random.Generator, size: int) -> Pairs:
        """``size`` pairs to learn from: a pure function of ``rng``'s state."""
        ...

    def held_out(self, most: int) -> Pairs:
        """Up to ``most`` held-out media of each side, always the same; empty if there are none."""
        ...

    def features(self) -> Mapping[Modality, Tensor]:
        """All features to learn from, by modality."""
        ...

    @property
    def counts(self) -> dict[str, int]:
        """How many media there are, for reports."""
        ...


@dataclass(frozen=True)
class RowPairs:
    """Pairs that belong together one by one, as a picture and its caption do."""

    modalities: tuple[Modality, Modality]
    train: Features
    test: Features | None

    def draw(self, rng: np.random.Generator, size: int) -> Pairs:
        """See :class:`PairSet`."""
        count = len(self.train.labels)
        return self._rows(self.train, rng.choice(count, size, replace=count < size))

    def held_out(self, most: int) -> Pairs:
        """See :class:`PairSet`."""
        if self.test is None:
            return self._rows(self.train, np.zeros(0, np.int64))
        return self._rows(self.test, _some(len(self.test.labels), most))

    def features(self) -> Mapping[Modality, Tensor]:
        """See :class:`PairSet`."""
        return self.train.columns

    @property
    def counts(self) -> dict[str, int]:
        """See :class:`PairSet`."""
        return {"train": len(self.train.labels), "test": len(self.test.labels) if self.test else 0}

    def _rows(self, found: Features, rows: np.ndarray) -> Pairs:
        first, second = (found.columns[kind][rows] for kind in self.modalities)
        labels = found.labels[rows]
        return Pairs(first, second, labels, labels)


@dataclass(frozen=True)
class ClassPairs:
    """Any two media of equal label are a pair."""

    modalities: tuple[Modality, Modality]
    train: tuple[Features, Features]
    test: tuple[Features, Features]
    contrast_all: bool = False
    """Whether the second side, of any class, brings as many again to be contrasted with."""

    def draw(self, rng: np.random.Generator, size: int) -> Pairs:
        """The first side at random, to each a medium of the second side of its class."""
        first, second = self.train
        usable = self._usable
        rows = usable[rng.choice(len(usable), size, replace=len(usable) < size)]
        share = rng.random(size)
        chosen = [
            own[int(part * len(own))]
            for part, own in zip(share, (self._by_label[int(first.labels[row])] for row in rows), strict=True)
        ]
        others = np.array(chosen, np.int64)
        if self.contrast_all:
            count = len(second.labels)
            others = np.concatenate([others, rng.choice(count, size, replace=count < size)])
        one, two = self.modalities
        return Pairs(
            first.columns[one][rows], second.columns[two][others], first.labels[rows], second.labels[others]
        )

    def held_out(self, most: int) -> Pairs:
        """See :class:`PairSet`."""
        first, second = self.test
        rows, others = (_some(len(side.labels), most) for side in self.test)
        one, two = self.modalities
        return Pairs(
            first.columns[one][rows], second.columns[two][others], first.labels[rows], second.labels[others]
        )

    def features(self) -> Mapping[Modality, Tensor]:
        """See :class:`PairSet`."""
        return {**self.train[0].columns, **self.train[1].columns}

    @property
    def counts(self) -> dict[str, int]:
        """See :class:`PairSet`."""
        return {
            f"{split} {kind.value}": len(side.labels)
            for split, sides in (("train", self.train), ("test", self.test))
            for kind, side in zip(self.modalities, sides, strict=True)
        }

    @cached_property
    def _by_label(self) -> dict[int, np.ndarray]:
        """The places of the second side by label."""
        labels = self.train[1].labels.numpy()
        return {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}

    @cached_property
    def _usable(self) -> np.ndarray:
        """The places of the first side whose class the second side has (all, unless media were bad)."""
        labels = self.train[0].labels.numpy()
        return np.flatnonzero(np.isin(labels, list(self._by_label)))


def _some(count: int, most: int) -> np.ndarray:
    """Up to ``most`` of ``count`` places, spread, always the same."""
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def hit_rate(nearest: Tensor, own: Tensor, others: Tensor) -> float:
    """Share of rows whose nearest column has their label.

    Args:
        nearest: ``[n]`` column of each row.
        own: labels ``[n]`` of the rows.
        others: labels ``[m]`` of the columns.
    """
    return float((others[nearest] == own).float().mean()) if len(own) else float("nan")


def concatenated(parts: list[Tensor]) -> Tensor:
    """Features of several sources below each other, float32."""
    return torch.cat([part.float() for part in parts])
