"""seglearn's watch recordings: a pickled NumPy dictionary, of which arrays, lists and words alone are read.

``X`` is a list of ``[n, 6]`` at 50 Hz, accelerometer then gyroscope; ``y`` numbers into ``y_labels``;
``subject`` and ``side`` (1 right, 0 left). The package states no units. Acceleration is in g: it is near 1
at rest. Angular rates, up to 29, fit rad/s (in deg/s, no exercise would turn the arm by more than a few
degrees).
"""

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np

from imagebind_llm.common.errors import UserError, reason_of
from imagebind_llm.data.fetch.recordings import write_labels, write_recording

_RATE_HZ = 50.0
_NAMES = {
    "PEN": "pendulum",
    "ABD": "abduction",
    "FEL": "forward elevation",
    "IR": "internal rotation",
    "ER": "external rotation",
    "TRAP": "trapezius extension",
    "ROW": "upright row",
}
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
"""What an array is made with; a pickle that names anything else is refused."""


def write(unpacked: Path, out: Path) -> dict[str, int]:
    """See :attr:`imagebind_llm.data.fetch.catalogue.DataSet.writer`."""
    path = unpacked / "seglearn/data/watch_dataset.npy"
    try:
        with open(path, "rb") as file:
            values = _read(file)
        labels = [str(label) for label in values["y_labels"]]
        rows = []
        parts = zip(values["X"], values["y"], values["subject"], values["side"], strict=True)
        for number, (readings, label, subject, side) in enumerate(parts):
            name = labels[int(label)]
            file_name = f"recordings/{name}/{number:03d}.csv"
            write_recording(out / file_name, np.asarray(readings, np.float64), _RATE_HZ, "acc", "g")
            kind = _NAMES.get(name, name)
            rows.append((file_name, kind, int(subject), "right" if int(side) else "left"))
    except (KeyError, IndexError, TypeError, ValueError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(f"{path.name} is not what seglearn shipped ({reason_of(error)})") from None
    write_labels(out, ("subject", "side"), rows)
    return {
        "recordings": len(rows),
        "classes": len({row[1] for row in rows}),
        "people": len({row[2] for row in rows}),
    }


class _Arrays(pickle.Unpickler):
    """Unpickles arrays, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _read(file: IO[bytes]) -> dict[str, Any]:
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"version {version} of NumPy's format")
    np.lib.format.read_array_header_1_0(file)
    values = _Arrays(file, encoding="latin1").load()
    if isinstance(values, np.ndarray) and values.shape == ():
        values = values.item()
    if not isinstance(values, dict):
        raise TypeError(f"a {type(values).__name__} instead of a dictionary")
    return values
