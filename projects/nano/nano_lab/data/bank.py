"""Image embeddings computed once: several augmented views of every image of a pool, in shards on disk.

The folder holds ``manifest.json`` and one ``shard-XXXX.npy`` (float16 ``[views, images, D]``) per stretch of
images, with a SHA-256 each. An interrupted computation goes on with the first missing shard. The views of an
image depend only on the seed and the shard, so a bank is the same however often it was interrupted.

With groups of the encoder's tokens the arrays are ``[views, images, 1 + G, D]``, an image's own embedding
first.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import atomic_write, locked
from nano_lab.data.pool import ImagePool

logger = logging.getLogger(__name__)

SHARD_IMAGES = 4096
"""Images per shard."""

_BATCH = 256

Augment = Callable[[np.ndarray, np.ndarray, np.random.Generator], Tensor]
"""``(pixels uint8 [B, H, W, 3], labels [B], rng) -> float32 [B, 3, H, W]``."""


@dataclass(frozen=True)
class EmbeddingBank:
    """Unit embeddings ``vectors [views, N, D]`` (float16; or ``[views, N, 1 + G, D]`` with groups of
    tokens) of the images of a pool, row for row, and their labels."""

    vectors: np.ndarray
    labels: np.ndarray
    fingerprint: str

    @property
    def views(self) -> int:
        """Views per image."""
        return int(self.vectors.shape[0])

    def __len__(self) -> int:
        return int(self.vectors.shape[1])

    def take(self, rng: np.random.Generator, rows: np.ndarray) -> Tensor:
        """float32 unit vectors ``[len(rows), D]`` (``[len(rows), 1 + G, D]``), a random view of each row."""
        view = rng.integers(0, self.views, len(rows))
        return torch.nn.functional.normalize(
            torch.from_numpy(self.vectors[view, rows].astype(np.float32)), dim=-1
        )

    @property
    def wholes(self) -> np.ndarray:
        """``[views, N, D]``: the embeddings without groups of tokens."""
        return self.vectors if self.vectors.ndim == 3 else self.vectors[:, :, 0]

    def class_means(self, labels: int) -> Tensor:
        """Unit mean embedding of the labels ``0 … labels-1``, ``[labels, D]``; zero rows for labels without
        images."""
        means = torch.zeros(labels, self.vectors.shape[-1])
        for label in np.unique(self.labels[self.labels < labels]):
            rows = np.flatnonzero(self.labels == label)
            means[int(label)] = torch.from_numpy(
                self.wholes[:, rows].astype(np.float32).mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
            )
        return torch.nn.functional.normalize(means, dim=-1)

    def clear_rows(self, labels: int) -> dict[int, np.ndarray]:
        """Of each label ``0 … labels-1`` the rows whose first view is nearest to that label's own mean: what
        such an image is taken for is what it shows. All rows of a label that has no such image."""
        means = self.class_means(labels).numpy()
        rows = np.flatnonzero(self.labels < labels)
        nearest = np.concatenate(
            [
                (self.wholes[0, part].astype(np.float32) @ means.T).argmax(1)
                for part in np.array_split(rows, max(1, len(rows) // SHARD_IMAGES))
            ]
        )
        found = {}
        for label in np.unique(self.labels[rows]):
            own = rows[self.labels[rows] == label]
            clear = own[nearest[self.labels[rows] == label] == label]
            found[int(label)] = clear if len(clear) else own
        return found


def open_or_build_bank(
    folder: Path,
    pool: ImagePool,
    encode: Callable[[Tensor], Tensor],
    augment: Augment,
    fingerprint: str,
    views: int,
    seed: int = 0,
    groups: int = 0,
) -> EmbeddingBank:
    """The bank in ``folder``, computed as far as it is not there.

    Args:
        encode: images ``[B, 3, H, W]`` to unit rows ``[B, D]``, or ``[B, 1 + groups, D]``.
        fingerprint: of the encoder.
        groups: of the encoder's tokens, that each image has beside its own embedding.

    Raises:
        CheckpointError: the folder holds embeddings by another encoder or of other images.
    """
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    identity = {
        "encoder": fingerprint,
        "pool": _pool_digest(pool),
        "images": len(pool),
        "views": views,
        "seed": seed,
        "shard_images": SHARD_IMAGES,
        **({"groups": groups} if groups else {}),
    }
    count = -(-len(pool) // SHARD_IMAGES)
    with locked(folder / ".lock"):  # runs that share a bank start side by side: one computes, the others wait
        manifest = _read_manifest(folder, identity)
        shards = manifest["shards"]
        missing = [number for number in range(count) if _name(number) not in shards]
        if missing:
            logger.info("computing %d of %d shards of image embeddings in %s", len(missing), count, folder)
        for number in tqdm(missing, unit="shard", desc="embeddings", mininterval=5.0, disable=not missing):
            rows = np.arange(number * SHARD_IMAGES, min((number + 1) * SHARD_IMAGES, len(pool)))
            vectors = _encode_shard(pool, rows, encode, augment, views, seed, number)
            with atomic_write(folder / _name(number)) as temporary, temporary.open("wb") as file:
                np.save(file, vectors)
            shards[_name(number)] = _file_digest(folder / _name(number))
            with atomic_write(folder / "manifest.json") as temporary:
                temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    loaded = []
    for number in range(count):
        path = folder / _name(number)
        if not path.exists() or _file_digest(path) != shards[path.name]:
            raise CheckpointError(
                f"{path} is missing or damaged (its SHA-256 differs); delete {folder} to rebuild it"
            )
        loaded.append(np.load(path, allow_pickle=False))
    return EmbeddingBank(np.concatenate(loaded, axis=1), pool.labels, fingerprint)


def _encode_shard(
    pool: ImagePool,
    rows: np.ndarray,
    encode: Callable[[Tensor], Tensor],
    augment: Augment,
    views: int,
    seed: int,
    number: int,
) -> np.ndarray:
    encoded = []
    for view in range(views):
        rng = np.random.default_rng((seed, number, view))
        parts = []
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            parts.append(encode(augment(pool.pixels[batch], pool.labels[batch], rng)).half().cpu().numpy())
        encoded.append(np.concatenate(parts))
    return np.stack(encoded)


def _read_manifest(folder: Path, identity: dict[str, Any]) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.exists():
        return {**identity, "shards": {}}
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for key, value in identity.items():
        if manifest.get(key) != value:
            raise CheckpointError(
                f"the embeddings in {folder} were made with {key} {manifest.get(key)}, this run has {value}; "
                "delete that folder or give another"
            )
    return manifest


def _name(number: int) -> str:
    return f"shard-{number:04d}.npy"


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pool_digest(pool: ImagePool) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(pool.labels).tobytes())
    digest.update(np.ascontiguousarray(pool.pixels).data)
    return digest.hexdigest()[:16]
