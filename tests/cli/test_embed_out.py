"""``--out``: what it replaces, what it leaves alone, and files where folders are expected."""

import pytest
from PIL import Image

from imagebind_llm.cli import main


def embed(*words):
    with pytest.raises(SystemExit) as leaving:
        main(["embed", *map(str, words)])
    return leaving.value.code


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_only_embeddings_are_replaced(tmp_path, capsys, suffix):
    picture, out = tmp_path / "a.png", tmp_path / f"out{suffix}"
    Image.new("RGB", (40, 40), "red").save(picture)
    assert embed(picture, "--out", out) == 0
    first = out.read_bytes()
    assert embed(picture, "--out", out) == 0  # its own
    assert out.read_bytes() == first
    out.write_bytes(b"ax,ay,az\n1,2,3\n")
    capsys.readouterr()
    assert embed(picture, "--out", out) == 2
    assert "is a file that embed did not write" in capsys.readouterr().err
    assert out.read_bytes() == b"ax,ay,az\n1,2,3\n"
    assert embed(out, "--modality", "imu", "--out", out) == 2
    assert "is one of the files to embed" in capsys.readouterr().err
    assert out.read_bytes() == b"ax,ay,az\n1,2,3\n"


FOLDERS = [
    ("cache", "build", "."),
    ("data", "embed", "."),
    ("data", "clean", "."),
    ("train", "merge", ".", "."),
    ("train", "attach", "nano", "."),
    ("pull", "imagebind-huge"),
]
"""Commands that write a folder."""
FILES = [("embed", "a.png"), ("cache", "search", "--text", "x")]
"""Commands that write a file."""


def refused(capsys, *words):
    with pytest.raises(SystemExit) as leaving:
        main([*map(str, words)])
    assert leaving.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    return errors


@pytest.mark.parametrize("command", FOLDERS, ids=lambda words: " ".join(words[:2]))
def test_a_file_is_no_folder_to_write(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 40), "red").save("a.png")
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/"):
        assert "error: --out 'file' is a file; give a folder" in refused(capsys, *command, "--out", out)
    assert "file' is a file, so nothing can be put into it" in refused(capsys, *command, "--out", "file/new")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "file"]


@pytest.mark.parametrize("command", FILES, ids=lambda words: words[0])
def test_a_folder_is_no_file_to_write(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 40), "red").save("a.png")
    for name in ("own", "own.npy", "own.png"):
        (tmp_path / name).mkdir()
        for out in (name, f"{name}/"):
            said = refused(capsys, *command, "--out", out)
            assert said == f"error: --out '{name}' is a folder; give the name of a file\n"
