"""Every size and constant of an ImageBind, as data: trunks, heads, stems, towers, sensors.

The same classes build the published ImageBind-Huge, Point-Bind, the bundled nano and the tiny models of the
tests: only the values differ. ``ImageBindConfig.huge()`` and ``.nano()`` give the two named sets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imagebind_llm.common.budget import MOST_LAYERS
from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import build, check_numbers, to_plain
from imagebind_llm.encoders.imagebind.presets import huge, nano

__all__ = [
    "ConvLayer",
    "GridConfig",
    "HeadConfig",
    "ImageBindConfig",
    "ImuConfig",
    "Part",
    "PointConfig",
    "SensorConfig",
    "StemConfig",
    "TextConfig",
    "TrunkConfig",
]


@dataclass(frozen=True)
class TrunkConfig:
    """A stack of pre-norm transformer blocks."""

    width: int
    blocks: int
    heads: int
    mlp_ratio: int = 4
    norm_eps: float = 1e-6
    """Epsilon of the blocks' layer norms and of ``pre_norm``."""
    pre_norm: bool = False
    """A layer norm on the tokens before the first block (only vision has one)."""
    qkv_bias: bool = True
    bias_kv: bool = False
    """One extra, learned key and value that every token can attend to."""
    drop_path: float = 0.0
    """Chance of skipping a residual branch of the last block in training; grows linearly from 0 at the first
    block."""

    def check(self, path: str) -> None:
        check_numbers(
            self,
            path,
            least={"width": 1, "blocks": 1, "heads": 1, "mlp_ratio": 1},
            most={"blocks": MOST_LAYERS},
        )
        share(path, drop_path=self.drop_path)
        if self.width % self.heads:
            raise ConfigError(
                f"{path}.width is {self.width}, which {path}.heads = {self.heads} does not divide; "
                "choose a multiple"
            )


@dataclass(frozen=True)
class HeadConfig:
    """From the trunk's pooled token to the joint space."""

    dropout: float = 0.0
    logit_scale: float | None = None
    """Factor on the unit embedding at the start; ``None`` = no factor (vision)."""
    learn_scale: bool = False
    max_scale: float = 100.0
    """The factor never exceeds this, however it was learned."""
    norm_eps: float = 1e-6

    def check(self, path: str) -> None:
        share(path, dropout=self.dropout)
        if self.logit_scale is not None and self.logit_scale <= 0:
            raise ConfigError(f"{path}.logit_scale is {self.logit_scale}; expected a number above 0 or null")
        if self.learn_scale and self.logit_scale is None:
            raise ConfigError(
                f"{path}.learn_scale is true but {path}.logit_scale is null; set a scale to learn from"
            )


@dataclass(frozen=True)
class ConvLayer:
    """Conv2d (no bias, padding kernel // 2) → max-pool → BatchNorm → GELU.

    With ``residual`` the result ``y`` then becomes ``y + GELU(BatchNorm(conv y))``, in the same shape.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    pool: int = 1
    residual: bool = False

    def check(self, path: str) -> None:
        check_numbers(self, path, least={"channels": 1, "kernel": 1, "stride": 1, "pool": 1})
        if self.kernel % 2 == 0:
            raise ConfigError(f"{path}.kernel is {self.kernel}; expected an odd number")

    def out_size(self, size: int) -> int:
        """Length of one axis after this layer."""
        return ((size + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1) // self.pool


@dataclass(frozen=True)
class StemConfig:
    """From a grid of pixels (or mel bins) to a grid of tokens.

    ``kernel``, ``stride`` and ``padding`` are (height, width), or (time, height, width) where there are
    frames. With ``convs`` the first convolution is followed by BatchNorm and GELU and by these layers.
    """

    channels: int
    """Channels out of the first convolution."""
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    convs: tuple[ConvLayer, ...] = ()
    norm: bool = False
    """A layer norm (epsilon 1e-5) on the tokens, before the class token and positions join."""

    @property
    def out_channels(self) -> int:
        return self.convs[-1].channels if self.convs else self.channels

    def grid(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The token grid made from an input of ``size`` (same axes as ``kernel``)."""
        sizes = [
            (length + 2 * pad - kernel) // stride + 1
            for length, kernel, stride, pad in zip(size, self.kernel, self.stride, self.padding, strict=True)
        ]
        for layer in self.convs:
            sizes[-2:] = [layer.out_size(length) for length in sizes[-2:]]
        return tuple(sizes)

    def check(self, path: str) -> None:
        check_numbers(self, path, least={"channels": 1})
        for i, layer in enumerate(self.convs):
            layer.check(f"{path}.convs[{i}]")


