"""Thermal images: 8- or 16-bit pictures, ``.npy``/``.npz`` → ``[1, size, size]`` float32, warmer = larger.

How raw values become 0..1 is said in :class:`ThermalSettings`: bytes by 255, floats already in 0..1 as they
are, everything else (radiometric counts, degrees) by ``low``/``high`` or, without these, stretched over the
image.
"""

import numpy as np
import torch
from PIL import Image

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import as_array, check_finite, check_map, is_array_file, read_array
from imagebind_llm.media.base import Limits, MediaSource, is_encoded, name_of, read_source
from imagebind_llm.media.budget import reserve
from imagebind_llm.media.image import (
    MAP_BYTES,
    check_pixels,
    loaded,
    map_of,
    open_image,
    resize_map,
    row_blocks,
    to_rgb,
)
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
            values = read_array(data, name, limits, ("thermal", "temperature"))
            return _from_array(values, settings, limits, name, held=values.nbytes)
        source = open_image(data, name, limits, as_map=True)
    if isinstance(source, Image.Image):
        check_pixels(source.size, name, limits)
        image = loaded(source, name)
        del source
        if image.mode != "F" and not image.mode.startswith("I"):
            image = _to_grey(image, name)
        return _to_tensor(image, settings, name)
    return _from_array(as_array(source, name), settings, limits, name, held=0)


def _from_array(
    values: np.ndarray, settings: ThermalSettings, limits: Limits, name: str, held: int
) -> torch.Tensor:
    values = check_map(values, name, limits)
    reserve(held + MAP_BYTES * values.size, name, limits)
    return _to_tensor(values, settings, name)


def _to_grey(image: Image.Image, name: str) -> Image.Image:
    try:
        return (to_rgb(image) if image.mode in ("LAB", "La") else image).convert("L")
    except Exception as error:  # modes that Pillow does not convert
        raise MediaError(
            name, f"an image of mode {image.mode} ({error})", "grey or RGB", "convert it"
        ) from error


def thermal_to_tensor(
    thermal: np.ndarray | torch.Tensor, settings: ThermalSettings, name: str = "thermal map"
) -> torch.Tensor:
    """``[1, size, size]`` of a map ``[H, W]``."""
    return _to_tensor(check_map(as_array(thermal, name), name), settings, name)


def _to_tensor(raw: np.ndarray | Image.Image, settings: ThermalSettings, name: str) -> torch.Tensor:
    low, high = _range(raw, settings, name)

    def share(block: np.ndarray) -> np.ndarray:
        halves = block.astype(np.float64) / 2 - low / 2  # halves: no overflow
        return (halves / max(high / 2 - low / 2, 1e-12)).clip(0.0, 1.0)

    return (resize_map(map_of(raw, share), settings.size) - settings.mean) / settings.std


def _range(raw: np.ndarray | Image.Image, settings: ThermalSettings, name: str) -> tuple[float, float]:
    low, high, kinds = np.inf, -np.inf, set()
    for _, block in row_blocks(raw):
        check_finite(block, name, "pixel")
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        kinds.add(block.dtype)
    (dtype,) = kinds
    if settings.low is not None and settings.high is not None:
        return settings.low, settings.high
    if dtype == np.uint8:
        return 0.0, 255.0
    if dtype.kind == "b" or (dtype.kind == "f" and low >= 0 and high <= 1):
        return 0.0, 1.0
    return low, high
