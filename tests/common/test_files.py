"""Files are written whole or not at all, and errors name the file that was asked for."""

import hashlib
import os

import pytest

from imagebind_llm.common.errors import CheckpointError, reason_of
from imagebind_llm.common.files import atomic_write, read_json, sha256, shard_files, write_json


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


def test_sha256_reads_any_size(tmp_path):
    content = bytes(range(256)) * 40_000  # more than two blocks
    (tmp_path / "x").write_bytes(content)
    told = []
    assert sha256(tmp_path / "x", told.append) == hashlib.sha256(content).hexdigest()
    assert sum(told) == len(content)
    assert len(told) > 1


def test_json_comes_back_and_faults_are_named(tmp_path):
    path = tmp_path / "deep" / "x.json"
    write_json(path, {"a": ["ä", None, 0.1], "b": {"c": "\udcff"}})
    assert read_json(path) == {"a": ["ä", None, 0.1], "b": {"c": "\udcff"}}
    assert os.listdir(path.parent) == ["x.json"]
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path)["a"][0] == "ä"
    for content, message in ((b"{", "is not JSON"), (b"\xff\xfe", "is not JSON"), (b"[1]", "holds a list")):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read_json(path)


def test_json_of_other_programs(tmp_path):
    path = tmp_path / "x.json"

    def read(content):
        path.write_bytes(content)
        return read_json(path)

    assert read(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}  # as some editors save it
    deepest = b'{"a": ' + b"[" * 63 + b"1" + b"]" * 63 + b"}"
    assert read(deepest)["a"] != 1
    for content, message in (
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice in one object"),
        (deepest.replace(b"1", b"[1]"), "nested more than 64 deep"),
        (b'{"a": ' + b"[" * 10**6 + b"]" * 10**6 + b"}", "nested more than 64 deep"),
        (b'{"a": ' * 10**5 + b"1" + b"}" * 10**5, "nested more than 64 deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON"),
    ):
        with pytest.raises(CheckpointError, match=message) as raised:
            read(content)
        assert "\n" not in str(raised.value)
    with pytest.raises(CheckpointError, match="there is no file"):
        read_json(tmp_path)


def test_an_index_lists_each_weight_file_once(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    write_json(index, {"weight_map": {"a": "two", "b": "one", "c": "two"}})
    assert shard_files(index) == [tmp_path / "one", tmp_path / "two"]
    for content in ("{", "[]", "{}", '{"weight_map": [1]}', '{"weight_map": {"a": []}}'):
        index.write_text(content)
        with pytest.raises(CheckpointError, match=r"index\.json' is damaged"):
            shard_files(index)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a/b", "..", ".", "", "a\0b"])
def test_shards_lie_beside_their_index(tmp_path, name):
    write_json(tmp_path / "index.json", {"weight_map": {"a": "x.safetensors", "b": name}})
    with pytest.raises(CheckpointError, match="expected files beside it"):
        shard_files(tmp_path / "index.json")
