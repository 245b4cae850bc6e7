"""The trained part of a tower: from a backbone's feature vector to a unit vector of the joint space."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.encoders.towers.settings import HeadSettings

_STILL = 1e-6
"""A feature whose deviation is below this share of the largest one never changes: it is not divided."""


class Head(nn.Module):
    """Standardise, map, scale to length 1.

    Args:
        settings: what there is between the feature and the embedding.
        width: of the feature.
        dim: of the embedding.

    Raises:
        ConfigError: a head of kind ``none`` between two different lengths.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: HeadSettings, width: int, dim: int) -> None:
        super().__init__()
        self.settings = settings
        if settings.kind == "none" and width != dim:
            raise ConfigError(
                f"a head of kind 'none' gives its backbone's {width} numbers, but embedding_dim is {dim}; "
                f"set embedding_dim to {width}, or use a linear or mlp head"
            )
        if settings.standardise:
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("std", torch.ones(width))
        self.layers = nn.Sequential()
        if settings.kind == "linear":
            self.layers = nn.Sequential(nn.Linear(width, dim))
        elif settings.kind == "mlp":
            hidden = settings.hidden
            self.layers = nn.Sequential(
                nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, dim)
            )

    @property
    def measured(self) -> bool:
        """Whether mean and deviation are those of some features; True where nothing is standardised."""
        if not self.settings.standardise:
            return True
        return bool((self.mean != 0).any() or (self.std != 1).any())

    def measure(self, features: Tensor) -> None:
        """Standardise by the mean and the deviation of ``features [n, width]`` from now on."""
        values = features.double()
        deviation = values.std(0, correction=0)
        still = deviation <= _STILL * float(deviation.max().clamp(min=1e-12))
        self.mean.copy_(values.mean(0))
        self.std.copy_(torch.where(still, torch.ones_like(deviation), deviation))

    def feature_of(self, embeddings: Tensor) -> Tensor:
        """Features ``[n, width]`` whose embeddings are the unit rows ``[n, dim]``, as long as standardised
        features are on average.

        Raises:
            ConfigError: the head is of another kind than ``none``, or was not measured yet.
        """
        if self.settings.kind != "none" or not self.measured:
            what = "has not been measured" if self.settings.kind == "none" else "is no head of kind 'none'"
            raise ConfigError(
                f"embeddings cannot be learned from: the head that made them {what}; give the media "
                "themselves, or train on some first"
            )
        x = F.normalize(embeddings.float(), dim=-1) * math.sqrt(embeddings.shape[1])
        return x * self.std.float() + self.mean.float() if self.settings.standardise else x

    def forward(self, features: Tensor) -> Tensor:
        """Unit rows ``[B, dim]`` float32 of features ``[B, width]``."""
        x = features.float()
        if self.settings.standardise:
            x = (x - self.mean.float()) / self.std.float()
        if len(self.layers):
            x = self.layers(x.to(next(self.layers.parameters()).dtype)).float()
        return F.normalize(x, dim=-1)
