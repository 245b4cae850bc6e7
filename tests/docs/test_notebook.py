"""``examples/tour.ipynb``: its cells run, in order, and it is stored without outputs."""

import json
import subprocess
import sys

import pytest
from pages import ROOT

NOTEBOOK = ROOT / "examples" / "tour.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
RUNNER = """
import json, sys, matplotlib
matplotlib.use("Agg")
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(sys.stdin)):
    exec(compile(cell, f"cell {number}", "exec"), names)
    print(f"--- cell {number}", flush=True)
from matplotlib import pyplot
print("figures", len(pyplot.get_fignums()))
"""


@pytest.fixture(scope="module")
def printed():
    """What all cells print, run in one process from the notebook's own folder."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(CODE),
        capture_output=True,
        text=True,
        cwd=NOTEBOOK.parent,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_all_cells_run(printed):
    assert len(CODE) >= 8
    assert printed.count("--- cell") == len(CODE)
    assert "figures 1" in printed


def test_it_shows_what_it_promises(printed):
    for word in ("seven", "car", "bird", "three", "four"):
        assert word in printed


def test_it_is_stored_without_outputs():
    assert NOTEBOOK.stat().st_size < 20_000
    assert all(
        not cell["outputs"] and cell["execution_count"] is None
        for cell in CELLS
        if cell["cell_type"] == "code"
    )
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)
