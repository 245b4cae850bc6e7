"""Output that cannot be written is an error of one line; nothing half-written, no traceback."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

_LOST = "error: standard output takes no more ({}); send it to another place\n"
_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))  # the kernel refuses more, as a full disk does
from imagebind_llm.cli import main
main(sys.argv[1:])
"""


def run(redirect, *arguments, code=("-m", "imagebind_llm")):
    """The command line behind a redirection as a shell writes it."""
    words = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, *code, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("redirect", "code", "said"),
    [
        (">/dev/full", 2, _LOST.format("No space left on device")),
        (">&-", 2, _LOST.format("Bad file descriptor")),
        ("<&- >&- 2>&-", 2, ""),
        (">/dev/full 2>/dev/full", 2, ""),
    ],
)
def test_a_result_that_cannot_be_printed_is_an_error(redirect, code, said):
    done = run(redirect, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full"])
def test_words_that_cannot_be_printed_change_no_exit_code(redirect):
    done = run(redirect, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("imagebind-llm ")
    assert run(redirect, "ask", "--nonsense").returncode == 2


def test_a_reader_that_has_seen_enough_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "imagebind_llm", "--help"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_stream_is_not_taken_by_a_file(tmp_path):
    """The first file that is opened would get the number of standard output, and what is printed."""
    (tmp_path / "bad.tsv").write_text("url\tcaption\nthere-is-none.png\ta cat\n")
    done = run(
        ">&-", "data", "check", tmp_path / "bad.tsv", "--max-bad", "1", "--report", tmp_path / "report"
    )
    assert done.returncode == 2
    lines = (tmp_path / "report").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["bad.tsv:2"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "x.csv").write_text("path,modality,e0,e1\n")  # as embed writes it
    done = run("", "embed", tmp_path / "in", "--out", tmp_path / "x.csv", code=("-c", _LIMITED))
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: the disk of {str(tmp_path / 'x.csv')!r} is full, or the file")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "x.csv").read_text() == "path,modality,e0,e1\n"
    assert sorted(os.listdir(tmp_path)) == ["in", "x.csv"]
