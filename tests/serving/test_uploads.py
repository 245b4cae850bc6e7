"""Uploads: bounded, each key's own, gone in time, and never where a client says."""

import asyncio
import gc
import os
import stat
import subprocess
import sys

import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.serving import uploads as uploads_module
from imagebind_llm.serving.uploads import NoUploadError, UploadRefusedError, Uploads


async def blocks(*parts: bytes):
    for part in parts:
        await asyncio.sleep(0)
        yield part


def put(uploads: Uploads, owner: str, *parts: bytes, filename="a.png"):
    return asyncio.run(uploads.add(owner, filename, "user_data", blocks(*parts)))


def folder_of(tmp_path) -> set[str]:
    return {path.name for path in tmp_path.iterdir()}


@pytest.fixture
def now():
    return [1_000_000.0]


@pytest.fixture
def uploads(tmp_path, now):
    made = Uploads(tmp_path, per_file=100, per_key_total=250, lifetime=60, clock=lambda: now[0])
    yield made
    made.close()


def test_a_file_comes_back(uploads):
    upload = put(uploads, "ada", b"one ", b"two")
    assert upload.as_object() == {
        "id": upload.id, "object": "file", "bytes": 7, "created_at": 1_000_000, "expires_at": 1_000_060,
        "filename": "a.png", "purpose": "user_data", "status": "processed",
    }  # fmt: skip
    assert upload.id.startswith("file-")
    with uploads.open("ada", upload.id) as file:
        assert file.read() == b"one two"
    second = put(uploads, "ada", b"")
    assert [found.id for found in uploads.list("ada")] == [second.id, upload.id]
    assert uploads.get("ada", second.id) == second


def test_only_the_user_can_look(uploads):
    upload = put(uploads, "ada", b"x")
    assert stat.S_IMODE(uploads.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((uploads.folder / upload.id).stat().st_mode) == 0o600


def test_keys_do_not_see_each_other(uploads):
    upload, none = put(uploads, "ada", b"x"), "file-" + "0" * 32
    for owner in ("bob", "", "ada "):
        assert uploads.list(owner) == []
        for action in (uploads.get, uploads.open, uploads.delete):
            with pytest.raises(NoUploadError) as foreign:
                action(owner, upload.id)
            with pytest.raises(NoUploadError) as absent:
                action(owner, none)
            assert str(foreign.value).replace(upload.id, "") == str(absent.value).replace(
                "file-" + "0" * 32, ""
            )
    assert uploads.get("ada", upload.id)


@pytest.mark.parametrize("name", ["", ".", "..", "../keys.json", "/etc/passwd", "file-", "a\0", "x" * 9999])
def test_ids_are_no_paths(uploads, name):
    for action in (uploads.get, uploads.open, uploads.delete):
        with pytest.raises(NoUploadError) as caught:
            action("ada", name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\cat.png", "cat.png"),
        ("/", "file"),
        ("", "file"),
        ("a\r\nb\0c", "a b?c"),
        ("猫.png", "猫.png"),
        ("x" * 999, "x" * 254 + "…"),
    ],
)
def test_names_are_shown_only(uploads, tmp_path, given, shown):
    upload = put(uploads, "ada", b"x", filename=given)
    assert upload.filename == shown
    assert os.listdir(uploads.folder) == [upload.id]
    assert folder_of(tmp_path) == {uploads.folder.name}


def test_large_files_are_refused_while_they_come(uploads):
    seen = []

    async def endless():
        while True:
            seen.append(1)
            yield b"x" * 30

    with pytest.raises(UploadRefusedError, match="larger than the allowed 100 bytes"):
        asyncio.run(uploads.add("ada", "a", "user_data", endless()))
    assert len(seen) == 4
    assert os.listdir(uploads.folder) == []
    assert put(uploads, "ada", b"x" * 100).size == 100


def test_the_files_of_a_key_are_bounded_together(uploads):
    first = put(uploads, "ada", b"x" * 100)
    put(uploads, "ada", b"x" * 100)
    for _ in range(3):
        with pytest.raises(UploadRefusedError, match="250 bytes together"):
            put(uploads, "ada", b"x" * 51)
    put(uploads, "bob", b"x" * 100)
    uploads.delete("ada", first.id)
    put(uploads, "ada", b"x" * 100)
    put(uploads, "ada", b"x" * 50)


