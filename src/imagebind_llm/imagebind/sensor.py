"""A modality of an encoder's own, as its configuration describes it."""

from dataclasses import dataclass

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.imagebind.parts import GridConfig, ImuConfig, PointConfig


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
