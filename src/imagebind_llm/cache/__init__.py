"""The visual cache: image embeddings that stand between an embedding of any modality and the language model.

The language model learnt from images only. At inference an embedding of sound, points or text is moved
towards the images that lie nearest to it (paper, section 3.4)::

    cache = build_cache(vectors, captions=names, thumbnails=images, encoder_fingerprint=encoder.fingerprint)
    cache.save("my-cache")
    cache = VisualCache.load("my-cache", expected_fingerprint=encoder.fingerprint)
    closer = cache.enhance(embeddings, k=10, temperature=20.0, weight=0.5)
    contact_sheet(["dog bark"], [cache.explain(embeddings[0])]).save("what-it-found.png")

Files: ``folder`` (what lies on disk), ``index`` (checked unit vectors, and all of faiss), ``entries``
(captions and thumbnails), ``visual_cache`` (search and enhance), ``build`` and ``sheet`` (a picture of what
was retrieved). A folder of pictures becomes a cache in
:mod:`imagebind_llm.data.embed.cache`. Faiss and Arrow are imported on use.
"""

from imagebind_llm.cache.build import build_cache
from imagebind_llm.cache.entries import CacheEntry
from imagebind_llm.cache.folder import CacheManifest
from imagebind_llm.cache.sheet import contact_sheet
from imagebind_llm.cache.visual_cache import CacheHits, Retrieved, VisualCache
from imagebind_llm.common.errors import CacheError

__all__ = [
    "CacheEntry",
    "CacheError",
    "CacheHits",
    "CacheManifest",
    "Retrieved",
    "VisualCache",
    "build_cache",
    "contact_sheet",
]
