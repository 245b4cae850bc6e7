"""The published cache, number for number (500 unit vectors, 32 dimensions; the reference ran row by row)."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from imagebind_llm.cache import VisualCache, build_cache
from imagebind_llm.model.conditioning import mix

GOLDEN = Path(__file__).parent.parent / "golden" / "cache_tiny"
ATOL = 2e-6
INPUTS = load_file(GOLDEN / "inputs.safetensors")
OUTPUTS = load_file(GOLDEN / "outputs.safetensors")
VECTORS = load_file(GOLDEN / "vectors.safetensors")["vectors"]


def mixture(*weighted):
    """``(rows, weight)`` pairs to one mixture for each row."""
    count = len(weighted[0][0])
    rows = torch.cat([torch.nn.functional.normalize(r, dim=1) for r, _ in weighted])
    weights = torch.cat([torch.full((count,), w) for _, w in weighted])
    return mix(rows, weights, torch.arange(count).repeat(len(weighted)), count)


@pytest.fixture(scope="module", params=["built", "original", "original-mapped"])
def cache(request):
    if request.param == "built":
        return build_cache(VECTORS, "exact")
    return VisualCache.from_index(GOLDEN / "knn.index", memory_map=request.param == "original-mapped")


def test_top_k(cache):
    hits = cache.search(INPUTS["queries"], 10)
    assert torch.equal(hits.indices, OUTPUTS["topk_indices"])
    torch.testing.assert_close(hits.similarities, OUTPUTS["topk_sims"], atol=ATOL, rtol=0)
    torch.testing.assert_close(hits.vectors, VECTORS[hits.indices], atol=1e-7, rtol=0)


@pytest.mark.parametrize("weight", ["0", "0.5", "1"])
@pytest.mark.parametrize("temperature", [1, 20, 100])
@pytest.mark.parametrize("k", [1, 10])
def test_enhance(cache, k, temperature, weight):
    own = mixture((INPUTS["queries"], 1.0))
    expected = OUTPUTS[f"cache_size{k}_t{temperature}_w{weight}"]
    batched = cache.enhance(own, k, temperature, float(weight))
    torch.testing.assert_close(batched, expected, atol=ATOL, rtol=0)
    alone = torch.cat([cache.enhance(row[None], k, temperature, float(weight)) for row in own])
    torch.testing.assert_close(alone, expected, atol=ATOL, rtol=0)


@pytest.mark.parametrize(("k", "weight"), [("1", "1"), ("10", "0.5")])
def test_mixture_is_not_renormalised_before_the_cache(cache, k, weight):
    own = mixture((INPUTS["queries"][:4], 1.0), (INPUTS["queries2"], 0.5))
    expected = OUTPUTS[f"mixed_1_0.5_cache_size{k}_t20_w{weight}"]
    torch.testing.assert_close(cache.enhance(own, int(k), 20, float(weight)), expected, atol=ATOL, rtol=0)
    if weight != "1":
        unit = torch.nn.functional.normalize(own, dim=1)
        assert (cache.enhance(unit, int(k), 20, float(weight)) - expected).abs().max() > 1e-3


def test_mixing_without_cache():
    first = INPUTS["queries"][:4]
    pairs = {
        "nocache_single_weight1": mixture((INPUTS["queries"], 1.0)),
        "nocache_mixed_1_0.5": mixture((first, 1.0), (INPUTS["queries2"], 0.5)),
        "nocache_mixed_0.3_0.9_0.2": mixture(
            (first, 0.3), (INPUTS["queries2"], 0.9), (INPUTS["queries3"], 0.2)
        ),
    }
    assert {name for name in OUTPUTS if name.startswith("nocache")} == set(pairs)
    for name, got in pairs.items():
        torch.testing.assert_close(got, OUTPUTS[name], atol=ATOL, rtol=0)


def test_defaults_are_the_published_ones(cache):
    own = mixture((INPUTS["queries"], 1.0))
    expected = OUTPUTS["cache_size10_t20_w0.5"]
    torch.testing.assert_close(cache.enhance(own), expected, atol=ATOL, rtol=0)


def test_explain_gives_the_blend_of_enhance(cache):
    own = mixture((INPUTS["queries"][:4], 1.0), (INPUTS["queries2"], 0.5))
    rows = cache.explain(own[2], k=10, temperature=20)
    assert [r.rank for r in rows] == list(range(1, 11))
    shares = torch.tensor([r.share for r in rows])
    blend = torch.nn.functional.normalize(shares @ VECTORS[[r.index for r in rows]], dim=0)
    torch.testing.assert_close(blend, cache.enhance(own[2:3], 10, 20, 1.0)[0], atol=ATOL, rtol=0)


def test_device_and_dtype_are_kept(cache):
    own = mixture((INPUTS["queries"], 1.0)).to(torch.bfloat16).requires_grad_()
    out = cache.enhance(own)
    assert out.dtype == torch.bfloat16
    assert not out.requires_grad


def test_empty_batch(cache):
    assert cache.enhance(torch.empty(0, 32)).shape == (0, 32)
    assert cache.search(torch.empty(0, 32), 3).vectors.shape == (0, 3, 32)