@dataclass(frozen=True)
class GridConfig:
    """Vision, audio, depth and thermal: tokens from a grid, a class token in front."""

    channels: int
    size: tuple[int, int]
    """(height, width) of the input; for audio (mel bins, time frames)."""
    stem: StemConfig
    trunk: TrunkConfig
    head: HeadConfig = HeadConfig()
    frames: int = 0
    """Frames a clip has; 0 = no time axis. A still image counts as that many equal frames."""

    @property
    def grid(self) -> tuple[int, ...]:
        """The token grid, (time, height, width) or (height, width)."""
        return self.stem.grid((self.frames, *self.size) if self.frames else self.size)

    def check(self, path: str) -> None:
        check_numbers(self, path, least={"channels": 1})
        self.stem.check(f"{path}.stem")
        axes = 3 if self.frames else 2
        for name in ("kernel", "stride", "padding"):
            value = getattr(self.stem, name)
            if len(value) != axes:
                raise ConfigError(
                    f"{path}.stem.{name} has {len(value)} numbers, but with {path}.frames = {self.frames} "
                    f"it needs {axes}"
                )
        if self.frames and self.stem.padding[0]:
            raise ConfigError(
                f"{path}.stem.padding is {self.stem.padding}; time (the first number) cannot be padded, use 0"
            )
        if min(self.grid) < 1:
            raise ConfigError(
                f"{path}.stem turns {path}.size = {self.size} into an empty grid {self.grid}; "
                "use smaller kernels, strides or pools"
            )
        if self.stem.out_channels != self.trunk.width:
            last = f"convs[{len(self.stem.convs) - 1}].channels" if self.stem.convs else "channels"
            raise ConfigError(
                f"{path}.stem.{last} is {self.stem.out_channels} but {path}.trunk.width is "
                f"{self.trunk.width}; make them equal"
            )
        self.trunk.check(f"{path}.trunk")
        self.head.check(f"{path}.head")


@dataclass(frozen=True)
class TextConfig:
    """Token ids to tokens; causal; read out at the largest id, which is the end of text."""

    trunk: TrunkConfig
    head: HeadConfig
    vocabulary: int = 49408
    context: int = 77

    def check(self, path: str) -> None:
        check_numbers(self, path, least={"vocabulary": 1, "context": 1})
        if self.trunk.bias_kv:
            raise ConfigError(f"{path}.trunk.bias_kv is true; a causal trunk has no such key, use false")
        if self.head.dropout:
            raise ConfigError(f"{path}.head.dropout is {self.head.dropout}; the text head has none, use 0")
        self.trunk.check(f"{path}.trunk")
        self.head.check(f"{path}.head")


@dataclass(frozen=True)
class ImuConfig:
    """Inertial signals, cut into windows of ``kernel_size`` samples, one token each."""

    trunk: TrunkConfig
    head: HeadConfig
    channels: int = 6
    length: int = 2000
    kernel_size: int = 8

    def check(self, path: str) -> None:
        check_numbers(self, path, least={"channels": 1, "length": 1, "kernel_size": 1})
        if self.length % self.kernel_size:
            raise ConfigError(
                f"{path}.length is {self.length}, which {path}.kernel_size = {self.kernel_size} does not "
                "divide; choose a divisor"
            )
        self.trunk.check(f"{path}.trunk")
        self.head.check(f"{path}.head")


@dataclass(frozen=True)
class PointConfig:
    """Point-Bind: groups of neighbours around well-spread centres, one token each."""

    groups: int
    group_size: int
    trunk: TrunkConfig
    head: HeadConfig
    group_hidden: int = 128
    """First width of the per-group network; its others are 2 x and 4 x this."""
    group_width: int = 256
    """Width of a group's feature before it is projected to the trunk's width."""
    position_hidden: int = 128
    out_width: int = 512
    """Width of the pooled vector that the head receives."""

    def check(self, path: str) -> None:
        check_numbers(
            self,
            path,
            least={
                "groups": 1,
                "group_size": 1,
                "group_hidden": 1,
                "group_width": 1,
                "position_hidden": 1,
                "out_width": 1,
            },
        )
        if self.trunk.bias_kv or self.trunk.qkv_bias or self.trunk.pre_norm:
            raise ConfigError(
                f"{path}.trunk has bias_kv, qkv_bias or pre_norm set; the point trunk's weights have no "
                "place for them, set all three to false"
            )
        self.trunk.check(f"{path}.trunk")
        self.head.check(f"{path}.head")


