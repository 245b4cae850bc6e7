"""A flipped bit in a cache is found, wherever it is; large caches are compared when asked."""

import json
import random

import numpy as np
import pytest
from PIL import Image
from support.cache_worlds import clustered

from imagebind_llm.cache import CacheError, VisualCache, build_cache
from imagebind_llm.cache import folder as folders
from imagebind_llm.cli import main
from imagebind_llm.common.errors import UserError

COUNT, FLIPS = 120, 40


@pytest.fixture(params=["exact", "hnsw_sq8"])
def saved(request, tmp_path):
    pictures = [Image.new("RGB", (16, 16), (number, 3, 9)) for number in range(COUNT)]
    rows = clustered(COUNT, 16)
    build_cache(rows, request.param, [f"picture {i}" for i in range(COUNT)], pictures, "aa11").save(
        tmp_path / "c"
    )
    return tmp_path / "c"


def flips(content, seed):
    """``FLIPS`` copies of ``content`` with one bit changed in each."""
    places = random.Random(seed).sample(range(8 * len(content)), FLIPS)
    for place in places:
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        yield bytes(changed)


def use(folder):
    cache = VisualCache.load(folder, "aa11")
    cache.entry(COUNT - 1)
    return cache


@pytest.mark.parametrize("name", ["index.faiss", "entries.parquet"])
def test_every_flipped_bit_is_refused(saved, name):
    assert use(saved).size == COUNT
    accepted = 0
    for changed in flips((saved / name).read_bytes(), seed=name):
        (saved / name).write_bytes(changed)
        try:
            use(saved)
            accepted += 1
        except CacheError as error:
            assert "SHA-256" in str(error) and name in str(error) and "\n" not in str(error)  # noqa: PT017, PT018
    assert accepted == 0


def test_a_flipped_bit_in_a_manifest_is_refused_or_changes_no_fact(saved):
    path = saved / "manifest.json"
    whole, right = path.read_bytes(), VisualCache.load(saved).manifest
    for changed in flips(whole, seed=2):
        path.write_bytes(changed)
        try:
            found = VisualCache.load(saved, "aa11").manifest
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert (found.count, found.dim, found.kind) == (right.count, right.dim, right.kind)
            assert found.encoder_fingerprint == "aa11"


def test_pages_of_large_entries_are_checked_as_they_are_read(saved, monkeypatch):
    monkeypatch.setattr(folders, "CHECKED_BYTES", 0)  # as if all files were large
    path = saved / "entries.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"JFIF", b"JGIF", 1))  # Pillow would read it all the same
    with pytest.raises(CacheError, match=r"entries\.parquet' is damaged"):
        use(saved)


def test_large_files_are_compared_when_asked(saved, monkeypatch, capsys):
    monkeypatch.setattr(folders, "CHECKED_BYTES", 0)
    content = bytearray((saved / "index.faiss").read_bytes())
    content[-1] ^= 1
    (saved / "index.faiss").write_bytes(content)
    assert VisualCache.load(saved).size == COUNT
    for words in (["cache", "info", str(saved), "--check"], ["doctor", str(saved)]):
        with pytest.raises(SystemExit) as leaving:
            main(words)
        assert leaving.value.code == 2
        printed = capsys.readouterr()
        assert "is not what was written" in printed.out + printed.err


def test_what_is_recorded(saved, capsys):
    manifest = json.loads((saved / "manifest.json").read_text())
    assert set(manifest["sha256"]) == {"index.faiss", "entries.parquet"}
    with pytest.raises(SystemExit) as leaving:
        main(["cache", "info", str(saved), "--check", "--json"])
    assert leaving.value.code == 0
    assert json.loads(capsys.readouterr().out)["checked"] == ["index.faiss", "entries.parquet"]


def test_caches_of_before_are_read_without(saved, capsys):
    path = saved / "manifest.json"
    values = json.loads(path.read_text())
    del values["sha256"]
    path.write_text(json.dumps(values))
    assert use(saved).size == COUNT
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", str(saved)])
    assert leaving.value.code == 0
    assert "no SHA-256 to compare with" in capsys.readouterr().out


def test_growing_a_cache_records_anew(saved, tmp_path):
    cache = VisualCache.load(saved)
    cache.add(np.eye(16, dtype=np.float32)[:1], ["more"])
    cache.save(tmp_path / "grown")
    assert VisualCache.load(tmp_path / "grown").entry(COUNT).caption == "more"
