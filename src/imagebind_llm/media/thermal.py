"""Thermal images: 8- or 16-bit pictures, ``.npy``/``.npz`` → ``[1, size, size]`` float32, warmer = larger.

How raw values become 0..1 is said in :class:`ThermalSettings`: bytes by 255, floats already in 0..1 as they
are, everything else (radiometric counts, degrees) by ``low``/``high`` or, without these, stretched over the
image.
"""

import numpy as np
import torch
from PIL import Image

from imagebind_llm.media.arrays import as_array, check_finite, check_map, is_array_file, read_array
from imagebind_llm.media.base import Limits, MediaSource, is_encoded, name_of, read_source
from imagebind_llm.media.image import check_pixels, open_image, resize_map, upright
from imagebind_llm.media.settings import ThermalSettings


def load_thermal(
    source: MediaSource, settings: ThermalSettings, limits: Limits | None = None
) -> torch.Tensor:
    """``[1, size, size]`` of a path, bytes, PIL image (colour is reduced to grey) or array ``[H, W]``.

    Raises:
        MediaError: not a map, damaged, too large, or with values that are not finite.
    """
    limits = limits or Limits()
    name = name_of(source)
    if is_encoded(source):
        data = read_source(source, limits)
        if is_array_file(data):
            return thermal_to_tensor(
                check_map(read_array(data, name, limits, ("thermal", "temperature")), name, limits),
                settings,
                name,
            )
        source = open_image(data, name, limits)
    if isinstance(source, Image.Image):
        check_pixels(source.size, name, limits)
        image = upright(source)
        image = image if image.mode == "F" or image.mode.startswith("I") else image.convert("L")
        return thermal_to_tensor(np.asarray(image), settings, name)
    return thermal_to_tensor(check_map(as_array(source, name), name, limits), settings, name)


def thermal_to_tensor(
    thermal: np.ndarray | torch.Tensor, settings: ThermalSettings, name: str = "thermal map"
) -> torch.Tensor:
    """``[1, size, size]`` of a map ``[H, W]``."""
    raw = check_map(as_array(thermal, name), name)
    check_finite(raw, name, "pixel")
    low, high = _range(raw, settings)
    values = raw.astype(np.float64)
    share = ((values / 2 - low / 2) / max(high / 2 - low / 2, 1e-12)).clip(0.0, 1.0)  # halves: no overflow
    tensor = resize_map(torch.from_numpy(share.astype(np.float32)), settings.size)
    return (tensor - settings.mean) / settings.std


def _range(raw: np.ndarray, settings: ThermalSettings) -> tuple[float, float]:
    if settings.low is not None and settings.high is not None:
        return settings.low, settings.high
    if raw.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(raw.min()), float(raw.max())
    if raw.dtype.kind == "b" or (raw.dtype.kind == "f" and low >= 0 and high <= 1):
        return 0.0, 1.0
    return low, high
