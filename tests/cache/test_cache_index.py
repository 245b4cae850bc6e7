"""Building, adding, saving, loading and searching."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image
from support.cache_worlds import clustered, shifted

import imagebind_llm.cache.index as indexing
from imagebind_llm.cache import VisualCache, build_cache


@pytest.fixture(scope="module")
def vectors():
    return clustered(20_000, 64)


@pytest.fixture(scope="module")
def exact(vectors):
    return build_cache(vectors, "exact")


@pytest.fixture(scope="module")
def graph(vectors):
    return build_cache(vectors, "hnsw_sq8", encoder_fingerprint="f00d")


def assert_same_cache(a, b, queries):
    left, right = a.search(queries, 10), b.search(queries, 10)
    assert torch.equal(left.indices, right.indices)
    assert torch.equal(left.similarities, right.similarities)
    assert torch.equal(left.vectors, right.vectors)


def test_exact_is_exact(exact, vectors):
    queries = shifted(50, 64)
    hits = exact.search(queries * 7, 5)  # length does not count
    best = (queries @ torch.from_numpy(vectors).T).topk(5, dim=1)
    assert torch.equal(hits.indices, best.indices)
    torch.testing.assert_close(hits.similarities, best.values, atol=1e-6, rtol=0)


def test_graph_against_exact(exact, graph):
    queries = shifted(300, 64)
    truth, found = exact.search(queries, 10), graph.search(queries, 10)
    recall = np.mean(
        [
            len(set(t) & set(f)) / 10
            for t, f in zip(truth.indices.tolist(), found.indices.tolist(), strict=True)
        ]
    )
    assert recall > 0.95
    for weight in (0.5, 1.0):
        blend = torch.nn.functional.cosine_similarity(
            exact.enhance(queries, weight=weight), graph.enhance(queries, weight=weight)
        )
        assert blend.mean() > 0.999
        assert blend.min() > 0.99
    assert found.vectors.shape == (300, 10, 64)
    own = torch.nn.functional.cosine_similarity(
        found.vectors[:, 0], torch.from_numpy(clustered(20_000, 64))[found.indices[:, 0]]
    )
    assert own.min() > 0.999  # decoded from one byte a dimension
    scores = (found.vectors @ queries[:, :, None])[..., 0]
    torch.testing.assert_close(scores, found.similarities, atol=1e-5, rtol=0)


def test_graph_manifest_says_what_was_measured(graph):
    built = graph.manifest.built
    assert (built["factory"], built["ef_construction"], built["ef_search"]) == ("RR,HNSW32,SQ8", 40, 256)
    assert built["graph_recall_at_10"] > 0.95
    assert built["code_cosine"] > 0.999
    assert (graph.manifest.kind, graph.manifest.count, graph.manifest.dim) == ("hnsw_sq8", 20_000, 64)


def test_few_large_dimensions_lose_little():
    """As embeddings have: without the rotation a byte is too coarse for them, and neighbours are mistaken."""
    dim = 128
    rng = np.random.default_rng(0)
    large = np.where(np.arange(dim) < 3, 1.0, 0.05)
    rows, queries = (rng.standard_normal((n, dim)) * large for n in (5000, 100))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    true = np.argsort(-queries @ rows.T, axis=1)[:, :10]

    def recall(found):
        return np.mean([np.isin(f, t).mean() for f, t in zip(found, true, strict=True)])

    import faiss

    plain = faiss.index_factory(dim, "HNSW32,SQ8", faiss.METRIC_INNER_PRODUCT)
    plain.hnsw.efSearch = indexing.EF_SEARCH
    plain.train(rows)
    plain.add(rows)
    rotated = build_cache(rows, "hnsw_sq8").search(torch.from_numpy(queries), 10).indices.numpy()
    assert recall(rotated) > 0.97
    assert 1 - recall(rotated) < 0.5 * (1 - recall(plain.search(queries, 10)[1]))


def test_an_unrotated_graph_is_read_as_one(tmp_path):
    """As found in the wild: the same graph and code, without our rotation."""
    import faiss

    rows = clustered(500, 16)
    plain = faiss.index_factory(16, "HNSW32,SQ8", faiss.METRIC_INNER_PRODUCT)
    plain.train(rows)
    plain.add(rows)
    faiss.write_index(plain, str(tmp_path / "knn.index"))
    cache = VisualCache.from_index(tmp_path / "knn.index")
    assert (cache.manifest.kind, cache.manifest.count) == ("hnsw_sq8", 500)
    own = cache.search(torch.from_numpy(rows[:50]), 1)
    assert own.indices[:, 0].tolist() == list(range(50))


def test_auto_picks_by_count(monkeypatch):
    monkeypatch.setattr(indexing, "AUTO_EXACT_ROWS", 200)
    rows = clustered(201, 16)
    assert build_cache(rows[:200]).manifest.kind == "exact"
    assert build_cache(rows).manifest.kind == "hnsw_sq8"
    assert build_cache(iter([rows[:100], rows[100:]])).manifest.kind == "hnsw_sq8"


@pytest.mark.parametrize("sizes", [[7] * 143, [1, 999, 1], [1001]])
def test_stream_equals_array_when_exact(sizes):
    rows = 3 * clustered(1001, 16)
    blocks = np.split(rows, np.cumsum(sizes)[:-1])
    done = []
    streamed = build_cache((torch.from_numpy(b) for b in blocks), "exact", progress=done.append)
    whole = build_cache(rows.astype(np.float64), "exact")
    everything = shifted(20, 16)
    assert_same_cache(streamed, whole, everything)
    assert torch.equal(streamed.search(everything, 1001).vectors, whole.search(everything, 1001).vectors)
    assert done[-1] == 1001


def test_long_streams_do_not_pile_up(monkeypatch):
    """With blocks far beyond the training rows, only a bounded number of them is alive at once."""
    monkeypatch.setattr(indexing, "TRAINING_ROWS", 1000)
    monkeypatch.setattr("imagebind_llm.cache.index.unit_blocks.__defaults__", (500,))
    produced, done = [], []

    def blocks():
        for i in range(20):
            produced.append(i)
            yield clustered(500, 8, seed=i)
            ahead = 500 * len(produced) - (done[-1] if done else 0)
            assert ahead <= 1500, ahead

    assert build_cache(blocks(), "hnsw_sq8", progress=done.append).size == 10_000


@pytest.mark.parametrize("memory_map", [True, False])
@pytest.mark.parametrize("kind", ["exact", "graph"])
def test_round_trip_is_bit_equal(kind, memory_map, request, tmp_path):
    cache = request.getfixturevalue(kind)
    cache.save(tmp_path / "c")
    loaded = VisualCache.load(tmp_path / "c", memory_map=memory_map)
    assert_same_cache(cache, loaded, shifted(40, 64))
    loaded.save(tmp_path / "again")
    loaded.save(tmp_path / "c")  # over the folder that is mapped
    for name in ("index.faiss", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()
    assert_same_cache(cache, loaded, shifted(40, 64))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "c"]


def test_same_build_twice_is_the_same_file(tmp_path):
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        for name in "ab":
            build_cache(clustered(2000, 16), "hnsw_sq8").save(tmp_path / name)
    finally:
        faiss.omp_set_num_threads(threads)
    a, b = (tmp_path / n / "index.faiss" for n in "ab")
    assert a.read_bytes() == b.read_bytes()


def test_add_equals_building_at_once(tmp_path):
    rows = clustered(1200, 16)
    build_cache(rows[:1000], "exact", encoder_fingerprint="f00d").save(tmp_path / "c")
    grown = VisualCache.load(tmp_path / "c")  # memory-mapped: faiss itself would abort the process here
    grown.add(iter([rows[1000:1100], rows[1100:]]), encoder_fingerprint="f00d")
    assert_same_cache(grown, build_cache(rows, "exact"), shifted(20, 16))
    assert (grown.size, grown.manifest.count) == (1200, 1200)
    grown.save(tmp_path / "c")
    assert VisualCache.load(tmp_path / "c", "f00d").size == 1200


def test_add_to_graph_finds_the_new_rows(tmp_path):
    rows = clustered(3000, 32)
    build_cache(rows[:2500], "hnsw_sq8").save(tmp_path / "c")
    grown = VisualCache.load(tmp_path / "c")
    grown.add(rows[2500:])
    hits = grown.search(torch.from_numpy(rows[2500:]), 1)
    assert (hits.indices[:, 0] == torch.arange(2500, 3000)).float().mean() > 0.98


def test_add_is_all_or_nothing():
    from imagebind_llm.cache import CacheError

    rows = clustered(20, 8)
    cache = build_cache(rows[:10], "exact", captions=[str(i) for i in range(10)])
    bad = rows[10:].copy()
    bad[7] = np.nan
    with pytest.raises(CacheError, match="row 7 "):
        cache.add(iter([bad[:5], bad[5:]]), captions=["x"] * 10)
    with pytest.raises(CacheError, match="only 9 captions"):
        cache.add(rows[10:], captions=["x"] * 9)
    assert cache.size == cache.manifest.count == 10
    cache.add(rows[10:], captions=["x"] * 10)
    assert (cache.entry(9).caption, cache.entry(10).caption) == ("9", "x")


def test_two_threads_search_one_cache(graph, tmp_path):
    picture = Image.new("RGB", (8, 8), (200, 10, 10))
    rows = clustered(3000, 64)
    build_cache(rows, "hnsw_sq8", captions=map(str, range(3000)), thumbnails=[picture] * 3000).save(
        tmp_path / "c"
    )
    cache = VisualCache.load(tmp_path / "c")
    queries = shifted(200, 64)
    expected = cache.enhance(queries)
    failures = []

    def work(order):
        try:
            for i in order:
                torch.testing.assert_close(
                    cache.enhance(queries[i : i + 1])[0], expected[i], atol=1e-6, rtol=0
                )
                assert cache.entry(i * 14).caption == str(i * 14)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(order,)) for order in (range(200), range(199, -1, -1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_graph_full_of_duplicates_still_answers_and_warns(caplog):
    """Identical pictures by the thousand hide the rest of a graph: the manifest says so, a search gives k."""
    rows = clustered(3000, 32)
    rows[:2500] = rows[0]
    cache = build_cache(rows, "hnsw_sq8")
    hits = cache.search(torch.from_numpy(rows[2500:2600]), 200)
    assert (hits.indices >= 0).all()
    assert cache.manifest.built["graph_recall_at_10"] < 1


def test_search_effort_is_kept_with_the_cache(tmp_path):
    rows = clustered(3000, 32)
    cache = build_cache(rows, "hnsw_sq8")
    assert cache.ef_search == 256
    cache.ef_search = 1
    queries = shifted(200, 32)
    few = cache.search(queries, 1).similarities
    cache.ef_search = 256
    assert cache.search(queries, 1).similarities.sum() > few.sum()
    cache.save(tmp_path / "c")
    loaded = VisualCache.load(tmp_path / "c")
    assert (loaded.ef_search, loaded.manifest.built["ef_search"]) == (256, 256)
    assert build_cache(rows, "exact").ef_search is None


def test_small_graph_gives_every_row():
    cache = build_cache(clustered(5, 8), "hnsw_sq8")
    assert sorted(cache.search(shifted(1, 8), 5).indices[0].tolist()) == [0, 1, 2, 3, 4]


def test_importing_the_cache_is_light():
    import subprocess
    import sys

    code = (
        "import sys, imagebind_llm.cache; "
        "print([m for m in ('faiss', 'pyarrow', 'transformers') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_landmarks_find_queries_that_a_walk_from_one_row_loses():
    """Tight groups that know only themselves, and queries apart from all of them."""
    rows = clustered(20_000, 64, clusters=800, noise=0.3)
    queries = shifted(500, 64).numpy()
    cache = build_cache(rows, "hnsw_sq8")
    cache.ef_search = 16
    index = cache._index
    true = np.argsort(-queries @ rows.T, axis=1)[:, :10]

    def lost(found):
        return np.mean([np.isin(f, t).mean() < 0.5 for f, t in zip(found, true, strict=True)])

    without = lost(indexing.top_k(index, queries, 10)[1])
    similarities, numbers = indexing.top_k(index, queries, 10, indexing.landmarks_of(index))
    assert without > 0.02
    assert lost(numbers) < 0.5 * without
    own = (indexing.reconstruct(index, numbers.reshape(-1)).reshape(500, 10, 64) * queries[:, None]).sum(-1)
    np.testing.assert_allclose(similarities, own, atol=1e-5)  # those of the beginnings are right, too
    assert (np.diff(similarities, axis=1) <= 0).all()
    assert all(len(set(row)) == 10 for row in numbers.tolist())
    assert torch.equal(cache.search(torch.from_numpy(queries), 10).indices, torch.from_numpy(numbers))
