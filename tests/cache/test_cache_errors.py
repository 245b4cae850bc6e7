"""What a user sees when something is wrong: one line that names what was found and what was expected."""

import json

import faiss
import numpy as np
import pytest
import torch
from support.cache_worlds import clustered

from imagebind_llm.cache import CacheError, VisualCache, build_cache
from imagebind_llm.common.errors import UserError

ROWS = clustered(300, 24)


@pytest.fixture
def folder(tmp_path):
    build_cache(ROWS, "exact", captions=map(str, range(300)), encoder_fingerprint="aaaa1111").save(
        tmp_path / "c"
    )
    return tmp_path / "c"


def refused(function, *words):
    with pytest.raises(CacheError) as caught:
        function()
    message = str(caught.value)
    assert isinstance(caught.value, UserError)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, (word, message)


def edit(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_wrong_fingerprint(folder):
    refused(lambda: VisualCache.load(folder, "bbbb2222"), "aaaa1111", "bbbb2222")
    assert VisualCache.load(folder, "aaaa1111").size == 300


def test_unknown_fingerprint_is_not_taken_for_right(tmp_path):
    build_cache(ROWS).save(tmp_path / "c")
    refused(lambda: VisualCache.load(tmp_path / "c", "bbbb2222"), "unknown", "bbbb2222")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 301}, ("300", "301")),
        ({"dim": 25}, ("24", "25")),
        ({"kind": "hnsw_sq8"}, ("exact", "hnsw_sq8")),
        ({"format_version": 7}, ("7", "1")),
        ({"index_bytes": 12}, ("12", "28845")),
        ({"count": "many"}, ("many",)),
        ({"extra": 1}, ("extra",)),
    ],
)
def test_manifest_that_disagrees(folder, change, words):
    edit(folder, **change)
    refused(lambda: VisualCache.load(folder), *words)


def test_missing_pieces(folder, tmp_path):
    refused(lambda: VisualCache.load(tmp_path / "nowhere"), "nowhere")
    (folder / "entries.parquet").unlink()
    refused(lambda: VisualCache.load(folder), "entries.parquet")
    (folder / "index.faiss").unlink()
    refused(lambda: VisualCache.load(folder), "index.faiss")
    (folder / "manifest.json").unlink()
    refused(lambda: VisualCache.load(folder), "manifest.json", "from_index", "imagebind-llm convert cache")


def test_manifest_that_is_not_json(folder):
    (folder / "manifest.json").write_text("{")
    refused(lambda: VisualCache.load(folder), "not valid JSON")


@pytest.mark.parametrize("keep", [0, 3, 20, 15_000, 28_844])
def test_truncated_index(folder, keep):
    path = folder / "index.faiss"
    whole = path.read_bytes()
    assert len(whole) == 28_845
    path.write_bytes(whole[:keep])
    refused(lambda: VisualCache.load(folder), keep, 28_845)
    for memory_map in (True, False):
        refused(lambda m=memory_map: VisualCache.from_index(path, memory_map=m), "truncated", keep)


def test_damaged_entries(folder):
    cache = VisualCache.load(folder)
    (folder / "entries.parquet").write_bytes(b"no parquet")
    refused(lambda: cache.entry(0), "entries.parquet")


def test_entries_of_another_length(folder, tmp_path):
    build_cache(ROWS[:17], captions=map(str, range(17))).save(tmp_path / "other")
    edit(folder, sha256={})  # the checksum would be refused before
    (folder / "entries.parquet").write_bytes((tmp_path / "other" / "entries.parquet").read_bytes())
    refused(lambda: VisualCache.load(folder).entry(0), "17", "300")


