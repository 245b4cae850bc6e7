"""Depth maps: 16-bit PNG or TIFF in millimetres, ``.npy``/``.npz`` in metres → ``[1, size, size]`` float32.

An array of whole numbers is in millimetres as such a PNG is: nobody measures depth in whole metres. The
turned bits of SUN RGB-D's PNGs are read when ``DepthSettings.image_encoding`` says so.

ImageBind's depth encoder was trained on disparity (nearer = larger). The conversion from metres is
Omnivore's published SUN RGB-D recipe, given with its numbers in :class:`DepthSettings`. Pixels without a
measurement (0, NaN, infinite) get disparity 0, "infinitely far": the sensor's zero would otherwise become
the nearest possible point.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import as_array, check_map, is_array_file, read_array
from imagebind_llm.media.base import Limits, MediaSource, is_encoded, name_of, read_source
from imagebind_llm.media.budget import reserve
from imagebind_llm.media.image import MAP_BYTES, check_pixels, loaded, map_of, open_image, resize_map
from imagebind_llm.media.settings import DepthSettings

Reader = Callable[[np.ndarray], np.ndarray]
"""Turns a block of raw numbers into the unit of the settings."""
_NUMBERS = 1 << 16


def load_depth(source: MediaSource, settings: DepthSettings, limits: Limits | None = None) -> torch.Tensor:
    """``[1, size, size]`` of a path, bytes, PIL image or array ``[H, W]`` in ``settings.unit``.

    Where that is metres, whole numbers are millimetres, or whatever ``image_units_per_metre`` says.

    Raises:
        MediaError: not a one-channel map, too large, no valid pixel, or 8-bit pixels said to be metres.
    """
    limits = limits or Limits()
    name = name_of(source)
    if is_encoded(source):
        data = read_source(source, limits)
        if is_array_file(data):
            values = read_array(data, name, limits, ("depth", "disparity"))
            return _from_array(values, settings, limits, name, held=values.nbytes)
        source = open_image(data, name, limits, as_map=True)
    if isinstance(source, Image.Image):
        check_pixels(source.size, name, limits)
        image = loaded(source, name)
        del source
        return _to_tensor(image, _reader_of_image(image, settings, name), settings, name)
    return _from_array(as_array(source, name), settings, limits, name, held=0)


def depth_to_tensor(
    depth: np.ndarray | torch.Tensor, settings: DepthSettings, name: str = "depth map"
) -> torch.Tensor:
    """``[1, size, size]`` of a map ``[H, W]`` in ``settings.unit`` (metres, or disparity in pixels)."""
    return _to_tensor(check_map(as_array(depth, name), name), _as_it_is, settings, name)


def _to_tensor(
    depth: np.ndarray | Image.Image, reader: Reader, settings: DepthSettings, name: str
) -> torch.Tensor:
    found = False
    table: list[tuple[np.ndarray, np.ndarray]] = []

    def shares(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each number, its share of the largest disparity, and whether it was measured."""
        values = reader(block).astype(np.float64)
        known = np.isfinite(values) & (values > 0)
        if settings.unit == "metres":
            metres = np.where(known, values, 1.0).clip(settings.min_metres, settings.max_metres)
            values = settings.baseline_metres * settings.focal_pixels / metres
        disparity = np.where(known, values, 0.0).clip(0.0, settings.max_disparity)
        return (disparity / settings.max_disparity).astype(np.float32), known

    def share(block: np.ndarray) -> np.ndarray:
        nonlocal found
        if _is_16_bit(block):  # each number is converted once
            if not table:
                table.append(shares(np.arange(_NUMBERS)))
            found = found or bool(table[0][1][block].any())
            return table[0][0][block]
        values, known = shares(block)
        found = found or bool(known.any())
        return values

    disparity = map_of(depth, share)
    if not found:
        raise MediaError(
            name, f"no valid pixel among {disparity.numel()}", "depths above 0", "check how it was written"
        )
    return (resize_map(disparity, settings.size) - settings.mean) / settings.std


def _is_16_bit(block: np.ndarray) -> bool:
    """Whether a table of 16-bit numbers holds all of a block."""
    if block.dtype.kind not in "iu" or block.size < _NUMBERS:
        return False
    return block.dtype == np.uint16 or (block.min() >= 0 and block.max() < _NUMBERS)


def _as_it_is(block: np.ndarray) -> np.ndarray:
    return block


def _from_array(
    values: np.ndarray, settings: DepthSettings, limits: Limits, name: str, held: int
) -> torch.Tensor:
    values = check_map(values, name, limits)
    reserve(held + MAP_BYTES * values.size, name, limits)
    return _to_tensor(values, _reader_of_array(values, settings, name), settings, name)


def _reader_of_array(values: np.ndarray, settings: DepthSettings, name: str) -> Reader:
    """What brings numbers of such an array into ``settings.unit``."""
    if settings.unit != "metres" or values.dtype.kind == "f":
        return _as_it_is
    if values.dtype.itemsize == 1:
        raise MediaError(
            name,
            f"an array of {values.dtype}",
            "metres as floats, or 16-bit millimetres",
            "save one of these",
        )
    return lambda block: _unpacked(block, settings, name) / settings.image_units_per_metre


def _reader_of_image(image: Image.Image, settings: DepthSettings, name: str) -> Reader:
    """What brings pixels of such an image into ``settings.unit``."""
    mode = image.mode
    if mode == "F":
        return _as_it_is
    if not (mode.startswith("I") or (mode in ("L", "1") and settings.unit == "disparity")):
        remedy = (
            "save 16-bit millimetres"
            if settings.unit == "metres"
            else "save one channel; a coloured map holds no depth"
        )
        raise MediaError(name, f"an image of mode {mode}", f"one channel of depth in {settings.unit}", remedy)
    if settings.unit == "metres":
        return lambda block: _unpacked(block, settings, name) / settings.image_units_per_metre
    top = {"L": 255.0, "1": 1.0}.get(mode, 65535.0)
    return lambda block: block / top * settings.max_disparity


def _unpacked(values: np.ndarray, settings: DepthSettings, name: str) -> np.ndarray:
    """Whole numbers as they were before ``settings.image_encoding``."""
    if settings.image_encoding == "plain":
        return values
    if values.min() < 0 or values.max() > 0xFFFF:
        raise MediaError(
            name, f"numbers in {values.min()}..{values.max()}", "16 bits, as SUN RGB-D has", "check the file"
        )
    bits = values.astype(np.uint16)
    return bits >> 3 | bits << 13
