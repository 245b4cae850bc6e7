"""The visual cache in two dimensions: the two directions in which its pictures differ most (PCA)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imagebind_llm.cache import VisualCache

_SEED = 0
_LOOKED_AT = 8
"""Pictures whose thumbnails are looked for: a cache keeps those of all, or of none."""


@dataclass(frozen=True)
class CacheMap:
    """A drawing of some cached pictures.

    Attributes:
        rows: their numbers in the cache.
        points: ``[N, 2]`` their places.
        captions: of those that have one, by number.
        pictures: whether any of them has a thumbnail.
        mean: ``[D]`` what is subtracted before projecting.
        axes: ``[D, 2]`` the two directions.
    """

    rows: list[int]
    points: Tensor
    captions: dict[int, str]
    pictures: bool
    mean: Tensor
    axes: Tensor

    @classmethod
    def of(cls, cache: VisualCache, most: int) -> "CacheMap":
        """A map of at most ``most`` pictures, drawn at random but always the same."""
        chosen = torch.randperm(cache.size, generator=torch.Generator().manual_seed(_SEED))[:most]
        vectors = cache.vectors(chosen)
        mean = vectors.mean(0)
        _, _, directions = torch.pca_lowrank(vectors - mean, q=min(2, *vectors.shape), center=False)
        axes = torch.zeros(vectors.shape[1], 2)
        axes[:, : directions.shape[1]] = directions
        axes = axes * torch.where(
            axes.sum(0) < 0, -1.0, 1.0
        )  # a direction and its opposite are the same axis
        rows = chosen.tolist()
        captions = {row: caption for row in rows if (caption := cache.entry(row).caption)}
        pictures = any(cache.entry(row).thumbnail is not None for row in rows[:_LOOKED_AT])
        return cls(rows, (vectors - mean) @ axes, captions, pictures, mean, axes)

    def place(self, vector: Tensor) -> list[float]:
        """Where a vector ``[D]`` lies."""
        unit = torch.nn.functional.normalize(vector.float(), dim=0)
        return [round(value, 4) for value in ((unit - self.mean) @ self.axes).tolist()]

    def to_dict(self, most: int) -> dict[str, Any]:
        """The first ``most`` of them, for JSON; they are in no order."""
        points = [
            [round(x, 4), round(y, 4), row]
            for (x, y), row in zip(self.points[:most].tolist(), self.rows[:most], strict=True)
        ]
        captions = {row: self.captions[row] for row in self.rows[:most] if row in self.captions}
        return {"points": points, "captions": captions, "pictures": self.pictures}
