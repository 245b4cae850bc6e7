"""The fuzzer finds what it is there to find."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from fuzz.__main__ import Tally  # noqa: E402
from fuzz.mutate import dump, mutate_bytes, mutate_json  # noqa: E402
from fuzz.planted import FAULTS, Planted  # noqa: E402

SEED = 1


def number_of(kind: str, tmp_path: Path) -> int:
    target = Planted(tmp_path, tmp_path)
    return next(n for n in range(1000) if target.case(Random(f"{SEED} planted {n}")).label == kind)


def run(kind: str, tmp_path: Path) -> tuple[int, str]:
    number = number_of(kind, tmp_path)
    words = ["--only", "planted", "--case", str(number), "--keep", str(tmp_path / "kept")]
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", *words, *(["--hang", "3"] if kind == "hang" else [])],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("crash", "crash: KeyError: 'nobody expected this'"),
        ("two lines", "crash: a message that is not one short line"),
        ("hang", "hang: no answer in 3 s"),
        ("memory", "memory: 1"),
        ("death", "crash: the process ended with 7"),
    ],
)
def test_a_planted_fault_is_found_and_kept(kind, said, tmp_path):
    code, shown = run(kind, tmp_path)
    assert code == 1, shown
    assert said in shown
    (kept,) = (tmp_path / "kept").iterdir()
    assert json.loads((kept / "fault.json").read_text())["label"] == kind


@pytest.mark.parametrize("kind", ["accepted", "refused"])
def test_what_is_fine_is_no_fault(kind, tmp_path):
    code, shown = run(kind, tmp_path)
    assert code == 0, shown
    assert "0 faults" in shown


def test_too_much_computing_is_a_fault():
    tally = Tally("any")
    result = {"outcome": "accepted", "label": "", "megabytes": 1.0, "seconds": 11.0, "cpu": 11.0}
    assert tally.add(0, result)
    assert tally.faults[0]["outcome"].startswith("slow")
    assert not tally.add(1, result | {"cpu": 9.0})


def test_every_planted_fault_is_tried():
    assert set(FAULTS) == {"accepted", "refused", "crash", "two lines", "hang", "memory", "death"}


def test_the_same_seed_gives_the_same_mutations():
    data, value = bytes(range(256)) * 8, {"a": [1, {"b": "c"}], "d": None}
    first, second = ([mutate_bytes(data, Random(n)) for n in range(50)] for _ in range(2))
    assert first == second
    assert sum(changed != data for _, changed in first) > 45
    first, second = ([dump(mutate_json(value, Random(n))[1]) for n in range(50)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 20
    assert value == {"a": [1, {"b": "c"}], "d": None}, "the original was changed"
