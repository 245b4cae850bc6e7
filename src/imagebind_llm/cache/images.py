"""Making a cache from a folder of pictures; an interrupted run goes on where it stopped."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from imagebind_llm.cache.build import build_cache
from imagebind_llm.cache.entries import THUMBNAIL_SIDE, encode_thumbnail, open_picture
from imagebind_llm.cache.index import unit_rows
from imagebind_llm.cache.shards import ShardRow, claim, column, embeddings, left_out, write_shard
from imagebind_llm.cache.visual_cache import VisualCache
from imagebind_llm.common.errors import CacheError
from imagebind_llm.common.files import atomic_write

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SKIPPED_FILE = "skipped.json"

_MIN_JUDGED = 100
"""Pictures tried before a high share of bad ones stops the run."""


@dataclass(frozen=True)
class SkippedImage:
    """A picture that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class ImageBuild:
    """What :func:`build_cache_from_images` did.

    Attributes:
        cache: the finished cache, also saved.
        used: pictures in it.
        resumed: pictures (used or skipped) taken over from an earlier, interrupted run.
        skipped: pictures that could not be read.
    """

    cache: VisualCache
    used: int
    resumed: int
    skipped: list[SkippedImage]


def build_cache_from_images(
    images: str | Path | Sequence[str | Path],
    encode: Callable[[list[Image.Image]], Tensor],
    folder: str | Path,
    *,
    encoder_fingerprint: str | None = None,
    kind: Literal["exact", "hnsw_sq8", "auto"] = "auto",
    caption: Callable[[Path], str | None] | None = None,
    thumbnail_side: int = THUMBNAIL_SIDE,
    batch_size: int = 64,
    shard_images: int = 4096,
    max_pixels: int = 100_000_000,
    max_skipped: float = 0.5,
    work_folder: str | Path | None = None,
    progress: bool = True,
) -> ImageBuild:
    """Encode pictures and save a cache of them with captions and thumbnails.

    Embeddings are kept in ``work_folder``, one file for every ``shard_images`` pictures; when the run is
    stopped and started again with the same arguments, finished shards are not encoded again. The work folder
    is removed when the cache has been saved. ``skipped.json`` in the cache folder lists pictures that were
    left out.

    Args:
        images: a folder (searched through, in order of names) or a list of files.
        encode: RGB pictures to embeddings ``[n, D]``; usually the encoder's image path.
        folder: where to save the cache; must be new, empty or a cache.
        encoder_fingerprint: the encoder behind ``encode``.
        kind: as in :func:`~imagebind_llm.cache.build_cache`.
        caption: text to keep for a file; by default its path below the folder (its name, for a list).
        thumbnail_side: longest side of the kept thumbnails, pixels; 0 keeps none.
        batch_size: pictures given to ``encode`` at once.
        shard_images: pictures in a shard: what an interruption can cost.
        max_pixels: larger pictures are skipped before they are decoded.
        max_skipped: stop when more than this share of the pictures cannot be read.
        work_folder: default: ``folder`` + ``.partial``.
        progress: show a progress bar.

    Raises:
        CacheError: no pictures, too many bad ones, a work folder of another run, a non-finite embedding
            (naming the picture), or anything that :func:`~imagebind_llm.cache.build_cache` refuses.
    """
    from tqdm import tqdm

    folder = Path(folder)
    paths, names = _list_images(images)
    if batch_size < 1 or shard_images < 1:
        raise CacheError(f"batch size {batch_size} and shard size {shard_images} must be at least 1")
    work = Path(work_folder) if work_folder is not None else folder.with_name(folder.name + ".partial")
    job = {
        "images": hashlib.sha256(
            "\n".join(str(p) for p in paths).encode("utf-8", "surrogateescape")
        ).hexdigest(),
        "count": len(paths),
        "encoder_fingerprint": encoder_fingerprint,
        "shard_images": shard_images,
        "thumbnail_side": thumbnail_side,
        "max_pixels": max_pixels,
    }
    claim(work, job)

    shards: list[Path] = []
    skipped: list[SkippedImage] = []
    resumed = tried = 0
    with tqdm(total=len(paths), unit="img", desc="encode", disable=not progress) as bar:
        for start in range(0, len(paths), shard_images):
            part = slice(start, start + shard_images)
            shard = work / f"shard-{start // shard_images:06d}.parquet"
            if shard.is_file():
                resumed += len(paths[part])
                bar.update(len(paths[part]))
            else:
                text = [caption(p) if caption else n for p, n in zip(paths[part], names[part], strict=True)]
                rows = _encode_shard(
                    paths[part], text, encode, batch_size, thumbnail_side, max_pixels, lambda n: bar.update(n)
                )
                write_shard(shard, rows)
            shards.append(shard)
            skipped += [SkippedImage(*pair) for pair in left_out(shard)]
            tried += len(paths[part])
            done = tried == len(paths)
            if len(skipped) > max_skipped * tried and (done or tried >= _MIN_JUDGED):
                first = skipped[0]
                raise CacheError(
                    f"{len(skipped)} of {tried} pictures could not be read, more than the allowed share "
                    f"{max_skipped:g}; the first: {first.path}: {first.reason}"
                )
    used = len(paths) - len(skipped)
    if used == 0:
        raise CacheError(
            f"0 of {len(paths)} pictures could be read; the first: {skipped[0].path}: {skipped[0].reason}"
        )

    with tqdm(total=used, unit="img", desc="index", disable=not progress) as bar:
        cache = build_cache(
            embeddings(shards),
            kind,
            captions=column(shards, "caption"),
            thumbnails=column(shards, "thumbnail"),
            encoder_fingerprint=encoder_fingerprint,
            progress=lambda n: bar.update(n - bar.n),
        )
    cache.save(folder)
    with atomic_write(folder / SKIPPED_FILE) as path:
        report = {"used": used, "skipped": [{"path": s.path, "reason": s.reason} for s in skipped]}
        path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(work)
    return ImageBuild(cache, used, resumed, skipped)