def test_files_on_their_way_count(uploads):
    async def both():
        sent = [uploads.add("ada", "a", "user_data", blocks(*[b"x" * 10] * 10)) for _ in range(3)]
        return await asyncio.gather(*sent, return_exceptions=True)

    results = asyncio.run(both())
    assert sum(isinstance(result, UploadRefusedError) for result in results) == 1
    assert len(os.listdir(uploads.folder)) == 2


def test_the_number_of_files_is_bounded(uploads, monkeypatch):
    monkeypatch.setattr(uploads_module, "MOST_FILES", 3)
    for _ in range(3):
        put(uploads, "ada")
    with pytest.raises(UploadRefusedError, match="3 files"):
        put(uploads, "ada")
    put(uploads, "bob")


def test_broken_uploads_leave_nothing(uploads):
    async def broken():
        yield b"x" * 60
        raise ConnectionResetError

    async def cancelled():
        async def stuck():
            yield b"x" * 60
            await asyncio.sleep(60)

        task = asyncio.create_task(uploads.add("ada", "a", "user_data", stuck()))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(6):  # more than would fit together
        with pytest.raises(ConnectionResetError):
            asyncio.run(uploads.add("ada", "a", "user_data", broken()))
    asyncio.run(cancelled())
    assert os.listdir(uploads.folder) == []
    assert uploads._used == {}


def test_files_expire(uploads, now):
    old = put(uploads, "ada", b"x" * 100)
    now[0] += 30
    new = put(uploads, "ada", b"x" * 100)
    now[0] += 29.9
    assert uploads.get("ada", old.id)
    now[0] += 0.1
    with pytest.raises(NoUploadError):
        uploads.get("ada", old.id)
    assert os.listdir(uploads.folder) == [new.id]
    assert uploads.list("ada") == [new]
    put(uploads, "ada", b"x" * 100)
    now[0] += 1000
    assert uploads.list("bob") == []
    assert os.listdir(uploads.folder) == [], "any access removes the files of all"


def test_files_expire_while_nobody_asks(uploads, now):
    put(uploads, "ada", b"x")

    async def watched():
        task = asyncio.create_task(uploads.sweep_always(0.01))
        await asyncio.sleep(0.05)
        assert len(os.listdir(uploads.folder)) == 1
        now[0] += 100
        await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(watched())
    assert os.listdir(uploads.folder) == []


def test_an_open_file_outlives_its_deletion(uploads):
    upload = put(uploads, "ada", b"content")
    with uploads.open("ada", upload.id) as file:
        uploads.delete("ada", upload.id)
        assert file.read() == b"content"
    with pytest.raises(NoUploadError):
        uploads.delete("ada", upload.id)
    assert os.listdir(uploads.folder) == []


def test_a_full_disk_is_one_line(uploads, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(uploads_module.asyncio, "to_thread", full)
    with pytest.raises(UserError, match="no room"):
        put(uploads, "ada", b"x")
    assert uploads._used == {}


def test_the_folder_goes(tmp_path):
    made = Uploads(tmp_path)
    put(made, "ada", b"x")
    made.close()
    assert folder_of(tmp_path) == set()
    put(Uploads(tmp_path), "ada", b"x")
    gc.collect()
    assert folder_of(tmp_path) == set()


SCRIPT = """
import os, sys
from pathlib import Path
from imagebind_llm.serving.uploads import Uploads
uploads = Uploads(Path(sys.argv[1]))
(uploads.folder / "file-1").write_bytes(b"x")
print(len(os.listdir(sys.argv[1])))
if sys.argv[2] == "kill":
    os.kill(os.getpid(), 9)
"""


def test_the_folder_goes_with_the_process(tmp_path):
    def run(how: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, tmp_path, how], capture_output=True, text=True
        ).stdout  # fmt: skip

    run("end")
    assert folder_of(tmp_path) == set()
    run("kill")
    assert len(folder_of(tmp_path)) == 1
    made = Uploads(tmp_path)
    assert folder_of(tmp_path) == {made.folder.name}, "the next server removes what a killed one left"
    made.close()
