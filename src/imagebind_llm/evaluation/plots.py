"""Drawing results into files."""

from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import require
from imagebind_llm.common.files import atomic_write


def load_pyplot() -> Any:
    """Matplotlib's ``pyplot``, drawing into files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "train", "drawing the results")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure whole or not at all, and close it."""
    figure.tight_layout()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)
    load_pyplot().close(figure)
