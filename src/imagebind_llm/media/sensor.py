"""Arrays of a sensor: ``.npy``, ``.npz`` or an array → the float32 tensor that the encoder's tower reads."""

import numpy as np
import torch
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import as_array, check_finite, is_array_file, read_array
from imagebind_llm.media.base import Limits, MediaSource, is_encoded, name_of, read_source
from imagebind_llm.media.budget import reserve
from imagebind_llm.media.settings import SensorSettings


def load_sensor(
    source: MediaSource, settings: SensorSettings, limits: Limits | None = None, label: str = "data"
) -> torch.Tensor:
    """The standardised array of a path, bytes or array, in ``settings.shape``.

    A single channel may lack its axis. A cloud may have any number of points: it is thinned evenly or
    repeated to the number that the encoder reads, always in the same way.

    Args:
        source: what to open; of a ``.npz`` the array called ``label`` or ``data``, or its only one.
        settings: of the sensor.
        limits: ``max_pixels`` values at most.
        label: the sensor's name.

    Raises:
        MediaError: not an array file, another shape, or values that are NaN, infinite or beyond float32.
    """
    limits = limits or Limits()
    name = name_of(source)
    values = array_of(source, limits, label)
    if values.size > limits.max_pixels:
        raise MediaError(
            name, f"{values.size} values", f"at most {limits.max_pixels}", "cut it or raise Limits.max_pixels"
        )
    reserve(values.nbytes + 4 * 8 * values.size, name, limits)
    return sensor_to_tensor(values, settings, name)


def array_of(source: MediaSource, limits: Limits, label: str = "data") -> NDArray[np.generic]:
    """The array in ``source`` as it is.

    Raises:
        MediaError: not an array file, or not numbers.
    """
    name = name_of(source)
    if not is_encoded(source):
        return as_array(source, name)
    data = read_source(source, limits)
    if not is_array_file(data):
        raise MediaError(name, "not an array file", "a .npy or .npz file", "save it with numpy.save")
    return read_array(data, name, limits, (label, "data"))


def sensor_to_tensor(
    values: NDArray[np.generic], settings: SensorSettings, name: str = "array"
) -> torch.Tensor:
    """Check, bring into shape and standardise one array."""
    values = shaped(values, settings, name)
    if settings.kind == "cloud":
        values = values[np.arange(settings.shape[0]) * len(values) // settings.shape[0]]
    check_finite(values, name)
    axes = (-1,) if settings.kind == "cloud" else (-1, *(1 for _ in settings.shape[1:]))
    mean, std = (np.reshape(np.array(part, np.float64), axes) for part in (settings.mean, settings.std))
    standard = (values.astype(np.float64) - mean) / std
    if np.abs(standard).max() > np.finfo(np.float32).max:
        raise MediaError(name, f"a value of {np.abs(values).max():.3g}", "float32 range", "rescale the array")
    return torch.from_numpy(np.ascontiguousarray(standard, dtype=np.float32))


def shaped(values: NDArray[np.generic], settings: SensorSettings, name: str) -> NDArray[np.generic]:
    """``values`` with all axes, or a :class:`MediaError` that names both shapes."""
    given = list(values.shape)
    if settings.kind != "cloud" and settings.shape[0] == 1 and values.ndim == len(settings.shape) - 1:
        values = values[None]
    free = settings.kind == "cloud" and values.ndim == 2 and len(values) > 0
    if values.shape[free:] != settings.shape[free:]:
        wanted = f"[n, {settings.shape[1]}]" if settings.kind == "cloud" else str(list(settings.shape))
        raise MediaError(
            name,
            f"an array of shape {given}",
            f"{wanted}, as this encoder's sensor delivers",
            "reorder or resample it",
        )
    return values
