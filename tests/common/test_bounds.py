"""The lower bounds of pyproject.toml are the versions that ``make test-lowest`` runs."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from support.wheels import dependencies

ROOT = Path(__file__).parents[2]
NOT_RUN = {"torch"}
"""Its lower bound was not run: see constraints-lowest.txt."""


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): Version(version) for name, version in pairs}


@pytest.mark.parametrize("line", dependencies("train", "scale", "convert"))
def test_the_lowest_version_is_the_one_that_is_run(line):
    need = Requirement(line)
    lowest = next(Version(part.version) for part in need.specifier if part.operator == ">=")
    found = pins()[need.name.lower().replace("_", "-")]
    assert found == lowest or (need.name in NOT_RUN and found >= lowest)


def test_no_pin_is_written_twice_and_none_is_loose():
    text = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)
    assert len(lines) == len(pins())
