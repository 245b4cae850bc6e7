"""A pool of labelled images, drawn from by domain."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imagebind_llm.common.errors import ConfigError


@dataclass(frozen=True)
class ImagePool:
    """Images in memory.

    Attributes:
        pixels: uint8 ``[N, H, W, 3]``.
        labels: int64 ``[N]``.
        domains: row numbers (int64) of each domain, by name; a partition of ``0 … N-1``.
    """

    pixels: np.ndarray
    labels: np.ndarray
    domains: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, rng: np.random.Generator, count: int, shares: Mapping[str, float]) -> np.ndarray:
        """``count`` row numbers; each domain gets its share, rounded up or down at random, so that the shares
        also hold for many draws of one.

        Raises:
            ConfigError: a share names a domain that the pool does not have, or all are zero.
        """
        names = [name for name, share in shares.items() if share > 0]
        unknown = [name for name in names if not len(self.domains.get(name, ()))]
        if unknown or not names:
            raise ConfigError(
                f"shares {dict(shares)} ask for {unknown or 'nothing'}; "
                f"this pool has {', '.join(n for n, rows in self.domains.items() if len(rows))}"
            )
        total = sum(shares[name] for name in names)
        exact = np.cumsum([shares[name] for name in names]) / total * count
        edges = np.floor(exact + rng.random()).astype(int).clip(max=count)
        edges[-1] = count
        rows = []
        for name, low, high in zip(names, [0, *edges[:-1]], edges, strict=True):
            rows.append(rng.choice(self.domains[name], high - low))
        return np.concatenate(rows)

    @cached_property
    def rows_by_label(self) -> dict[int, np.ndarray]:
        """Row numbers of each label that occurs."""
        order = np.argsort(self.labels, kind="stable")
        found, starts = np.unique(self.labels[order], return_index=True)
        return {int(label): rows for label, rows in zip(found, np.split(order, starts[1:]), strict=True)}

    def draw_balanced(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """About ``count`` row numbers, equally many of each label."""
        each = max(1, count // len(self.rows_by_label))
        return np.concatenate([rng.choice(rows, each) for rows in self.rows_by_label.values()])
