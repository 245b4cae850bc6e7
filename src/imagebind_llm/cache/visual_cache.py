"""Searching the cache, and moving an embedding towards the pictures it finds."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from imagebind_llm.cache import index as indexing
from imagebind_llm.cache.entries import CacheEntry, EntryTable, EntryWriter, Thumbnail
from imagebind_llm.cache.folder import CacheManifest, check_sum, read_folder, write_folder
from imagebind_llm.cache.index import Landmarks, Vectors, unit_blocks
from imagebind_llm.common.errors import CacheError

_SHARPEST = 1e30
"""Temperatures above count as this: the nearest picture has all the weight, and float32 does not overflow."""


@dataclass(frozen=True)
class CacheHits:
    """The ``k`` nearest cached vectors of ``B`` queries, best first, on the CPU.

    Attributes:
        similarities: ``[B, k]`` float32 cosines (of the coded vectors, where the index keeps codes).
        indices: ``[B, k]`` int64 row numbers.
        vectors: ``[B, k, D]`` float32, as stored (decoded, where the index keeps codes).
    """

    similarities: Tensor
    indices: Tensor
    vectors: Tensor


@dataclass(frozen=True)
class Retrieved:
    """One picture that an embedding is moved towards.

    Attributes:
        rank: 1 = nearest.
        index: row number in the cache.
        similarity: cosine to the query.
        share: its part of the blended picture; the shares of a query sum to 1.
        caption: text stored with it, if any.
        thumbnail: RGB picture stored with it, if any.
    """

    rank: int
    index: int
    similarity: float
    share: float
    caption: str | None
    thumbnail: Image.Image | None


class VisualCache:
    """Unit image embeddings with optional captions and thumbnails.

    Made by :func:`imagebind_llm.cache.build_cache`, :meth:`load` or :meth:`from_index`. Several threads may
    search at once; :meth:`add` needs the cache to itself. Searching uses the process's OpenMP threads
    (``OMP_NUM_THREADS``).
    """

    def __init__(
        self,
        index: Any,
        manifest: CacheManifest,
        entries: EntryTable | None = None,
        *,
        entries_path: Path | None = None,
        memory_mapped: bool = False,
    ) -> None:
        """Wrap a faiss ``index`` that agrees with ``manifest``; use the constructors named above instead."""
        self._index = index
        self._manifest = manifest
        self._entries = entries
        self._entries_path = entries_path
        self._memory_mapped = memory_mapped
        self._landmarks_of: tuple[int, Landmarks | None] | None = None

    def __repr__(self) -> str:
        return f"VisualCache({self.size} x {self.dim}, {self.manifest.kind})"

    @property
    def manifest(self) -> CacheManifest:
        """What the cache says about itself."""
        return self._manifest

    @property
    def size(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return int(self._index.d)

    @property
    def ef_search(self) -> int | None:
        """How many candidates a graph keeps while it searches; ``None`` for an index that is not a graph.

        More finds neighbours that fewer miss, and takes longer in proportion (default 256). Setting it lasts
        for this object and what it saves; a value below 1, or an index that is not a graph,
        is a CacheError.
        """
        graph = indexing.graph_of(self._index)
        return None if graph is None else int(graph.hnsw.efSearch)

    @ef_search.setter
    def ef_search(self, value: int) -> None:
        if self.ef_search is None:
            raise CacheError(f"ef_search is for hnsw_sq8 caches, this one is {self.manifest.kind!r}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CacheError(f"ef_search is {value}, expected a whole number of at least 1")
        indexing.graph_of(self._index).hnsw.efSearch = value
        self._manifest = replace(self._manifest, built={**self._manifest.built, "ef_search": value})

    # --- reading and writing

    @staticmethod
    def load(
        folder: str | Path, expected_fingerprint: str | None = None, *, memory_map: bool = True
    ) -> "VisualCache":
        """Open a cache folder.

        Args:
            folder: written by :meth:`save`.
            expected_fingerprint: fingerprint of the encoder in use; ``None`` does not ask.
            memory_map: leave the index on disk and let the system read the pages that are searched (quick
                start, shared between processes). ``False`` reads it whole.

        Raises:
            CacheError: not a cache folder, made by another encoder (both are named), or files that are
                missing, truncated or disagree with the manifest.
        """
        index, manifest, entries_path = read_folder(Path(folder), expected_fingerprint, memory_map)
        return VisualCache(index, manifest, entries_path=entries_path, memory_mapped=memory_map)

    @staticmethod
    def from_index(
        path: str | Path, encoder_fingerprint: str | None = None, *, memory_map: bool = True
    ) -> "VisualCache":
        """Open a bare faiss file, such as the ``knn.index`` published with the paper.

        Args:
            path: an inner-product index of unit vectors that gives its vectors back.
            encoder_fingerprint: the encoder that made it, if you know; a bare file cannot say.
            memory_map: as in :meth:`load`.

        Raises:
            CacheError: not such a file.
        """
        path = Path(path)
        index = indexing.read_index(path, memory_map)
        indexing.check_reconstructs(index, path)
        manifest = CacheManifest(
            count=int(index.ntotal),
            dim=int(index.d),
            kind=indexing.kind_of(index),
            encoder_fingerprint=encoder_fingerprint,
            built={"from_file": path.name, "index_type": type(index).__name__},
        )
        return VisualCache(index, manifest, memory_mapped=memory_map)

    def save(self, folder: str | Path) -> None:
        """Write ``index.faiss``, ``manifest.json`` and, if there are any, ``entries.parquet``, all or
        nothing.

        A cache already at ``folder`` is replaced.

        Raises:
            CacheError: ``folder`` holds something else.
        """
        write_folder(Path(folder), self._index, self._manifest, self._entry_table())

    # --- use

    def search(self, queries: Tensor, k: int = 10) -> CacheHits:
        """Find the ``k`` nearest cached vectors.

        Args:
            queries: ``[B, D]``; normalised here, so only their direction counts.
            k: ``1 … size``.

        Raises:
            CacheError: another dimension, a zero or non-finite query (with its row), ``k`` out of range.
        """
        own = self._checked(queries, k)
        lengths = torch.linalg.vector_norm(own, dim=1, keepdim=True)
        rows = np.ascontiguousarray((own / lengths).numpy())
        similarities, numbers = indexing.top_k(self._index, rows, k, self._landmarks())
        vectors = indexing.reconstruct(self._index, numbers.reshape(-1)).reshape(*numbers.shape, self.dim)
        return CacheHits(torch.from_numpy(similarities), torch.from_numpy(numbers), torch.from_numpy(vectors))

    def enhance(
        self, embeddings: Tensor, k: int = 10, temperature: float = 20.0, weight: float = 0.5
    ) -> Tensor:
        """Move embeddings towards the pictures nearest to them, each row on its own (paper, section 3.4).

        ``p = unit(Σ softmax(temperature · e·vᵢ) vᵢ)`` over the ``k`` nearest, result
        ``unit((1 - weight) · e + weight · p)``. As published, ``e`` is used as it comes: a mixture that is
        shorter than 1 scores lower (a flatter softmax) and weighs less against ``p``, and the result is a
        unit vector even at ``weight = 0``. The defaults are those of the paper's released code.

        Args:
            embeddings: ``[B, D]``, any float dtype and device; no gradient flows through.
            k: number of pictures, ``1 … size``.
            temperature: factor on the similarities, finite, at least 0 (0 = plain mean of the pictures).
            weight: share of the pictures, ``0 … 1``.

        Returns:
            ``[B, D]`` unit rows, dtype and device of ``embeddings``.

        Raises:
            CacheError: as :meth:`search`, or ``temperature`` or ``weight`` out of range.
        """
        if not 0 <= weight <= 1:
            raise CacheError(f"cache weight is {weight}, expected a number from 0 to 1")
        own = self._checked(embeddings, k)
        hits = self.search(own, k)
        shares = _shares(own, hits, temperature)
        pictures = functional.normalize((shares[:, None, :] @ hits.vectors)[:, 0], dim=1)
        return functional.normalize((1 - weight) * own + weight * pictures, dim=1).to(embeddings)

    def vectors(self, numbers: Tensor) -> Tensor:
        """The unit vectors ``[n, D]`` float32 of the rows ``numbers [n]`` (``0 … size-1``)."""
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < self.size:
            raise CacheError(f"rows outside of 0 to {self.size - 1} were asked for")
        return torch.from_numpy(indexing.reconstruct(self._index, numbers.numpy()))

    def entry(self, number: int) -> CacheEntry:
        """Caption and thumbnail of row ``number`` (``0 … size-1``); both ``None`` when none are kept."""
        if not 0 <= number < self.size:
            raise CacheError(f"row {number} was asked for, the cache has rows 0 to {self.size - 1}")
        entries = self._entry_table()
        return CacheEntry(None, None) if entries is None else entries[number]

    def explain(self, embedding: Tensor, k: int = 10, temperature: float = 20.0) -> list[Retrieved]:
        """What :meth:`enhance` would blend in for one embedding ``[D]`` or ``[1, D]``, best first."""
        own = self._checked(embedding[None] if embedding.ndim == 1 else embedding, k)
        if len(own) != 1:
            raise CacheError(f"explain takes one embedding, found {len(own)}")
        hits = self.search(own, k)
        shares = _shares(own, hits, temperature)
        found = []
        for i, number in enumerate(hits.indices[0].tolist()):
            seen = self.entry(number)
            found.append(
                Retrieved(
                    rank=i + 1,
                    index=number,
                    similarity=float(hits.similarities[0, i]),
                    share=float(shares[0, i]),
                    caption=seen.caption,
                    thumbnail=seen.thumbnail,
                )
            )
        return found

    def add(
        self,
        vectors: Vectors,
        captions: Iterable[str | None] | None = None,
        thumbnails: Iterable[Thumbnail] | None = None,
        *,
        encoder_fingerprint: str | None = None,
    ) -> None:
        """Append vectors (in memory; :meth:`save` afterwards). All are checked before the first is added.

        Args:
            vectors: ``[n, D]`` or an iterable of such blocks, normalised here.
            captions: one for each vector, or ``None``.
            thumbnails: one for each vector, or ``None``.
            encoder_fingerprint: the encoder that made them; compared with the cache's own when given.

        Raises:
            CacheError: another dimension or encoder, a bad row, or counts that differ.
        """
        self._manifest.check_encoder(encoder_fingerprint)
        blocks = list(unit_blocks(vectors))
        if not blocks:
            raise CacheError("0 vectors to add, expected at least 1")
        if blocks[0].shape[1] != self.dim:
            raise CacheError(f"vectors have {blocks[0].shape[1]} dimensions, the cache has {self.dim}")
        entries = self._entry_table()
        if entries is not None or captions is not None or thumbnails is not None:
            writer = EntryWriter(captions, thumbnails)
            writer.copy(entries.rows() if entries is not None else ((None, None) for _ in range(self.size)))
            for block in blocks:
                writer.take(len(block))
            entries = writer.finish()
        if self._memory_mapped:
            self._index, self._memory_mapped = indexing.owned_copy(self._index), False
        for block in blocks:
            self._index.add(block)
        built = dict(self._manifest.built)
        if self._manifest.kind == "hnsw_sq8":
            built |= indexing.measure(self._index, blocks[-1])
        self._entries, self._entries_path = entries, None
        self._manifest = replace(
            self._manifest,
            count=self.size,
            built=built,
            has_entries=entries is not None,
            index_bytes=0,
            sha256={},
        )

    # --- inside

    def _landmarks(self) -> Landmarks | None:
        """Those of the rows there are now. Threads that come here together make the same."""
        kept = self._landmarks_of
        if kept is None or kept[0] != self.size:
            kept = self._landmarks_of = (self.size, indexing.landmarks_of(self._index))
        return kept[1]

    def _entry_table(self) -> EntryTable | None:
        if self._entries is None and self._entries_path is not None:
            if self._entries_path.is_file():
                check_sum(self._entries_path, self._manifest)
            entries = EntryTable(self._entries_path)
            if len(entries) != self.size:
                raise CacheError(
                    f"{str(self._entries_path)!r} has {len(entries)} rows, the index has {self.size} "
                    "vectors; copy the cache again"
                )
            self._entries = entries
        return self._entries

    def _checked(self, queries: Tensor, k: int) -> Tensor:
        """``queries`` as finite, non-zero float32 rows on the CPU."""
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= self.size:
            raise CacheError(
                f"cache k is {k}, expected a whole number from 1 to the cache's size {self.size}"
            )
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise CacheError(
                f"the cache holds {self.dim}-d vectors, the query has shape {list(queries.shape)}, expected "
                f"[B, {self.dim}]; use a cache made by this encoder"
            )
        own = queries.detach().to("cpu", torch.float32)
        lengths = torch.linalg.vector_norm(own, dim=1)
        bad = torch.nonzero(~torch.isfinite(lengths) | (lengths == 0))
        if len(bad):
            row = int(bad[0])
            raise CacheError(
                f"query row {row} has length {float(lengths[row])}, expected a finite, non-zero vector; "
                "check the media and weights it was mixed from"
            )
        return own


def _shares(own: Tensor, hits: CacheHits, temperature: float) -> Tensor:
    """Softmax over the hits ``[B, k]``, of the inner products with the embeddings as they came.

    Raises:
        CacheError: ``temperature`` is negative or not finite.
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise CacheError(f"cache temperature is {temperature}, expected a finite number of at least 0")
    temperature = min(temperature, _SHARPEST)
    lengths = torch.linalg.vector_norm(own, dim=1, keepdim=True)
    return torch.softmax(hits.similarities * lengths * temperature, dim=1)
