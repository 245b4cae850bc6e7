"""A visual cache from embeddings that are there already, or from pictures that are embedded first."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from imagebind_llm.common.errors import TrainingDataError
from imagebind_llm.common.files import alone, atomic_write, printable_name
from imagebind_llm.common.folders import adopt, require_replaceable
from imagebind_llm.common.walk import visible_files
from imagebind_llm.common.work_folder import work_folder
from imagebind_llm.data.embed.executors import on_this_machine
from imagebind_llm.data.embed.run import RunOutput, embed_sources
from imagebind_llm.data.embed.shard import Job
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.sources.base import SourceSettings
from imagebind_llm.data.sources.embedded import EmbeddedSource

if TYPE_CHECKING:
    from imagebind_llm.cache import VisualCache
    from imagebind_llm.cache.entries import Thumbnail

Kind = Literal["exact", "hnsw_sq8", "auto"]
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SKIPPED_FILE = "skipped.json"

_BLOCK = 4096
_BUSY = "another process is building {!r}; wait for it, or give another folder"
_TABLE = "captions.jsonl"
"""The pictures as a source: one line each, so that line ``n`` of an error is picture ``n``."""
_KEY = re.compile(re.escape(_TABLE) + r":(\d+)")
_MIN_JUDGED = 50
"""Bad pictures met before their share is judged on the way."""


@dataclass(frozen=True)
class PictureCache:
    """What :func:`build_cache_from_pictures` did.

    Attributes:
        cache: the finished cache, also saved.
        used: pictures in it.
        resumed: pictures (used or skipped) taken over from an earlier, interrupted run.
        skipped: path and reason of each picture that could not be read.
    """

    cache: "VisualCache"
    used: int
    resumed: int
    skipped: list[tuple[str, str]]


def build_cache_from_pictures(
    pictures: Path,
    encoder: str,
    folder: Path,
    *,
    kind: Kind = "auto",
    caption: Callable[[Path], str | None] | None = None,
    batch_size: int = 64,
    shard_rows: int = 256,
    max_skipped: float = 0.5,
    device: str = "auto",
    dtype: str = "auto",
    progress: bool = True,
) -> PictureCache:
    """Embed the pictures below a folder and save a cache of them, with captions and thumbnails.

    Embeddings are kept in ``FOLDER.partial`` until the cache has been saved: a run that was stopped goes on
    when it is started again with the same arguments. ``skipped.json`` in the cache folder lists pictures that
    were left out.

    Args:
        pictures: a folder, searched through in the order of names.
        encoder: an encoder's or a model's folder, ``nano`` or a hub id.
        folder: where to save the cache; must be new, empty or a cache that we saved.
        kind: as in :func:`~imagebind_llm.cache.build_cache`.
        caption: text to keep for a file; by default its path below ``pictures``.
        batch_size: pictures encoded at once.
        shard_rows: pictures in a shard: what an interruption can cost.
        max_skipped: stop when more than this share of the pictures cannot be read.
        device: ``auto``, ``cpu``, ``cuda:0``, ….
        dtype: ``auto``, ``float32``, ….
        progress: show progress bars.

    Raises:
        CacheError: no pictures, too many bad ones, work of another run, another process builds into
            ``folder``, an embedding that is none (naming the picture), or anything that
            :func:`~imagebind_llm.cache.build_cache` refuses.
    """
    from tqdm import tqdm

    from imagebind_llm.cache import CacheError

    paths = _list_pictures(pictures)
    require_replaceable(folder, CacheError)
    work = folder.with_name(folder.name + ".partial")
    identity = {"pictures": str(pictures.absolute()), "count": len(paths)}
    busy = _BUSY.format(str(folder))
    with alone(folder, CacheError(busy)), work_folder(work, identity, CacheError, busy=busy):
        source = SourceSettings("folder", str((work / "pictures").absolute()), name="pictures")
        _write_table(work / "pictures" / _TABLE, paths)
        job = Job(
            (source,),
            encoder,
            shard_rows=shard_rows,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            index_folder=str((work / "index").absolute()),
        )
        done, skipped = _embed(job, work / "embeddings", paths, max_skipped, progress)
        embedded = EmbeddedSource(SourceSettings("embedded", str(done.folder)), work / "index")
        used = [paths[_number(embedded.read(row).key)] for row in range(embedded.rows)]
        captions = (caption(p) if caption else _name(p, pictures) for p in used)
        with tqdm(total=len(used), unit="img", desc="index", disable=not progress) as bar:
            cache = _build(
                done.folder,
                folder,
                kind,
                lambda count: bar.update(count - bar.n),
                work / "index",
                captions,
                map(_thumbnail, used),
            )
        with atomic_write(folder / SKIPPED_FILE) as temporary:
            values = {"used": len(used), "skipped": [{"path": path, "reason": why} for path, why in skipped]}
            text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        adopt(folder / SKIPPED_FILE)
        shutil.rmtree(work)
    return PictureCache(cache, len(used), done.resumed, skipped)


def build_cache_from_embeddings(
    embeddings: Path,
    folder: Path,
    kind: Kind = "auto",
    progress: Callable[[int], None] | None = None,
    index_folder: Path | None = None,
) -> "VisualCache":
    """Build and save a cache of all pictures in what ``imagebind-llm data embed`` wrote, in its first view.

    Args:
        embeddings: the folder that was written.
        folder: where to save the cache; must be new, empty or a cache that we saved.
        kind: as in :func:`~imagebind_llm.cache.build_cache`.
        progress: called with the number of vectors done so far.
        index_folder: see :func:`imagebind_llm.data.sources.open_source`.

    Raises:
        TrainingDataError: the embeddings are incomplete or damaged, or there are no pictures among them.
        CacheError: as ``build_cache`` and ``save``, or another process is building into ``folder``.
    """
    from imagebind_llm.cache import CacheError

    require_replaceable(folder, CacheError)
    with alone(folder, CacheError(_BUSY.format(str(folder)))):
        return _build(embeddings, folder, kind, progress, index_folder)


def _build(
    embeddings: Path,
    folder: Path,
    kind: Kind,
    progress: Callable[[int], None] | None,
    index_folder: Path | None = None,
    captions: Iterable[str | None] | None = None,
    thumbnails: Iterable["Thumbnail"] | None = None,
) -> "VisualCache":
    """As :func:`build_cache_from_embeddings`, for whoever has ``folder`` alone.

    Args:
        embeddings: the folder that was written.
        folder: where to save the cache.
        kind: of the index.
        progress: called with the number of vectors done so far.
        index_folder: see :func:`imagebind_llm.data.sources.open_source`.
        captions: of the pictures, instead of what the assistant says first.
        thumbnails: of the pictures; without them the cache keeps none.
    """
    from imagebind_llm.cache import build_cache

    source = EmbeddedSource(SourceSettings("embedded", str(embeddings)), index_folder)
    if next(source.pictures(), None) is None:
        raise TrainingDataError(f"{str(embeddings)!r} holds no embeddings of pictures; a cache needs some")
    cache = build_cache(
        _blocks(source),
        kind,
        captions=(caption for _, caption in source.pictures()) if captions is None else captions,
        thumbnails=thumbnails,
        encoder_fingerprint=source.encoder_fingerprint,
        progress=progress,
    )
    cache.save(folder)
    return cache


def _blocks(source: EmbeddedSource) -> Iterator[np.ndarray]:
    pictures = source.pictures()
    while block := [vector for vector, _ in islice(pictures, _BLOCK)]:
        yield np.stack(block)


def _embed(
    job: Job, folder: Path, paths: Sequence[Path], max_skipped: float, progress: bool
) -> tuple[RunOutput, list[tuple[str, str]]]:
    """Embed the pictures; also path and reason of those that could not be read."""
    from imagebind_llm.cache import CacheError

    quarantine = Quarantine(max_rate=max_skipped, min_count=_MIN_JUDGED)
    execute = on_this_machine(job.device, most=-(-len(paths) // job.shard_rows))
    try:
        done = embed_sources(job, folder, execute, quarantine, progress)
    except TrainingDataError as error:
        bad = quarantine.total
        if not bad or bad <= max_skipped * quarantine.tried:
            raise CacheError(_naming(paths, str(error))) from None
        raise CacheError(
            f"{bad} of {quarantine.tried} pictures could not be read, more than the allowed share "
            f"{max_skipped:g}; the first: {_naming(paths, quarantine.examples['pictures'][0])}"
        ) from None
    entries = map(json.loads, done.report.read_bytes().splitlines())
    return done, [(str(paths[_number(entry["key"])]), entry["reason"]) for entry in entries]


def _name(path: Path, root: Path) -> str:
    return printable_name(path.relative_to(root).as_posix())


def _thumbnail(path: Path) -> bytes | None:
    """None for a picture that was read before and cannot be now."""
    from imagebind_llm.cache.entries import encode_thumbnail
    from imagebind_llm.media.base import Limits
    from imagebind_llm.media.budget import reading
    from imagebind_llm.media.image import read_image, to_rgb

    limits = Limits()
    try:
        with reading(str(path), limits):
            return encode_thumbnail(to_rgb(read_image(path, limits)))
    except MemoryError:
        raise
    except Exception:  # it may have changed since
        return None


def _list_pictures(root: Path) -> list[Path]:
    from imagebind_llm.cache import CacheError

    if not root.is_dir():
        raise CacheError(f"no folder at {str(root)!r}; give a folder of pictures")
    paths = sorted(path for path in visible_files(root) if path.suffix.lower() in SUFFIXES)
    if not paths:
        some = ", ".join(sorted(SUFFIXES)[:4])
        raise CacheError(f"{str(root)!r} holds 0 pictures, expected files such as {some}")
    return paths


def _write_table(table: Path, paths: Sequence[Path]) -> None:
    with atomic_write(table) as temporary, temporary.open("w", encoding="utf-8") as file:
        for path in paths:
            file.write(json.dumps({"image": str(path.absolute()), "caption": "a picture"}) + "\n")


def _number(key: str) -> int:
    found = _KEY.fullmatch(key)
    assert found, f"{key} is a line of the table"
    return int(found[1]) - 1


def _naming(paths: Sequence[Path], message: str) -> str:
    """``message`` with the pictures' paths instead of their lines in the table."""
    return _KEY.sub(lambda found: repr(str(paths[int(found[1]) - 1])), message)
