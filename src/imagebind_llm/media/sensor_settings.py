"""What a sensor of an encoder's own delivers: arrays of one shape, and how they are standardised."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality

SensorKind = Literal["grid", "sequence", "cloud"]
"""Of shape ``[channels, height, width]``, ``[channels, length]`` and ``[points, 3]``."""


@dataclass(frozen=True)
class SensorSettings:
    """One sensor.

    Raises:
        ConfigError: the shape does not suit the kind, or the numbers of channels differ.
    """

    kind: SensorKind
    shape: tuple[int, ...]
    """Of an array, as the encoder reads it. Clouds of another size are thinned or repeated."""
    mean: tuple[float, ...] = (0.0,)
    """One number, or one per channel (axis of a cloud)."""
    std: tuple[float, ...] = (1.0,)
    """Likewise."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(SensorKind):
            raise ConfigError(f"sensor kind is {self.kind!r}; expected grid, sequence or cloud")
        axes = {"grid": 3, "sequence": 2, "cloud": 2}[self.kind]
        if len(self.shape) != axes or min(self.shape) < 1 or (self.kind == "cloud" and self.shape[1] != 3):
            wanted = {"grid": "[channels, height, width]", "sequence": "[channels, length]"}
            raise ConfigError(
                f"sensor shape is {list(self.shape)}; a {self.kind} has "
                f"{wanted.get(self.kind, '[points, 3]')}"
            )
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (1, self.channels) or not all(map(math.isfinite, values)):
                raise ConfigError(
                    f"sensor {name} is {list(values)}; expected 1 or {self.channels} finite numbers"
                )
        if min(self.std) <= 0:
            raise ConfigError(f"sensor std is {list(self.std)}; expected numbers above 0")

    @property
    def channels(self) -> int:
        """Numbers of mean and std that fit: the channels, or the three axes of a cloud."""
        return 3 if self.kind == "cloud" else self.shape[0]

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> "SensorSettings":
        """Settings of the sensor ``name`` from plain values; the name becomes known (see ``Modality``).

        Raises:
            ConfigError: an unknown or missing key, or values that do not fit.
        """
        Modality.declare(name)
        values: dict[str, Any] = {key: _tupled(value) for key, value in data.items()}
        try:
            return cls(**values)
        except TypeError:
            raise ConfigError(
                f"media.sensors.{name} has {', '.join(map(str, data))}; expected kind, shape, mean and std"
            ) from None


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