def test_bare_files_that_are_no_cache(tmp_path):
    def written(index):
        faiss.write_index(index, str(tmp_path / "x.index"))
        return tmp_path / "x.index"

    refused(lambda: VisualCache.from_index(tmp_path / "none.index"), "none.index")
    text = tmp_path / "text"
    text.write_text("hello, this is not an index")
    refused(lambda: VisualCache.from_index(text), "not a faiss index")
    index = faiss.IndexFlatL2(24)
    index.add(ROWS)
    refused(lambda: VisualCache.from_index(written(index)), "metric 1", "expected 0")
    refused(lambda: VisualCache.from_index(written(faiss.IndexFlatIP(24))), "0 vectors")
    index = faiss.IndexFlatIP(24)
    index.add(3.5 * ROWS)
    refused(lambda: VisualCache.from_index(written(index)), "length 3.5", "unit vectors")
    index = faiss.index_factory(24, "IVF4,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(ROWS)
    index.add(ROWS)
    refused(lambda: VisualCache.from_index(written(index)), "IndexIVFFlat", "cannot give its vectors back")


def test_k_out_of_range():
    cache = build_cache(ROWS)
    for k in (0, -3, 301, 2.0, True):
        refused(lambda k=k: cache.search(torch.ones(1, 24), k), k, "1 to", 300)
        refused(lambda k=k: cache.enhance(torch.ones(1, 24), k), k, 300)


def test_blend_settings_out_of_range():
    cache = build_cache(ROWS)
    own = torch.ones(1, 24)
    for weight in (-0.1, 1.5, float("nan")):
        refused(lambda w=weight: cache.enhance(own, weight=w), weight, "0 to 1")
    for temperature in (-1.0, float("inf"), float("nan")):
        refused(lambda t=temperature: cache.enhance(own, temperature=t), temperature)
        refused(lambda t=temperature: cache.explain(own[0], temperature=t), temperature)


def test_bad_queries():
    cache = build_cache(ROWS)
    refused(lambda: cache.search(torch.ones(2, 23), 1), "24", "[2, 23]")
    refused(lambda: cache.search(torch.ones(24), 1), "[24]")
    bad = torch.ones(5, 24)
    bad[3] = 0
    refused(lambda: cache.enhance(bad), "row 3", "length 0.0")
    bad[2, 4] = float("nan")
    refused(lambda: cache.search(bad, 1), "row 2", "nan")
    refused(lambda: cache.explain(torch.ones(2, 24)), "found 2")
    refused(lambda: cache.entry(300), "300", "299")
    refused(lambda: cache.entry(-1), "-1")


@pytest.mark.parametrize("kind", ["exact", "hnsw_sq8"])
@pytest.mark.parametrize(("value", "word"), [(0, "zeros"), (np.nan, "not finite"), (np.inf, "not finite")])
def test_bad_rows_are_named(kind, value, word):
    rows = ROWS.copy()
    rows[217] = value
    refused(lambda: build_cache(rows, kind), "row 217 ", word)
    refused(lambda: build_cache(iter([rows[:200], rows[200:]]), kind), "row 217 ", word)


def test_vectors_of_the_wrong_shape():
    refused(lambda: build_cache(np.ones(5)), "[5]")
    refused(lambda: build_cache(np.ones((0, 5))), "0 vectors")
    refused(lambda: build_cache(iter([])), "0 vectors")
    refused(lambda: build_cache(np.array([["a"]])), "dtype")
    refused(lambda: build_cache(iter([ROWS, ROWS[:, :20]])), "24", "20", "row 300")
    refused(lambda: build_cache(ROWS, "flat"), "'flat'", "hnsw_sq8")


def test_captions_and_thumbnails_must_match():
    refused(lambda: build_cache(ROWS, captions=["a"] * 299), "300", "299 captions")
    refused(lambda: build_cache(ROWS, captions=["a"] * 301), "300", "captions")
    refused(lambda: build_cache(ROWS, thumbnails=[None] * 12), "12 thumbnails")
    refused(lambda: build_cache(ROWS[:1], captions=[3]), "int")
    refused(lambda: build_cache(ROWS[:1], thumbnails=["a.png"]), "str")


def test_search_effort_out_of_range():
    graph = build_cache(ROWS, "hnsw_sq8")
    refused(lambda: setattr(graph, "ef_search", 0), "ef_search is 0")
    refused(lambda: setattr(build_cache(ROWS, "exact"), "ef_search", 64), "'exact'")


def test_add_of_something_else():
    cache = build_cache(ROWS, encoder_fingerprint="aaaa1111")
    refused(lambda: cache.add(ROWS, encoder_fingerprint="bbbb2222"), "aaaa1111", "bbbb2222")
    refused(lambda: cache.add(ROWS[:, :20]), "20", "24")
    refused(lambda: cache.add(np.ones((0, 24))), "0 vectors")
    assert cache.size == 300


def test_save_does_not_wipe_other_folders(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").write_bytes(b"x")
    refused(lambda: build_cache(ROWS).save(photos), "photos")
    assert (photos / "holiday.jpg").read_bytes() == b"x"
    refused(lambda: build_cache(ROWS).save(photos / "holiday.jpg"), "is a file")