Part = GridConfig | TextConfig | ImuConfig | PointConfig
"""A tower's settings."""


def share(path: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ConfigError(f"{path}.{name} is {value}; expected 0 or more and below 1")


@dataclass(frozen=True)
class SensorConfig:
    """A modality that only this encoder knows: how its arrays are standardised, and the tower for them.

    Exactly one tower is given: ``grid`` for arrays ``[channels, height, width]``, ``sequence`` for
    ``[channels, length]``, ``cloud`` for ``[points, 3]``.
    """

    mean: tuple[float, ...] = (0.0,)
    """Taken off every array before the tower sees it: one number, or one per channel (axis of a cloud)."""
    std: tuple[float, ...] = (1.0,)
    """What the rest is divided by, likewise."""
    grid: GridConfig | None = None
    sequence: ImuConfig | None = None
    cloud: PointConfig | None = None
    points: int = 0
    """Of a cloud."""

    @property
    def part(self) -> GridConfig | ImuConfig | PointConfig:
        """The tower."""
        found = [part for part in (self.grid, self.sequence, self.cloud) if part is not None]
        if len(found) != 1:
            raise ConfigError(f"a sensor has {len(found)} of grid, sequence and cloud; give exactly one")
        return found[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one array."""
        part = self.part
        if isinstance(part, GridConfig):
            return (part.channels, *part.size)
        return (part.channels, part.length) if isinstance(part, ImuConfig) else (self.points, 3)

    def check(self, path: str) -> None:
        self.part.check(path)
        channels = 3 if self.cloud is not None else self.shape[0]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ConfigError(f"{path}.{name} has {len(values)} numbers; expected 1 or {channels}")
        if min(self.std) <= 0:
            raise ConfigError(f"{path}.std is {list(self.std)}; expected numbers above 0")
        if self.grid is not None and self.grid.frames:
            raise ConfigError(f"{path}.grid.frames is {self.grid.frames}; a sensor has no time axis, use 0")
        if self.cloud is not None and self.points < max(self.cloud.groups, self.cloud.group_size):
            raise ConfigError(
                f"{path}.points is {self.points}; expected at least cloud.groups = {self.cloud.groups} and "
                f"cloud.group_size = {self.cloud.group_size}"
            )


@dataclass(frozen=True)
class ImageBindConfig:
    """All encoders of one joint space. A part that is ``None`` does not exist in the model.

    Raises:
        ConfigError: two values contradict each other; the message names both fields.
    """

    embedding_dim: int
    vision: GridConfig | None = None
    text: TextConfig | None = None
    audio: GridConfig | None = None
    depth: GridConfig | None = None
    thermal: GridConfig | None = None
    imu: ImuConfig | None = None
    point: PointConfig | None = None
    sensors: dict[str, SensorConfig] | None = None
    """Modalities of this encoder's own, by name; ``None`` = none."""

    def __post_init__(self) -> None:
        check_numbers(self, "imagebind", least={"embedding_dim": 1})
        for name, sensor in (self.sensors or {}).items():
            Modality.declare(name)
            sensor.check(f"sensors.{name}")
        parts = list(self.parts())
        if not parts:
            raise ConfigError("the ImageBind configuration has no modality; give it at least vision")
        for name, part in parts:
            part.check(name)
        for name in ("audio", "depth", "thermal"):
            part = getattr(self, name)
            if part is not None and part.frames:
                raise ConfigError(f"{name}.frames is {part.frames}; only vision has a time axis, use 0")
        if self.vision is not None and not self.vision.frames:
            raise ConfigError("vision.frames is 0; expected the frames of a clip, 2 in the published model")

    def parts(self) -> Iterator[tuple[str, Part]]:
        """The modalities that exist: the name in the weight layout and its settings."""
        for name in ("vision", "text", "audio", "depth", "thermal", "imu", "point"):
            part = getattr(self, name)
            if part is not None:
                yield name, part
        for name, sensor in (self.sensors or {}).items():
            yield name, sensor.part

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` restores an equal configuration."""
        return {key: value for key, value in to_plain(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ImageBindConfig":
        """The inverse of ``to_dict``. Raises ConfigError on an unknown, missing or contradicting setting."""
        return build(cls, values, "imagebind")

    @classmethod
    def huge(cls, point: bool = False) -> "ImageBindConfig":
        """The published ImageBind-Huge; with ``point`` the one that Point-Bind added its encoder to."""
        return cls.from_dict(huge(point))

    @classmethod
    def nano(cls) -> "ImageBindConfig":
        """The small encoder that this package carries."""
        return cls.from_dict(nano())
