"""BasicMotions of the UEA archive: 80 recordings of 10 s at 10 Hz.

In a ``.ts`` file, a line is one recording: the six channels with ``:`` between them, then the class. The
package says that a channel is of the accelerometer or the gyroscope, but not its unit. Angular rates end at
34.87, which is the 2000 deg/s where such sensors end, so they are rad/s. Acceleration is in m/s² with gravity
taken off: near 0 for those who stand, and some 17 for those who run.
"""

from pathlib import Path

import numpy as np

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.text_files import read_text
from imagebind_llm.data.fetch.recordings import write_labels, write_recording

_RATE_HZ = 10.0


def write(unpacked: Path, out: Path) -> dict[str, int]:
    """See :attr:`imagebind_llm.data.fetch.catalogue.DataSet.writer`."""
    rows: list[tuple[str, str, str]] = []
    for split in ("TRAIN", "TEST"):
        path = unpacked / f"aeon/datasets/data/BasicMotions/BasicMotions_{split}.ts"
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if not line.strip() or line.startswith(("@", "#")):
                continue
            *channels, label = line.strip().split(":")
            try:
                readings = np.array([channel.split(",") for channel in channels], np.float64).T
            except ValueError:
                raise UserError(
                    f"{path.name}, line {number}: not numbers, or channels of several lengths"
                ) from None
            if readings.ndim != 2 or readings.shape[1] != 6:
                raise UserError(f"{path.name}, line {number}: {len(channels)} channels; expected 6")
            file_name = f"recordings/{label.lower()}/{split.lower()}-{len(rows):03d}.csv"
            write_recording(out / file_name, readings, _RATE_HZ, "linear_acceleration", "m/s^2")
            rows.append((file_name, label.lower(), split.lower()))
    write_labels(out, ("split",), rows)
    return {"recordings": len(rows), "classes": len({row[1] for row in rows})}
