"""Killed at any moment and started again, a run ends with the same bytes; memory does not grow."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from support import SUPPORT, worker_environment
from support.cleaning_samples import contents

WORKER = SUPPORT / "cleaning_worker.py"
COUNT = 240


def start(out: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(out), *arguments],
        env=worker_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(worker: subprocess.Popen) -> dict:
    told, errors = worker.communicate(timeout=240)
    assert worker.returncode == 0, errors
    return json.loads(told.splitlines()[-1])


def test_killed_at_random_moments_the_result_is_the_same(tmp_path):
    """Kills fall into measuring, between shards, and into judging and writing."""
    whole = finish(start(tmp_path / "whole", str(COUNT)))
    out = tmp_path / "killed"
    rng = random.Random(11)
    progress = []
    for number in range(4):
        worker = start(out, str(COUNT), "slow")
        shards, done = out / "measured", 0
        wanted = len(list(shards.glob("shard-*"))) + (1 if number < 3 else 0)
        limit = time.monotonic() + 120
        while time.monotonic() < limit and worker.poll() is None:  # let it get somewhere, then strike
            done = len(list(shards.glob("shard-*")))
            if done >= wanted and out.exists():
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.25))
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        progress.append(done)
    resumed = finish(start(out, str(COUNT)))
    assert len(set(progress)) >= 3, progress
    assert resumed["resumed"] > 0
    assert resumed["summary"] == whole["summary"]
    assert contents(out / "measured") == contents(tmp_path / "whole" / "measured")
    first, second = contents(out / "result"), contents(tmp_path / "whole" / "result")
    first.pop("source.yaml"), second.pop("source.yaml")  # each names its own folder
    assert first == second
    assert not [p for p in out.glob(".*") if p.name != ".lock"], "nothing half-written is left"
    kept = [json.loads(line)["index"] for line in first["kept.jsonl"].splitlines()]
    dropped = [json.loads(line)["index"] for line in first["dropped.jsonl"].splitlines()]
    assert sorted(kept + dropped) == list(range(COUNT))


def test_killed_while_results_are_written(tmp_path):
    """The folder of results appears as a whole, whatever the moment."""
    whole = finish(start(tmp_path / "whole", "60"))
    out = tmp_path / "killed"
    worker = start(out, "60", "die-in-results")
    worker.communicate(timeout=240)
    assert worker.returncode == -signal.SIGKILL
    assert not (out / "result").exists()
    assert list(out.glob(".result.*")), "it died in the middle of writing"
    resumed = finish(start(out, "60"))
    assert resumed["resumed"] == 60
    assert resumed["summary"] == whole["summary"]
    assert not list(out.glob(".result.*"))
    assert (
        contents(out / "result")["dropped.jsonl"] == contents(tmp_path / "whole" / "result")["dropped.jsonl"]
    )


def test_memory_does_not_grow_with_the_data(tmp_path, capsys):
    """Ten times as many large pictures: what memory holds of each is a hundred bytes."""
    few = finish(start(tmp_path / "few", "60", "large"))
    many = finish(start(tmp_path / "many", "600", "large"))
    decoded = 540 * 320 * 320 * 3 / 1e6
    grown = (many["peak_kb"] - few["peak_kb"]) / 1e3
    with capsys.disabled():
        print(f"\n{decoded:.0f} MB more pixels, {grown:.1f} MB more memory at the peak")
    assert grown < 0.15 * decoded
