"""Inertial recordings: ``.csv``, ``.npy``, ``.npz`` → ``[6, samples]`` float32.

Six channels, accelerometer x y z in m/s² then gyroscope x y z in rad/s, one row a sample; a seventh, first
column is time in seconds, or as a date with a time (ISO 8601). Where a CSV names its columns,
:mod:`imagebind_llm.media.imu_columns` takes accelerometer, gyroscope and time by name, in whatever order,
and brings them to these units. (A table of six long rows is read as channels by samples.) ImageBind's
encoder reads 2000 samples of 5 s; recordings at another rate are resampled, longer ones give their middle,
and shorter ones hold their last reading (a sensor at rest keeps feeling gravity; zeros would mean free
fall).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import (
    as_array,
    check_finite,
    columns_of_dates,
    has_plain_header,
    is_array_file,
    read_array,
    read_header,
    read_table,
)
from imagebind_llm.media.base import Limits, MediaSource, is_encoded, name_of, read_source, tell_of_more
from imagebind_llm.media.budget import reserve
from imagebind_llm.media.imu_columns import by_name
from imagebind_llm.media.settings import ImuSettings

_ROUNDING = 1e-3
"""Seconds by which the last time of a whole window may be off."""


def load_imu(source: MediaSource, settings: ImuSettings, limits: Limits | None = None) -> torch.Tensor:
    """``[6, samples]`` of a path, bytes or array ``[n, 6]``, ``[n, 7]`` (time first) or ``[6, n]``.

    Raises:
        MediaError: not numbers, not six or seven columns, times that do not rise.
    """
    limits = limits or Limits()
    name = name_of(source)
    if is_encoded(source):
        data = read_source(source, limits)
        if is_array_file(data):
            table = read_array(data, name, limits, ("imu", "data"))
        else:
            header = read_header(data, name)
            for place in columns_of_dates(data, name):  # read as seconds, whatever stands above
                if place < len(header):
                    header[place] = "time [s]"
            table = by_name(read_table(data, name, limits), header, name, has_plain_header(data, name))
    else:
        table = as_array(source, name)
    if table.size > limits.max_points:
        raise MediaError(
            name, f"{table.size} values", f"at most {limits.max_points}", "cut it or raise Limits.max_points"
        )
    reserve(10 * 8 * table.size, name, limits)  # times, readings at another rate, sums of them
    return imu_to_tensor(table, settings.source_rate_hz, settings, name)


def imu_to_tensor(
    readings: NDArray[np.floating] | torch.Tensor,
    rate_hz: float | None,
    settings: ImuSettings,
    name: str = "recording",
) -> torch.Tensor:
    """``[6, samples]`` of readings ``[n, 6]`` at ``rate_hz`` (None: the encoder's), or ``[n, 7]`` with
    times."""
    table = as_array(readings, name)
    if table.ndim == 2 and table.shape[1] not in (6, 7) and table.shape[0] in (6, 7):
        table = table.T
    if table.ndim != 2 or table.shape[1] not in (6, 7) or not len(table):
        raise MediaError(
            name,
            f"a table of shape {table.shape}",
            "six columns (accelerometer x y z in m/s², gyroscope x y z in rad/s), optionally time first",
            "reorder it",
        )
    check_finite(table, name, "reading")
    table = table.astype(np.float64)
    rate = settings.rate_hz if rate_hz is None else float(rate_hz)
    if not np.isfinite(rate) or rate <= 0:
        raise MediaError(name, f"a rate of {rate} Hz", "a positive one", "check source_rate_hz")
    if table.shape[1] == 7:
        times, table = table[:, 0] - table[0, 0], table[:, 1:]
        _check_times(times, name)
    else:
        times = np.arange(len(table)) / rate
    values = table if _on_grid(times, settings) else _regrid(times, table, settings)
    seconds = settings.samples / settings.rate_hz
    if times[-1] > seconds + _ROUNDING:
        tell_of_more("recording of motion", f"{seconds:.3g} seconds", "middle")
    first = max(len(values) - settings.samples, 0) // 2
    values = values[first : first + settings.samples]
    values = np.concatenate([values, np.repeat(values[-1:], settings.samples - len(values), axis=0)])
    values = (values - np.array(settings.mean)) / np.array(settings.std)
    if np.abs(values).max() > np.finfo(np.float32).max:
        raise MediaError(
            name, f"a reading of {np.abs(values).max():.3g}", "m/s² and rad/s", "check the units"
        )
    return torch.from_numpy(np.ascontiguousarray(values.T, dtype=np.float32))


def _check_times(times: NDArray[np.float64], name: str) -> None:
    steps = np.diff(times)
    if len(steps) and (not np.isfinite(times).all() or steps.min() <= 0):
        raise MediaError(
            name, "times that do not rise", "a first column of rising seconds", "sort it, or drop it"
        )
    if len(steps) and (np.median(steps) > 0.5 or np.median(steps) < 1e-6):
        raise MediaError(
            name,
            f"{np.median(steps):.6g} between samples in the time column",
            "seconds (1e-6 to 0.5)",
            "convert it to seconds, or drop it",
        )


def _on_grid(times: NDArray[np.float64], settings: ImuSettings) -> bool:
    """Whether every sample already lies where the encoder's rate puts it (within a hundredth of a step)."""
    return bool(np.abs(times * settings.rate_hz - np.arange(len(times))).max() < 0.01)


def _regrid(
    times: NDArray[np.float64], table: NDArray[np.float64], settings: ImuSettings
) -> NDArray[np.float64]:
    """Readings at the encoder's rate around the middle of the recording.

    Linear interpolation; when samples get fewer, each new one is the mean of the signal over its step, so
    that vibration faster than the new rate does not fold into slow motion.
    """
    duration = float(times[-1])
    span = settings.samples / settings.rate_hz
    start = max((duration - span) / 2, 0.0)
    count = min(int((duration - start) * settings.rate_hz + 1e-3) + 1, settings.samples)
    grid = start + np.arange(count) / settings.rate_hz
    source_step = duration / max(len(times) - 1, 1)
    if source_step * settings.rate_hz >= 0.9:
        return np.stack([np.interp(grid, times, column) for column in table.T], axis=1)
    half = 0.5 / settings.rate_hz
    low, high = np.clip(grid - half, 0, duration), np.clip(grid + half, 0, duration)
    areas = np.concatenate(
        [
            np.zeros((1, table.shape[1])),
            np.cumsum((table[1:] + table[:-1]) / 2 * np.diff(times)[:, None], axis=0),
        ]
    )
    columns = [
        (np.interp(high, times, area) - np.interp(low, times, area)) / (high - low) for area in areas.T
    ]
    return np.stack(columns, axis=1)
