"""Depth maps: 16-bit PNG or TIFF in millimetres, ``.npy``/``.npz`` in metres → ``[1, size, size]`` float32.

An array of whole numbers is in millimetres as such a PNG is: nobody measures depth in whole metres.

ImageBind's depth encoder was trained on disparity (nearer = larger). The conversion from metres is
Omnivore's published SUN RGB-D recipe, given with its numbers in :class:`DepthSettings`. Pixels without a
measurement (0, NaN, infinite) get disparity 0, "infinitely far": the sensor's zero would otherwise become
the nearest possible point.
"""

import numpy as np
import torch
from PIL import Image

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import as_array, check_map, is_array_file, read_array
from imagebind_llm.media.base import Limits, MediaSource, is_encoded, name_of, read_source
from imagebind_llm.media.image import check_pixels, open_image, resize_map, upright
from imagebind_llm.media.settings import DepthSettings


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
            values = check_map(read_array(data, name, limits, ("depth", "disparity")), name, limits)
            return depth_to_tensor(_from_array(values, settings, name), settings, name)
        source = open_image(data, name, limits)
    if isinstance(source, Image.Image):
        check_pixels(source.size, name, limits)
        return depth_to_tensor(_from_image(upright(source), settings, name), settings, name)
    values = check_map(as_array(source, name), name, limits)
    return depth_to_tensor(_from_array(values, settings, name), settings, name)


def depth_to_tensor(
    depth: np.ndarray | torch.Tensor, settings: DepthSettings, name: str = "depth map"
) -> torch.Tensor:
    """``[1, size, size]`` of a map ``[H, W]`` in ``settings.unit`` (metres, or disparity in pixels)."""
    values = check_map(as_array(depth, name), name).astype(np.float64)
    known = np.isfinite(values) & (values > 0)
    if not known.any():
        raise MediaError(
            name, f"no valid pixel among {values.size}", "depths above 0", "check how it was written"
        )
    if settings.unit == "metres":
        metres = np.where(known, values, 1.0).clip(settings.min_metres, settings.max_metres)
        values = settings.baseline_metres * settings.focal_pixels / metres
    share = np.where(known, values, 0.0).clip(0.0, settings.max_disparity) / settings.max_disparity
    tensor = resize_map(torch.from_numpy(share.astype(np.float32)), settings.size)
    return (tensor - settings.mean) / settings.std


def _from_array(values: np.ndarray, settings: DepthSettings, name: str) -> np.ndarray:
    """An array as given in the unit that ``depth_to_tensor`` reads."""
    if settings.unit != "metres" or values.dtype.kind == "f":
        return values
    if values.dtype.itemsize == 1:
        raise MediaError(
            name,
            f"an array of {values.dtype}",
            "metres as floats, or 16-bit millimetres",
            "save one of these",
        )
    return values / settings.image_units_per_metre


def _from_image(image: Image.Image, settings: DepthSettings, name: str) -> np.ndarray:
    """Pixels of a PIL image in the unit that ``depth_to_tensor`` reads."""
    values = np.asarray(image)
    mode = image.mode
    if mode == "F":
        return values
    if not (mode.startswith("I") or (mode in ("L", "1") and settings.unit == "disparity")):
        remedy = (
            "save 16-bit millimetres"
            if settings.unit == "metres"
            else "save one channel; a coloured map holds no depth"
        )
        raise MediaError(name, f"an image of mode {mode}", f"one channel of depth in {settings.unit}", remedy)
    if settings.unit == "metres":
        return values / settings.image_units_per_metre
    top = {"L": 255.0, "1": 1.0}.get(mode, 65535.0)
    return values / top * settings.max_disparity