def _list_images(images: str | Path | Sequence[str | Path]) -> tuple[list[Path], list[str]]:
    """Files and the names that stand in for captions."""
    if isinstance(images, str | Path):
        root = Path(images)
        if not root.is_dir():
            raise CacheError(f"no folder at {str(root)!r}; give a folder of pictures or a list of files")
        paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        names = [p.relative_to(root).as_posix() for p in paths]
        where = f"{str(root)!r} holds"
    else:
        paths = [Path(p) for p in images]
        names = [p.name for p in paths]
        where = "the list holds"
    if not paths:
        raise CacheError(f"{where} 0 pictures, expected files such as {', '.join(sorted(SUFFIXES)[:4])}")
    return paths, names


def _encode_shard(
    paths: list[Path],
    captions: list[str | None],
    encode: Callable[[list[Image.Image]], Tensor],
    batch_size: int,
    thumbnail_side: int,
    max_pixels: int,
    advance: Callable[[int], object],
) -> list[ShardRow]:
    rows: list[ShardRow] = []
    batch: list[tuple[ShardRow, Image.Image]] = []

    def run() -> None:
        if not batch:
            return
        with torch.no_grad():
            vectors = encode([picture for _, picture in batch]).detach().to("cpu", torch.float32).numpy()
        if vectors.ndim != 2 or len(vectors) != len(batch):
            raise CacheError(
                f"encode gave shape {list(vectors.shape)} for {len(batch)} pictures, expected [n, D]"
            )
        for (row, _), embedding in zip(batch, vectors, strict=True):
            try:
                row.embedding = unit_rows(embedding[None])[0]
            except CacheError as error:
                raise CacheError(f"the encoder's embedding of {row.path!r} is zero or not finite") from error
        batch.clear()

    for path, caption in zip(paths, captions, strict=True):
        row = ShardRow(str(path), caption)
        rows.append(row)
        try:
            picture = open_picture(path, "the file", max_pixels)
        except CacheError as error:
            row.reason = str(error)
        else:
            row.thumbnail = encode_thumbnail(picture, thumbnail_side) if thumbnail_side else None
            batch.append((row, picture))
            if len(batch) >= batch_size:
                run()
        advance(1)
    run()
    return rows
