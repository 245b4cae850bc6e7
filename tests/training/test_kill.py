"""kill -9 at ten random moments, started again each time: the result is that of a run nobody disturbed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from support import SUPPORT, worker_environment

from imagebind_llm.training.checkpoint import list_checkpoints

KILLS = 10
pytestmark = pytest.mark.timeout(900)


def test_ten_kills_leave_no_trace(tmp_path: Path) -> None:
    driver = SUPPORT / "kill_driver.py"
    done = subprocess.run(
        [sys.executable, str(driver), str(tmp_path), str(KILLS), "7"],
        capture_output=True,
        text=True,
        env=worker_environment(),
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    steps = json.loads(done.stdout.splitlines()[-1])["killed_after_steps"]
    assert len(steps) == KILLS
    assert steps == sorted(steps)
    assert 0 < steps[-1] < 50
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    last = [list_checkpoints(folder / "checkpoints")[-1] for folder in (straight, killed)]
    assert last[0].name == last[1].name == "step-00000050"
    for name in ("trained.safetensors", "optimizer.safetensors"):
        expected, found = (load_file(folder / name) for folder in last)
        assert expected.keys() == found.keys()
        for key, tensor in expected.items():
            assert tensor.equal(found[key]), key
    for name in ("metrics.jsonl", "export/model.safetensors", "export/training.json"):
        assert (straight / name).read_bytes() == (killed / name).read_bytes(), name
    assert not list((killed / "checkpoints").glob(".*"))
