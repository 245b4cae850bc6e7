"""What a killed process was making goes away; what a living one makes does not."""

import os
import subprocess
import sys
import time

import pytest

from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.folders import atomic_directory, foreign_file
from imagebind_llm.common.leftovers import put_aside, sweep, temporary_file, temporary_folder

_MAKER = """
import os, signal, sys, time
from pathlib import Path
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import alone
from imagebind_llm.common.leftovers import put_aside, temporary_file, temporary_folder
place = Path(sys.argv[1])
with (
    temporary_file(place / "x.txt"),
    temporary_folder(place / "y") as folder,
    put_aside(place / "kept"),
    alone(place / "z", UserError("busy")),
):
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("half")
    print("making", flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def maker(place, what):
    with atomic_directory(place / "kept") as stage:
        (stage / "a").write_text("1")
    process = subprocess.Popen(
        [sys.executable, "-c", _MAKER, str(place), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "making\n"
    return process


def test_of_a_living_process_nothing_is_touched(tmp_path):
    process = maker(tmp_path, "live")
    before = sorted(os.listdir(tmp_path))
    assert len(before) == 4
    assert all(".imagebind-llm-" in name for name in before)
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == before
    process.communicate("")
    assert os.listdir(tmp_path) == ["kept"]


@pytest.mark.parametrize("next_run", ["sweep", "write", "directory"])
def test_of_a_killed_process_everything_is_swept_up(next_run, tmp_path):
    maker(tmp_path, "die").wait()
    assert len(os.listdir(tmp_path)) == 4
    mine = (
        ".x.imagebind-llm",
        ".imagebind-llm-abc.txt",
        ".x.txt.imagebind-llm-ABCDEFGH",
        "x.imagebind-llm-abcdefgh",
    )
    for name in mine:
        (tmp_path / name).write_text("mine")
    time.sleep(0.05)
    made = []
    if next_run == "sweep":
        sweep(tmp_path)
    elif next_run == "write":
        made = ["new"]
        with atomic_write(tmp_path / "new") as path:
            path.write_text("x")
    else:
        made = ["new"]
        with atomic_directory(tmp_path / "new"):
            pass
    assert sorted(os.listdir(tmp_path)) == sorted([*mine, *made, "kept"])
    assert foreign_file(tmp_path / "kept") is None  # what had been put aside is whole again
    assert (tmp_path / "kept" / "a").read_text() == "1"


def test_names_of_any_length_have_room(tmp_path):
    name = "ä" * 120 + ".safetensors"
    with temporary_file(tmp_path / name) as path:
        assert path.suffix == ".safetensors"
    with temporary_file(tmp_path / ("x." + "y" * 200)), temporary_folder(tmp_path / name):
        assert len(os.listdir(tmp_path)) == 2
    with atomic_write(tmp_path / name) as path:
        path.write_text("x")
    assert os.listdir(tmp_path) == [name]


def test_what_is_put_aside_comes_back_after_an_error(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a").write_text("1")
    with pytest.raises(FileNotFoundError), put_aside(tmp_path / "x"):
        os.stat(tmp_path / "x")
    assert (tmp_path / "x" / "a").read_text() == "1"
    assert os.listdir(tmp_path) == ["x"]


def test_a_link_that_has_such_a_name_is_left(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".x.imagebind-llm-abcdefgh").symlink_to(tmp_path / "mine")
    sweep(tmp_path)
    assert (tmp_path / ".x.imagebind-llm-abcdefgh").read_text() == "mine"
