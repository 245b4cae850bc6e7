"""Inertial recordings as CSV files for :mod:`imagebind_llm.media.imu`: columns are named with their units."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.modality import Modality
from imagebind_llm.data.fetch.tables import write_dialogs, write_table

_QUESTION = "What is the person doing?"


def write_recording(
    path: Path, readings: NDArray[np.float64], rate_hz: float, acceleration: str, unit: str
) -> None:
    """Write one recording.

    Args:
        path: the CSV file.
        readings: ``[n, 6]``: accelerometer x y z, gyroscope x y z in rad/s.
        rate_hz: samples a second.
        acceleration: name of the accelerometer's columns.
        unit: of the acceleration.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [f"{acceleration}_{axis} [{unit}]" for axis in "xyz"] + [f"gyro_{axis} [rad/s]" for axis in "xyz"]
    table = np.column_stack([np.arange(len(readings)) / rate_hz, readings])
    header = ",".join(["time [s]", *names])
    np.savetxt(path, table, fmt="%.6f", delimiter=",", header=header, comments="", encoding="utf-8")


def write_labels(out: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write ``labels.csv`` (``file_name``, ``class`` and ``columns``) and dialogs of the same."""
    write_table(out / "labels.csv", ("file_name", "class", *columns), rows)
    write_dialogs(out, Modality.IMU, _QUESTION, ((str(row[0]), str(row[1])) for row in rows))
