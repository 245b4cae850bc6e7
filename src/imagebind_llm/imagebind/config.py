"""Every size and constant of an ImageBind, as data.

The same classes build the published ImageBind-Huge, Point-Bind, the embedded nano and the tiny models of the
tests: only the values differ. ``ImageBindConfig.huge()`` and ``.nano()`` give the two named sets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.imagebind.parts import (
    ConvLayer,
    GridConfig,
    HeadConfig,
    ImuConfig,
    Part,
    PointConfig,
    StemConfig,
    TextConfig,
    TrunkConfig,
    positive,
)
from imagebind_llm.imagebind.records import from_plain, to_plain
from imagebind_llm.imagebind.sensor import SensorConfig

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
        positive("imagebind", embedding_dim=self.embedding_dim)
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
        return from_plain(cls, values, "imagebind")

    @classmethod
    def huge(cls, point: bool = False) -> "ImageBindConfig":
        """The published ImageBind-Huge; with ``point`` the one that Point-Bind added its encoder to."""
        from imagebind_llm.imagebind.presets import huge

        return huge(point)

    @classmethod
    def nano(cls) -> "ImageBindConfig":
        """The small encoder that this package carries."""
        from imagebind_llm.imagebind.presets import nano

        return nano()
