"""A new modality for an existing encoder: from a few words in a recipe to a tower with fresh weights."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.encoders.imagebind.config import (
    ConvLayer,
    GridConfig,
    HeadConfig,
    ImuConfig,
    PointConfig,
    SensorConfig,
    StemConfig,
    TrunkConfig,
)
from imagebind_llm.media.settings import SensorKind, SensorSettings

_LOGIT_SCALE = 10.0
"""Of the head's scaled output; ``encode`` normalises it away."""
_SMALLEST_STEM = 8


@dataclass(frozen=True)
class NewSensor:
    """What the arrays of a new modality look like, and how large its tower is."""

    kind: SensorKind
    """``grid``: like an image; ``sequence``: like a signal; ``cloud``: a set of points."""
    shape: tuple[int, ...]
    """Of an array: ``[channels, height, width]``, ``[channels, length]`` or ``[points, 3]``."""
    mean: tuple[float, ...] | None = None
    """One number, or one per channel; null = measured on the training pairs (as std)."""
    std: tuple[float, ...] | None = None
    """Likewise."""
    noise: float = 0.0
    """Gaussian noise added to the standardised arrays in training, in standard deviations."""
    width: int = 96
    """Of the trunk."""
    blocks: int = 2
    """Transformer blocks."""
    heads: int = 4
    """Attention heads."""
    patch: int = 8
    """One token stands for this many cells each way, samples, or points (a cloud has as many groups as
    points / patch, of twice this many)."""
    stem: Literal["conv", "linear"] = "conv"
    """Of a grid: convolutions that halve it until a token is left of each patch (a power of 2), or one linear
    map of a patch."""

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ConfigError(f"sensor.mean is {self.mean} and sensor.std {self.std}; give both or neither")
        if self.noise < 0 or self.patch < 1:
            raise ConfigError(
                f"sensor.noise is {self.noise}, sensor.patch {self.patch}; expected ≥ 0 and ≥ 1"
            )
        SensorSettings(self.kind, self.shape)  # checks the shape

    def config(self, mean: tuple[float, ...], std: tuple[float, ...]) -> SensorConfig:
        """The tower.

        Raises:
            ConfigError: sizes that contradict each other.
        """
        head = HeadConfig(dropout=0.1, logit_scale=_LOGIT_SCALE)
        trunk = TrunkConfig(self.width, self.blocks, self.heads, bias_kv=True)
        sensor = SensorConfig(mean, std)
        if self.kind == "grid":
            channels, height, width = self.shape
            grid = GridConfig(channels, (height, width), self._stem(), trunk, head)
            return replace(sensor, grid=grid)
        if self.kind == "sequence":
            channels, length = self.shape
            return replace(sensor, sequence=ImuConfig(trunk, head, channels, length, self.patch))
        trunk = replace(trunk, norm_eps=1e-5, qkv_bias=False, bias_kv=False)
        points = self.shape[0]
        cloud = PointConfig(
            groups=max(1, points // self.patch),
            group_size=min(points, 2 * self.patch),
            trunk=trunk,
            head=head,
            group_hidden=32,
            group_width=self.width,
            position_hidden=64,
            out_width=self.width,
        )
        return replace(sensor, cloud=cloud, points=points)

    def _stem(self) -> StemConfig:
        patch = (self.patch, self.patch)
        if self.stem == "linear":
            return StemConfig(self.width, kernel=patch, stride=patch, padding=(0, 0), norm=True)
        halvings = self.patch.bit_length() - 1
        if self.patch != 2**halvings or halvings < 1:
            raise ConfigError(
                f"sensor.patch is {self.patch}; a convolutional stem needs 2, 4, 8, …, or use stem: linear"
            )
        widths = [max(_SMALLEST_STEM, self.width >> (halvings - 1 - i)) for i in range(halvings)]
        convs = tuple(ConvLayer(width, pool=2, residual=True) for width in widths[1:])
        return StemConfig(widths[0], (3, 3), (2, 2), (1, 1), convs, norm=True)


def with_sensor(encoder: ImageBindModel, name: str, sensor: SensorConfig, seed: int) -> ImageBindModel:
    """The same encoder with one tower more, of fresh weights.

    Raises:
        ConfigError: it has a tower of that name already, or the name is taken.
    """
    config = encoder.config
    if name in dict(config.parts()):
        raise ConfigError(f"the encoder knows {name!r} already; leave out sensor to train it on")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        grown = ImageBindModel(replace(config, sensors={**(config.sensors or {}), name: sensor}))
    grown.load_state_dict({**grown.state_dict(), **encoder.state_dict()})
    return grown
