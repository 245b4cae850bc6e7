"""A visual cache from embeddings that are there already."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from imagebind_llm.common.errors import TrainingDataError
from imagebind_llm.data.sources.base import SourceSettings
from imagebind_llm.data.sources.embedded import EmbeddedSource

if TYPE_CHECKING:
    from imagebind_llm.cache import VisualCache

_BLOCK = 4096


def build_cache_from_embeddings(
    embeddings: Path,
    folder: Path,
    kind: Literal["exact", "hnsw_sq8", "auto"] = "auto",
    progress: Callable[[int], None] | None = None,
    index_folder: Path | None = None,
) -> "VisualCache":
    """Build and save a cache of all pictures in what ``imagebind-llm data embed`` wrote, in its first view.

    Args:
        embeddings: the folder that was written.
        folder: where to save the cache; must be new, empty or a cache.
        kind: as in :func:`~imagebind_llm.cache.build_cache`.
        progress: called with the number of vectors done so far.
        index_folder: see :func:`imagebind_llm.data.sources.open_source`.

    Raises:
        TrainingDataError: the embeddings are incomplete or damaged, or there are no pictures among them.
        CacheError: as ``build_cache`` and ``save``.
    """
    from imagebind_llm.cache import build_cache

    source = EmbeddedSource(SourceSettings("embedded", str(embeddings)), index_folder)
    if next(source.pictures(), None) is None:
        raise TrainingDataError(f"{str(embeddings)!r} holds no embeddings of pictures; a cache needs some")
    cache = build_cache(
        _blocks(source),
        kind,
        captions=(caption for _, caption in source.pictures()),
        encoder_fingerprint=source.encoder_fingerprint,
        progress=progress,
    )
    cache.save(folder)
    return cache


def _blocks(source: EmbeddedSource) -> Iterator[np.ndarray]:
    pictures = source.pictures()
    while block := [vector for vector, _ in islice(pictures, _BLOCK)]:
        yield np.stack(block)
