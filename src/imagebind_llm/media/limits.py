"""How much a piece of media may ask of this machine."""

from dataclasses import dataclass, fields

from imagebind_llm.common.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Upper bounds, checked on sizes that headers declare, before anything is decoded.

    Raises:
        ConfigError: a limit is not a positive number.
    """

    max_bytes: int = 512 * 1024 * 1024
    """Size of a file, and of what a compressed archive unpacks to."""
    max_pixels: int = 100_000_000
    """Width × height of an image, a video frame or a map (an RGB image of this size takes 300 MB)."""
    max_seconds: float = 4 * 3600.0
    """Length of audio and video."""
    max_frames: int = 100_000
    """Video frames that are decoded to reach the ones that are kept."""
    max_points: int = 5_000_000
    """Points of a cloud, vertices or faces of a mesh, values of an IMU recording."""
    max_characters: int = 100_000
    """Length of a text before cleaning."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigError(f"limits.{field.name} is {value!r}; expected a positive number")
