"""How small, fast and faithful the visual cache is.

Builds a cache for each size and kind from generated vectors, loads it memory-mapped as a user would, and
prints a Markdown table: bytes a vector, build time, milliseconds a query (one query at a time, one thread),
recall@k and the cosine of the enhanced embedding to the one that exact search gives.

    python benchmarks/cache.py                                        half a minute
    python benchmarks/cache.py --rows 100000 300000 1000000 --dim 1024 --kinds hnsw_sq8

Vectors are generated block by block and never held together; the exact answer is found on a second pass
over the same blocks. They are clustered, with a spectrum that decays as 1/sqrt(i), as image embeddings have.
Queries come in two sorts: ``image`` (same distribution) and ``cross`` (moved by one common offset, noisier:
a stand-in for embeddings of sound, text or points, which lie apart from the images).
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imagebind_llm.cache import VisualCache, build_cache

BLOCK = 10_000
CLUSTERS = 2_000
TARGET_ROWS = 3_000_000


@dataclass(frozen=True)
class World:
    """A distribution of unit vectors in ``dim`` dimensions, the same whenever it is asked."""

    dim: int
    seed: int

    def _scatter(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        """``[rows, dim]`` of length about 1, first dimensions largest."""
        spectrum = 1 / np.sqrt(np.arange(1, self.dim + 1))
        spectrum /= np.linalg.norm(spectrum)
        return rng.standard_normal((rows, self.dim), dtype=np.float32) * spectrum.astype(np.float32)

    def _clustered(self, rng: np.random.Generator, rows: int, noise: float) -> np.ndarray:
        centres = self._scatter(np.random.default_rng([self.seed, 0]), CLUSTERS)
        return centres[rng.integers(CLUSTERS, size=rows)] + noise * self._scatter(rng, rows)

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """``rows`` unit vectors in blocks."""
        for number, start in enumerate(range(0, rows, BLOCK)):
            rng = np.random.default_rng([self.seed, 1, number])
            block = self._clustered(rng, min(BLOCK, rows - start), 0.6)
            yield block / np.linalg.norm(block, axis=1, keepdims=True)

    def queries(self, sort: str, count: int) -> Tensor:
        """``[count, dim]`` unit queries of sort ``image`` or ``cross``."""
        rng = np.random.default_rng([self.seed, 2])
        rows = self._clustered(rng, count, 0.6 if sort == "image" else 0.9)
        if sort == "cross":
            offset = np.random.default_rng([self.seed, 3]).standard_normal(self.dim)
            rows = rows + 0.7 * (offset / np.linalg.norm(offset)).astype(np.float32)
        return functional.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1)


@dataclass
class Truth:
    """What exact search gives: ``similarities`` and ``indices`` ``[B, k]``, ``vectors`` ``[B, k, D]``."""

    similarities: Tensor
    indices: Tensor
    vectors: Tensor

    def enhanced(self, queries: Tensor, temperature: float, weight: float) -> Tensor:
        shares = torch.softmax(self.similarities * temperature, dim=1)
        pictures = functional.normalize((shares[:, None] @ self.vectors)[:, 0], dim=1)
        return functional.normalize((1 - weight) * queries + weight * pictures, dim=1)


def exact_search(world: World, rows: int, queries: Tensor, k: int) -> Truth:
    count = len(queries)
    truth = Truth(
        torch.full((count, 0), 0.0),
        torch.zeros(count, 0, dtype=torch.int64),
        torch.zeros(count, 0, world.dim),
    )
    for number, block in enumerate(world.blocks(rows)):
        vectors = torch.from_numpy(block)
        best = (queries @ vectors.T).topk(min(k, len(block)), dim=1)
        similarities = torch.cat([truth.similarities, best.values], dim=1)
        indices = torch.cat([truth.indices, best.indices + number * BLOCK], dim=1)
        found = torch.cat([truth.vectors, vectors[best.indices]], dim=1)
        kept = similarities.topk(min(k, similarities.shape[1]), dim=1)
        truth = Truth(
            kept.values,
            indices.gather(1, kept.indices),
            found.gather(1, kept.indices[:, :, None].expand(-1, -1, world.dim)),
        )
    return truth


def query_times(cache: VisualCache, queries: Tensor, k: int) -> np.ndarray:
    """Milliseconds of ``enhance`` (search, read vectors back, blend) for each query alone, once warm."""
    cache.enhance(queries, k)
    times = []
    for query in queries:
        start = time.perf_counter()
        cache.enhance(query[None], k)
        times.append(1000 * (time.perf_counter() - start))
    return np.array(times)


def measure(world: World, rows: int, kind: str, options: argparse.Namespace, folder: Path) -> list[str]:
    faiss.omp_set_num_threads(options.build_threads)
    start = time.perf_counter()
    cache = build_cache(world.blocks(rows), kind)  # type: ignore[arg-type]
    build_seconds = time.perf_counter() - start
    cache.save(folder)
    del cache
    size = (folder / "index.faiss").stat().st_size
    faiss.omp_set_num_threads(1)
    cache = VisualCache.load(folder)
    lines = []
    for sort in ("image", "cross"):
        queries = world.queries(sort, options.queries)
        truth = exact_search(world, rows, queries, options.k)
        for effort in options.ef_search if cache.ef_search is not None else [None]:
            if effort is not None:
                cache.ef_search = effort
            times = query_times(cache, queries, options.k)
            hits = cache.search(queries, options.k)
            recall = float((hits.indices[:, :, None] == truth.indices[:, None, :]).any(2).float().mean())
            cosines = []
            for weight in (0.5, 1.0):
                got = cache.enhance(queries, options.k, 20.0, weight)
                same = functional.cosine_similarity(got, truth.enhanced(queries, 20.0, weight))
                cosines.append(f"{same.mean():.5f} ({same.min():.3f})")
            name = kind if effort is None else f"{kind} ef {effort}"
            cells = (
                f"{rows:,}", name, sort, f"{size / rows:.0f}", f"{size / rows * TARGET_ROWS / 1e9:.2f}",
                f"{build_seconds:.0f}", f"{np.percentile(times, 50):.2f}", f"{np.percentile(times, 99):.2f}",
                f"{recall:.4f}", *cosines, f"{truth.similarities[:, 0].mean():.2f}",
            )  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Size, speed and faithfulness of the visual cache.")
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000, 20_000], help="numbers of vectors")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--kinds", nargs="+", default=["exact", "hnsw_sq8"], choices=["exact", "hnsw_sq8"])
    parser.add_argument("--queries", type=int, default=500, help="queries of each sort")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--ef-search", type=int, nargs="+", default=[128], help="graph search efforts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--build-threads", type=int, default=faiss.omp_get_max_threads())
    parser.add_argument("--folder", type=Path, help="where to put the caches meanwhile (default: temporary)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"faiss {faiss.__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} CPUs; build {options.build_threads} threads, queries 1 thread; dim {options.dim}, "
        f"k {options.k}, {options.queries} queries of each sort, one at a time, index memory-mapped and "
        f"warm; load average before {os.getloadavg()[0]:.1f}\n"
    )
    names = (
        "rows", "kind", "queries", "bytes/vector", "GB at 3 M", "build s", "ms p50", "ms p99",
        f"recall@{options.k}", "cosine at weight 0.5: mean (min)", "at weight 1: mean (min)", "nearest",
    )  # fmt: skip
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    world = World(options.dim, options.seed)
    with tempfile.TemporaryDirectory(prefix="cache-benchmark-", dir=options.folder) as temporary:
        for rows in options.rows:
            for kind in options.kinds:
                for line in measure(world, rows, kind, options, Path(temporary) / "cache"):
                    print(line, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"\npeak memory {peak / 1e9:.2f} GB; load average after {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
