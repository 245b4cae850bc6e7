"""Files that would take all time or memory are refused quickly, in one line."""

import json
import struct
import time
import zipfile

import pytest
import torch

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.tensor_files import TensorFile, weights_of

MEGABYTES = 10**6


def plain(path, content):
    path.write_bytes(content)


def zipped(path, change, compression=zipfile.ZIP_STORED):
    """A PyTorch file in which one member is another."""
    torch.save({"a": torch.ones(3)}, path)
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, content in members.items():
            target.writestr(name, change.get(name.rpartition("/")[2], content))


def header(path, text, values=b""):
    path.write_bytes(struct.pack("<Q", len(text)) + text + values)


def tensors(count):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return json.dumps({f"t{number}": entry for number in range(count)}).encode()


BOMBS = {
    "marks.pth": lambda path: plain(path, b"\x80\x02" + b"(" * 50 * MEGABYTES + b"."),
    "lists.pth": lambda path: plain(path, b"\x80\x02" + b"]" * 5 * MEGABYTES + b"."),
    "zipped marks.pth": lambda path: zipped(path, {"data.pkl": b"\x80\x02" + b"(" * 5 * MEGABYTES + b"."}),
    "deflated pickle.pth": lambda path: zipped(
        path, {"data.pkl": b"\x80\x02" + b"(" * 100 * MEGABYTES + b"."}, zipfile.ZIP_DEFLATED
    ),
    "deflated values.pth": lambda path: zipped(path, {"0": bytes(100 * MEGABYTES)}, zipfile.ZIP_DEFLATED),
    "large pickle.pth": lambda path: zipped(path, {"data.pkl": b"\x80\x02" + b"(" * 40 * MEGABYTES + b"."}),
    "giant header.safetensors": lambda path: path.write_bytes(struct.pack("<Q", 2**40) + b"{}"),
    "deep header.safetensors": lambda path: header(
        path, b'{"a":' + b"[" * MEGABYTES + b"]" * MEGABYTES + b"}"
    ),
    "shape.safetensors": lambda path: header(
        path, b'{"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]}}', b"1234"
    ),
    "many.safetensors": lambda path: header(path, tensors(60_000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name, tmp_path):
    path = tmp_path / name
    BOMBS[name](path)
    started = time.process_time()
    with pytest.raises(CheckpointError) as raised:
        TensorFile(path)
    assert time.process_time() - started < 10
    message = str(raised.value)
    assert name in message
    assert "\n" not in message
    assert len(message) < 500


def test_memory_stays_what_it_was(tmp_path):
    """In a process of its own that may take 1 GB beyond what torch maps."""
    import subprocess
    import sys

    from support import worker_environment

    BOMBS["marks.pth"](tmp_path / "marks.pth")
    BOMBS["deflated pickle.pth"](tmp_path / "deflated.pth")
    code = """
import resource, sys
from pathlib import Path
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.tensor_files import TensorFile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    try:
        TensorFile(Path(name))
    except CheckpointError:
        print("refused")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    names = [str(tmp_path / "marks.pth"), str(tmp_path / "deflated.pth")]
    done = subprocess.run(
        [sys.executable, "-c", code, *names],
        capture_output=True,
        text=True,
        env=worker_environment(),
        check=True,
    )
    *refused, megabytes = done.stdout.split()
    assert refused == ["refused", "refused"]
    assert int(megabytes) < 200


@pytest.mark.parametrize("zip_", [True, False])
def test_what_torch_writes_is_read(zip_, tmp_path):
    state = {f"layer.{number}.weight": torch.full((2, 3), float(number)) for number in range(500)}
    torch.save({"model": state, "epoch": 3}, tmp_path / "x.pth", _use_new_zipfile_serialization=zip_)
    source = TensorFile(tmp_path / "x.pth")
    assert len(source.infos) == 500
    assert torch.equal(source.get("layer.7.weight"), state["layer.7.weight"])


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "missing.safetensors"])
def test_an_index_leads_nowhere_else(name, tmp_path):
    values = {"weight_map": {"a": name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"expected files beside it|there is no file"):
        weights_of(tmp_path)
