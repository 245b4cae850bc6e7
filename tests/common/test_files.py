"""Files are written whole or not at all, and errors name the file that was asked for."""

import os

import pytest

from imagebind_llm.common.errors import reason_of
from imagebind_llm.common.files import atomic_write


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "x.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as temporary:
        temporary.write_text(f"ha{1 / 0}")
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["x.txt"]


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as raised, atomic_write(tmp_path / "folder") as temporary:  # noqa: PT011
        temporary.write_text("x")
    assert raised.value.filename == str(tmp_path / "folder")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError) as raised, atomic_write(tmp_path / "file" / "x.txt"):  # noqa: PT011
        pass
    assert raised.value.filename == str(tmp_path / "file" / "x.txt")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_the_reason_of_an_error_is_one_line() -> None:
    assert reason_of(OSError("no space left.\nTraceback: much more")) == "no space left."
    assert reason_of(ValueError("one of:\n  this\n  that")) == "one of: this that"
    assert reason_of(KeyError()) == "KeyError"
