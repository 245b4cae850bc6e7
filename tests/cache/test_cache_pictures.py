"""Captions, thumbnails, contact sheets, and caches made from folders of pictures."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops
from support.cache_worlds import clustered

from imagebind_llm.cache import CacheError, VisualCache, build_cache, contact_sheet
from imagebind_llm.data.embed.cache import build_cache_from_embeddings, build_cache_from_pictures
from imagebind_llm.encoders.imagebind import ImageBindModel

COLOURS = [(220, 30, 30), (30, 220, 30), (30, 30, 220), (220, 220, 30), (30, 220, 220), (220, 30, 220)]


@pytest.fixture
def encoded(monkeypatch):
    """Counts the pictures that the encoder sees, and stops after some as an interruption would."""

    class Encoded:
        seen = 0
        stop_after = None

    true = ImageBindModel.encode

    def encode(self, modality, batch):
        if Encoded.stop_after is not None and Encoded.seen >= Encoded.stop_after:
            raise KeyboardInterrupt
        Encoded.seen += len(batch)
        return true(self, modality, batch)

    monkeypatch.setattr(ImageBindModel, "encode", encode)
    return Encoded


@pytest.fixture
def build(tiny_model_folder, monkeypatch):
    """Build a cache in this process with a small encoder."""
    from imagebind_llm.data.embed import executors

    monkeypatch.setattr(executors.os, "sched_getaffinity", lambda _: {0})

    def call(pictures, folder, encoder=tiny_model_folder, **more):
        return build_cache_from_pictures(pictures, str(encoder), folder, device="cpu", progress=False, **more)

    return call


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    for i in range(24):
        path = root / f"{i % 3}" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + i, 30), COLOURS[i % 6]).save(path)
    return root


def test_entries_come_back(tmp_path):
    big = Image.new("RGB", (640, 320), (10, 200, 30))
    stored = [big, None, Image.new("L", (8, 8), 77)] * 700
    cache = build_cache(
        clustered(2100, 8),
        "exact",
        captions=(None if i % 5 == 0 else f"鸟 {i}" for i in range(2100)),
        thumbnails=iter(stored),
    )
    cache.save(tmp_path / "c")
    for seen in (cache, VisualCache.load(tmp_path / "c")):
        assert seen.manifest.has_entries
        assert seen.entry(1500).caption is None
        assert seen.entry(1501).caption == "鸟 1501"
        assert seen.entry(2098).thumbnail is None
        picture = seen.entry(2097).thumbnail
        assert (picture.mode, picture.size) == ("RGB", (128, 64))
        assert np.abs(np.asarray(picture, int) - (10, 200, 30)).max() < 6
    assert build_cache(clustered(3, 8)).entry(1).caption is None


def test_stored_bytes_are_kept_and_checked_when_shown(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (5, 5), (1, 2, 3)).save(path)
    cache = build_cache(clustered(2, 8), thumbnails=[path.read_bytes(), b"not a picture"])
    assert cache.entry(0).thumbnail.getpixel((2, 2)) == (1, 2, 3)
    with pytest.raises(CacheError, match="row 1 is not a readable picture"):
        cache.entry(1)


def test_contact_sheet_shows_thumbnails_and_captions():
    rows = np.eye(4, dtype=np.float32)
    pictures = [Image.new("RGB", (32, 32), c) for c in COLOURS[:3]] + [None]
    cache = build_cache(rows, captions=["a", "b", "c", "a caption"], thumbnails=pictures)
    query = torch.tensor([0.5, 0.9, 0.1, 0.2])
    found = cache.explain(query, k=4)
    assert [r.index for r in found] == [1, 0, 3, 2]
    assert sum(r.share for r in found) == pytest.approx(1)
    assert [r.caption for r in found] == ["b", "a", "a caption", "c"]
    sheet = contact_sheet(["dog bark", pictures[0]], [found, found[:1]], tile=64)
    assert sheet.size == (5 * 70 + 6, 2 * 86 + 6)
    assert sheet.getpixel((6 + 70 + 32, 38)) == pytest.approx(COLOURS[1], abs=6)
    assert sheet.getpixel((6 + 140 + 32, 38)) == pytest.approx(COLOURS[0], abs=6)
    assert sheet.getpixel((38, 86 + 38)) == pytest.approx(COLOURS[0], abs=6)
    for tile in (0, 3):  # the label, and the caption of the row without a thumbnail
        x = 8 + tile * 70
        crop = sheet.crop((x, 10, x + 58, 60)).convert("L")
        assert crop.getextrema()[0] < 100, "no letters were drawn"
    other = contact_sheet(["rain"], [found[:1]], tile=64)
    first = sheet.crop((0, 0, 70, 76))
    assert ImageChops.difference(first, other.crop((0, 0, 70, 76))).getbbox() is not None


def test_contact_sheet_refuses():
    for queries, results, tile in (([], [], 128), (["a"], [], 128), (["a"], [[]], 7)):
        with pytest.raises(CacheError):
            contact_sheet(queries, results, tile)


def test_folder_of_pictures(pictures, build, bot, tmp_path):
    done = build(pictures, tmp_path / "c", batch_size=5)
    assert (done.used, done.resumed, done.skipped) == (24, 0, [])
    cache = VisualCache.load(tmp_path / "c", bot.encoder_fingerprint)
    found = cache.explain(bot.embed(image=[Image.new("RGB", (40, 30), COLOURS[4])])[0], k=4)
    assert {r.caption for r in found} == {"1/04.png", "1/10.png", "1/16.png", "1/22.png"}
    assert found[0].similarity == pytest.approx(1, abs=1e-5)
    assert found[0].thumbnail.getpixel((3, 3)) == pytest.approx(COLOURS[4], abs=6)
    assert not (tmp_path / "c.partial").exists()


def test_interrupted_run_goes_on(pictures, build, encoded, tmp_path):
    options = {"batch_size": 2, "shard_rows": 5}
    encoded.stop_after = 12
    with pytest.raises(KeyboardInterrupt):
        build(pictures, tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()
    encoded.seen, encoded.stop_after = 0, None
    done = build(pictures, tmp_path / "c", **options)
    assert done.resumed == 10
    assert encoded.seen == 14
    straight = build(pictures, tmp_path / "d", **options)
    for name in ("index.faiss", "manifest.json", "skipped.json"):
        assert (tmp_path / "c" / name).read_bytes() == (tmp_path / "d" / name).read_bytes()
    for i in range(24):
        assert done.cache.entry(i).caption == straight.cache.entry(i).caption


def test_work_of_another_run_is_refused(pictures, build, encoded, bot, tmp_path):
    encoded.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        build(pictures, tmp_path / "c", batch_size=2, shard_rows=2)
    encoded.stop_after = None
    old = bot.encoder_fingerprint
    with pytest.raises(CacheError, match=f"encoder_fingerprint '{old}', this run has '"):
        build(pictures, tmp_path / "c", "nano", batch_size=2, shard_rows=2)
    (pictures / "0" / "another.png").write_bytes((pictures / "0" / "00.png").read_bytes())
    with pytest.raises(CacheError, match=r"begun with count 24, this run has 25"):
        build(pictures, tmp_path / "c", batch_size=2, shard_rows=2)


def test_other_files_in_the_work_folder_are_kept(pictures, build, tmp_path):
    (tmp_path / "c.partial").mkdir()
    (tmp_path / "c.partial" / "letter.txt").touch()
    with pytest.raises(CacheError, match="holds other files"):
        build(pictures, tmp_path / "c")
    assert [path.name for path in (tmp_path / "c.partial").iterdir() if path.suffix] == ["letter.txt"]


def test_bad_pictures_are_counted_and_listed(pictures, build, tmp_path):
    (pictures / "0" / "03.png").write_bytes(b"junk")
    whole = (pictures / "1" / "07.png").read_bytes()
    (pictures / "1" / "07.png").write_bytes(whole[:-30])
    Image.new("1", (11_000, 10_000)).save(pictures / "2" / "08.png")
    done = build(pictures, tmp_path / "c", shard_rows=4, batch_size=3)
    assert done.used == done.cache.size == 21
    names = [path.rsplit("/", 1)[1] for path, _ in done.skipped]
    assert names == ["03.png", "07.png", "08.png"]
    assert "11000 × 10000 pixels; expected 1 to 100000000" in done.skipped[2][1]
    report = json.loads((tmp_path / "c" / "skipped.json").read_text())
    assert (report["used"], len(report["skipped"])) == (21, 3)
    with pytest.raises(CacheError, match=r"3 of 24 pictures .* share 0\.1; the first: .*03\.png"):
        build(pictures, tmp_path / "d", max_skipped=0.1)


def test_nothing_to_read(build, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CacheError, match="0 pictures"):
        build(tmp_path / "empty", tmp_path / "c")
    with pytest.raises(CacheError, match="no folder"):
        build(tmp_path / "nowhere", tmp_path / "c")
    (tmp_path / "empty" / "gone.png").touch()
    with pytest.raises(CacheError, match=r"1 of 1 pictures could not be read.*gone\.png"):
        build(tmp_path / "empty", tmp_path / "c")


def test_encoder_that_fails_is_named(pictures, build, monkeypatch, tmp_path):
    true = ImageBindModel.encode

    def broken(self, modality, batch):
        rows = true(self, modality, batch)
        rows[1] = float("nan")
        return rows

    monkeypatch.setattr(ImageBindModel, "encode", broken)
    with pytest.raises(CacheError, match=r"0/03\.png'.* no finite embedding"):
        build(pictures, tmp_path / "c")


def test_two_at_once_in_one_folder_are_refused(build, pictures, tmp_path):
    """Also when one is from embeddings that are there already."""
    embeddings = tmp_path / "embeddings"
    out = tmp_path / "c"
    tried = []

    def caption(path):
        if not tried:  # while the first is building
            tried.append(path)
            for other in (
                lambda: build(pictures, out),
                lambda: build_cache_from_embeddings(embeddings, out),
            ):
                with pytest.raises(
                    CacheError, match=r"another process is building '.*c'; wait for it, or give"
                ):
                    other()
        return path.name

    built = build(pictures, out, caption=caption)
    assert tried
    assert (built.used, VisualCache.load(out).entry(0).caption) == (24, "00.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "pictures"]
    assert build(pictures, out).used == 24  # a cache of ours is replaced, with its list of what was left out
    (out / "notes.md").write_text("mine")
    with pytest.raises(CacheError, match=r"holds 'notes\.md', which is not known to be ours"):
        build(pictures, out)
    assert (out / "notes.md").read_text() == "mine"
    assert VisualCache.load(out).size == 24
