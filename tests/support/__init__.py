"""What tests of several rooms build on: tiny models, made-up data, workers for processes of their own."""

import os
from pathlib import Path

SUPPORT = Path(__file__).parent


def worker_environment() -> dict[str, str]:
    """For a process that runs a file of this folder: it finds this package, and uses one thread."""
    paths = [str(SUPPORT.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
