"""``embed --out``: what it replaces, and what it leaves alone."""

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
