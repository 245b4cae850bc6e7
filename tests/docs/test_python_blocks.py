"""The Python that the pages show. The blocks of a page build on each other, so they are one program."""

import subprocess
import sys

import pytest
from pages import RUN_PYTHON, blocks, names

from imagebind_llm.checkpoints.doctor import diagnose

WITH_PYTHON = {page for page in names() if blocks(page, "python")}
PRINTED = {
    "README.md": 5,
    "docs/index.md": 1,
    "docs/python.md": 10,
    "docs/media.md": 2,
    "docs/cache.md": 3,
    "docs/imagine.md": 1,
    "docs/tools.md": 5,
}
"""Lines that the program of a page prints at least."""


def test_the_pages_have_python():
    assert {
        *PRINTED,
        "docs/any-llm.md",
        "docs/detection.md",
        "docs/evaluate.md",
        "docs/new-modality.md",
        "docs/towers.md",
        "docs/training.md",
    } == WITH_PYTHON


@pytest.mark.parametrize("page", sorted(WITH_PYTHON.intersection(RUN_PYTHON)))
def test_python(page, here):
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks(page, "python"))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) >= PRINTED.get(page, 0)


def test_the_adapter_that_was_written_is_healthy(here):
    """After the program that made it."""
    assert (here / "my-adapter" / "adapter.safetensors").is_file()
    report = diagnose("my-adapter", self_test=True)
    assert report.healthy, report.findings


@pytest.mark.parametrize("page", names())
def test_python_is_python(page):
    for block in blocks(page, "python"):
        compile(block, page, "exec")
