"""A job's folder: gone on with after a kill, refused to other jobs and to a second process."""

import json
import multiprocessing
import os
import signal

import pytest

from imagebind_llm.common.errors import CheckpointError, ConfigError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.folders import MARK
from imagebind_llm.common.work_folder import WorkFolder, work_folder

JOB = {"source": "a", "seed": 3, "sizes": (1, 2)}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def done(folder, *steps):
    work = WorkFolder(folder, JOB)
    for step in steps:
        (folder / f"{step}.bin").write_bytes(step.encode())
        work.finish(step, [f"{step}.bin"], {"rows": len(step)})
    return work


def test_finished_steps_are_found_again_and_forgotten_at_the_end(tmp_path):
    done(tmp_path / "job", "one", "three")
    work = WorkFolder(tmp_path / "job", JOB)
    assert {step: facts for step, (_, facts) in work.steps().items()} == {
        "one": {"rows": 3},
        "three": {"rows": 5},
    }
    work.note({"complete": True})
    work.forget_steps(["one", "three"])
    assert names(tmp_path / "job") == ["identity.json", "one.bin", "three.bin"]
    assert WorkFolder(tmp_path / "job", JOB).noted == {**JOB, "sizes": [1, 2], "complete": True}


@pytest.mark.parametrize("harm", ["lost", "changed", "mark cut"])
def test_a_step_that_was_harmed_is_not_done(tmp_path, harm):
    done(tmp_path, "one", "two")
    file = tmp_path / ("two.json" if harm == "mark cut" else "two.bin")
    file.unlink() if harm == "lost" else file.write_bytes(file.read_bytes()[:-3])
    assert list(WorkFolder(tmp_path, JOB).steps()) == ["one"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, r"was begun with seed 3, this run has 4; delete that folder"),
        ({"source": None}, r"begun with source 'a', this run has None"),
        ({"new": 1}, r"begun with new None, this run has 1"),
    ],
)
def test_another_job_is_refused_by_what_differs(tmp_path, change, message):
    done(tmp_path, "one")
    with pytest.raises(ConfigError, match=message):
        WorkFolder(tmp_path, {**JOB, **change}, ConfigError)
    assert names(tmp_path) == ["identity.json", "one.bin", "one.json"]


def test_other_files_and_a_damaged_identity_are_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    (tmp_path / "full" / ".hidden").touch()
    with pytest.raises(CheckpointError, match="holds other files; give a new or empty one"):
        WorkFolder(tmp_path / "full", JOB, CheckpointError)
    assert names(tmp_path / "full") == [".hidden", "letter.txt"]
    done(tmp_path / "job", "one")
    for content in ("{", "[1]", ""):
        (tmp_path / "job" / "identity.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"identity\.json' is damaged"):
            WorkFolder(tmp_path / "job", JOB, CheckpointError)


def test_a_folder_of_ours_alone_is_emptied_for_another_job(tmp_path):
    first = WorkFolder(tmp_path, JOB, fresh=True)
    (tmp_path / "one.bin").touch()
    first.finish("one", ["one.bin"], {})
    (tmp_path / ".result.abcdefgh").mkdir()
    work = WorkFolder(tmp_path, {**JOB, "seed": 4}, fresh=True)
    assert names(tmp_path) == [MARK]
    (tmp_path / "two.bin").touch()
    work.finish("two", {"two.bin": "0" * 64}, {})
    assert names(tmp_path) == [MARK, "identity.json", "two.bin", "two.json"]
    assert work.steps() == {}  # the given sum is not that of the file


def test_a_folder_that_is_not_ours_alone_is_not_emptied(tmp_path):
    done(tmp_path / "job", "one")  # of a job, but nothing says that all in it is ours
    with pytest.raises(ConfigError, match=r"holds 'identity\.json', which is not known to be ours"):
        WorkFolder(tmp_path / "job", {**JOB, "seed": 4}, ConfigError, fresh=True)
    assert names(tmp_path / "job") == ["identity.json", "one.bin", "one.json"]


def test_a_refused_folder_gets_no_lock(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with (
        pytest.raises(ConfigError, match="holds other files"),
        work_folder(tmp_path / "full", JOB, ConfigError, busy=""),
    ):
        pass
    assert names(tmp_path / "full") == ["letter.txt"]
    with (
        pytest.raises(ConfigError, match="is a file; give a folder"),
        work_folder(tmp_path / "full" / "letter.txt", JOB, ConfigError, busy=""),
    ):
        pass
    below = tmp_path / "full" / "letter.txt" / "job"
    with (
        pytest.raises(ConfigError, match=r"cannot be made in .* \(it is a file\); give another"),
        work_folder(below, JOB, ConfigError, busy=""),
    ):
        pass
    assert (tmp_path / "full" / "letter.txt").read_text() == "mine"


def _die_while_writing(folder):
    work = done(folder, "one")
    with atomic_write(work.path / "two.bin") as path:
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_die_while_writing, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (tmp_path / ".git").mkdir()
    (tmp_path / ".config.settings").touch()
    assert len(names(tmp_path)) == 6
    assert list(WorkFolder(tmp_path, JOB).steps()) == ["one"]
    assert names(tmp_path) == [".config.settings", ".git", "identity.json", "one.bin", "one.json"]


def test_one_process_writes(tmp_path):
    busy = "another process is at work"
    with work_folder(tmp_path, JOB, busy=busy) as work:
        with (
            pytest.raises(CheckpointError, match=busy),
            work_folder(tmp_path, JOB, CheckpointError, busy=busy),
        ):
            pass
        work.note({"x": "\udcff"})
    with work_folder(tmp_path, JOB, busy=busy, lock=tmp_path / "lock") as work:
        assert work.noted["x"] == "\udcff"
    assert json.loads((tmp_path / "identity.json").read_text())["seed"] == 3
