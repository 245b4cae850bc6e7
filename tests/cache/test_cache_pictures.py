"""Captions, thumbnails, contact sheets, and caches made from folders of pictures."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops
from support.cache_worlds import clustered

from imagebind_llm.cache import CacheError, VisualCache, build_cache, build_cache_from_images, contact_sheet

COLOURS = [(220, 30, 30), (30, 220, 30), (30, 30, 220), (220, 220, 30), (30, 220, 220), (220, 30, 220)]


def encode(pictures):
    """Mean colour and a constant: an encoder that can be checked by eye."""
    rows = [np.append(np.asarray(p, np.float32).mean((0, 1)) / 255, 0.1) for p in pictures]
    return torch.from_numpy(np.stack(rows)).float()


class Encoder:
    """Counts pictures, and stops after some of them as an interruption would."""

    def __init__(self, stop_after=None):
        self.seen = 0
        self.stop_after = stop_after

    def __call__(self, pictures):
        if self.stop_after is not None and self.seen >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(pictures)
        return encode(pictures)


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


def test_folder_of_pictures(pictures, tmp_path):
    done = build_cache_from_images(
        pictures, encode, tmp_path / "c", encoder_fingerprint="f00d", batch_size=5, progress=False
    )
    assert (done.used, done.resumed, done.skipped) == (24, 0, [])
    cache = VisualCache.load(tmp_path / "c", "f00d")
    found = cache.explain(encode([Image.new("RGB", (9, 9), COLOURS[4])])[0], k=4)
    assert {r.caption for r in found} == {"1/04.png", "1/10.png", "1/16.png", "1/22.png"}
    assert found[0].thumbnail.getpixel((3, 3)) == pytest.approx(COLOURS[4], abs=6)
    assert not (tmp_path / "c.partial").exists()


def test_interrupted_run_goes_on(pictures, tmp_path):
    options = {"batch_size": 2, "shard_images": 5, "progress": False}
    first = Encoder(stop_after=12)
    with pytest.raises(KeyboardInterrupt):
        build_cache_from_images(pictures, first, tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()
    second = Encoder()
    done = build_cache_from_images(pictures, second, tmp_path / "c", **options)
    assert done.resumed == 10
    assert second.seen == 14
    straight = build_cache_from_images(pictures, encode, tmp_path / "d", **options)
    for name in ("index.faiss", "manifest.json", "skipped.json"):
        assert (tmp_path / "c" / name).read_bytes() == (tmp_path / "d" / name).read_bytes()
    for i in range(24):
        assert done.cache.entry(i).caption == straight.cache.entry(i).caption


def test_work_of_another_run_is_refused(pictures, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build_cache_from_images(
            pictures, Encoder(4), tmp_path / "c", encoder_fingerprint="old", batch_size=2, progress=False
        )
    with pytest.raises(CacheError, match=r"encoder_fingerprint 'old', this one has 'new'"):
        build_cache_from_images(pictures, encode, tmp_path / "c", encoder_fingerprint="new", progress=False)


def test_bad_pictures_are_counted_and_listed(pictures, tmp_path):
    (pictures / "0" / "03.png").write_bytes(b"junk")
    whole = (pictures / "1" / "07.png").read_bytes()
    (pictures / "1" / "07.png").write_bytes(whole[:-30])
    Image.new("RGB", (200, 200)).save(pictures / "2" / "08.png")
    done = build_cache_from_images(
        pictures, encode, tmp_path / "c", max_pixels=30_000, shard_images=4, batch_size=3, progress=False
    )
    assert done.used == done.cache.size == 21
    names = [s.path.rsplit("/", 1)[1] for s in done.skipped]
    assert names == ["03.png", "07.png", "08.png"]
    assert "200 x 200 = 40000 pixels, the limit is 30000" in done.skipped[2].reason
    report = json.loads((tmp_path / "c" / "skipped.json").read_text())
    assert (report["used"], len(report["skipped"])) == (21, 3)
    with pytest.raises(CacheError, match=r"3 of 24 pictures .* share 0\.1"):
        build_cache_from_images(
            pictures, encode, tmp_path / "d", max_pixels=30_000, max_skipped=0.1, progress=False
        )


def test_nothing_to_read(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CacheError, match="0 pictures"):
        build_cache_from_images(tmp_path / "empty", encode, tmp_path / "c")
    with pytest.raises(CacheError, match="no folder"):
        build_cache_from_images(tmp_path / "nowhere", encode, tmp_path / "c")
    with pytest.raises(CacheError, match="1 of 1 pictures could not be read"):
        build_cache_from_images([tmp_path / "gone.png"], encode, tmp_path / "c", progress=False)


def test_encoder_that_fails_is_named(pictures, tmp_path):
    with pytest.raises(CacheError, match=r"01\.png.* zero or not finite"):
        build_cache_from_images(
            [pictures / "0" / "00.png", pictures / "1" / "01.png"],
            lambda batch: encode(batch) * torch.tensor([[1.0], [float("nan")]]),
            tmp_path / "c",
            progress=False,
        )
    with pytest.raises(CacheError, match=r"shape \[3\] for 1 pictures"):
        build_cache_from_images(
            [pictures / "0" / "00.png"], lambda _: torch.ones(3), tmp_path / "d", progress=False
        )
