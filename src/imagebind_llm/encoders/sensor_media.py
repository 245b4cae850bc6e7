"""The media settings of an ImageBind's own sensors, read off its configuration."""

from imagebind_llm.imagebind import ImageBindConfig
from imagebind_llm.imagebind.config import GridConfig, ImuConfig
from imagebind_llm.media.settings import SensorKind, SensorSettings


def sensor_media(config: ImageBindConfig) -> dict[str, SensorSettings]:
    """Settings of each sensor by name; empty for an encoder without any."""
    found = {}
    for name, sensor in (config.sensors or {}).items():
        part = sensor.part
        kind: SensorKind = "cloud"
        if isinstance(part, GridConfig | ImuConfig):
            kind = "grid" if isinstance(part, GridConfig) else "sequence"
        found[name] = SensorSettings(kind, sensor.shape, sensor.mean, sensor.std)
    return found
