"""What a detection can be told."""

import math
from dataclasses import dataclass, fields
from typing import Any

from imagebind_llm.common.errors import ConfigError, short


@dataclass(frozen=True)
class DetectionSettings:
    """Which boxes are kept.

    Raises:
        ConfigError: an impossible value.
    """

    threshold: float = 0.3
    """Least score, 0 … 1. A box that is as near to the only prompt as to nothing has 0.5 at most."""
    overlap: float = 0.4
    """Of two boxes whose intersection over union is larger, the better one stays."""
    most: int = 20
    """Boxes of a picture."""
    proposals: int = 100
    """Boxes that are looked at, those with the highest objectness."""
    temperature: float = 0.07
    """Cosines are divided by it before they become scores (the value that CLIP's training begins with)."""
    classify: bool = True
    """Whether prompts compete and each box gets its best one. Else a box may answer several prompts."""

    def __post_init__(self) -> None:
        for name, low, high in (("threshold", 0.0, 1.0), ("overlap", 0.0, 1.0), ("temperature", 1e-3, 1e3)):
            value: Any = getattr(self, name)
            real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not real or not low <= value <= high:
                raise ConfigError(f"{name} is {short(value)}; expected a number from {low:g} to {high:g}")
        for name, largest in (("most", 1000), ("proposals", 2000)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
                raise ConfigError(f"{name} is {short(value)}; expected a whole number from 1 to {largest}")
        if not isinstance(self.classify, bool):
            raise ConfigError(f"classify is {short(self.classify)}; expected True or False")


NAMES = tuple(field.name for field in fields(DetectionSettings))
