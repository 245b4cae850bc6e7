"""Looking at all pairs once before training: image embeddings, the arrays' mean and spread, what is unusable.

Results are kept in stretches on disk, so an interrupted survey goes on with the first missing one.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import BadSample, CheckpointError, UserError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.data.pairs import Pair
from imagebind_llm.data.quarantine import Quarantine

_STRETCH = 2048
_BATCH = 128

Moments = np.ndarray
"""float64 ``[3, channels]``: number of values, their sum, the sum of their squares."""


@dataclass(frozen=True)
class Survey:
    """What was found: unit image embeddings ``[n, D]`` of the usable pairs, which those are ``[n]``, and the
    moments of their arrays."""

    vectors: Tensor
    usable: np.ndarray
    moments: Moments

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Per channel, over all usable arrays.

        Raises:
            UserError: a channel never changes.
        """
        count, total, squares = self.moments
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        if std.min() <= 1e-12 * max(1.0, float(np.abs(mean).max())):
            raise UserError(
                f"channel {int(std.argmin())} of the arrays never changes; leave it out, or give sensor.std"
            )
        return tuple(map(float, mean)), tuple(map(float, std))


@dataclass(frozen=True)
class Reader:
    """How pairs are looked at: the image as the encoder takes it, the moments of the array (both raise
    ``UserError`` for what cannot be used), and images ``[B, 3, H, W]`` to unit rows."""

    image: Callable[[Path], Tensor]
    moments: Callable[[Path], Moments]
    encode: Callable[[Tensor], Tensor]


def survey(
    folder: Path, pairs: Sequence[Pair], reader: Reader, identity: str, quarantine: Quarantine
) -> Survey:
    """Look at all ``pairs``; results are kept in ``folder``.

    Args:
        folder: of this survey alone.
        pairs: what to look at.
        reader: how.
        identity: changes when the encoder or the way of reading does.
        quarantine: told of pairs that cannot be used.

    Raises:
        CheckpointError: ``folder`` holds a survey of other pairs or by another encoder.
        TrainingDataError: too many pairs are unusable.
    """
    from tqdm import tqdm

    name = f"{identity} {_digest(pairs)}"
    mark = folder / "identity.json"
    if mark.is_file() and mark.read_text(encoding="utf-8") != json.dumps(name):
        raise CheckpointError(
            f"{folder} was made from other pairs or by another encoder; delete it or use another run.folder"
        )
    with atomic_write(mark) as temporary:
        temporary.write_text(json.dumps(name), encoding="utf-8")
    parts = []
    starts = range(0, len(pairs), _STRETCH)
    for start in tqdm(starts, unit="stretch", desc=f"look at {len(pairs)} pairs", disable=None):
        file = folder / f"{start:09d}.npz"
        if not file.is_file():
            found = _look(pairs[start : start + _STRETCH], reader, quarantine)
            with atomic_write(file) as temporary, temporary.open("wb") as stream:
                np.savez(stream, vectors=found["vectors"], usable=found["usable"], moments=found["moments"])
        with np.load(file, allow_pickle=False) as read:
            parts.append({key: read[key] for key in ("vectors", "usable", "moments")})
    usable = np.concatenate([part["usable"] for part in parts])
    if not usable.any():
        raise UserError(f"none of {len(pairs)} pairs can be used; the reasons are in {quarantine.path}")
    parts = [part for part in parts if part["usable"].any()]
    vectors = torch.from_numpy(np.concatenate([part["vectors"] for part in parts]))
    return Survey(vectors, usable, np.sum([part["moments"] for part in parts], axis=0))


def _look(pairs: Sequence[Pair], reader: Reader, quarantine: Quarantine) -> dict[str, np.ndarray]:
    usable = np.zeros(len(pairs), bool)
    images: list[Tensor] = []
    vectors: list[np.ndarray] = []
    moments: list[Moments] = []

    def encode() -> None:
        if images:
            vectors.append(reader.encode(torch.stack(images)).float().cpu().numpy())
            images.clear()

    for number, pair in enumerate(pairs):
        try:
            own, image = reader.moments(pair.array), reader.image(pair.image)
        except UserError as error:
            quarantine.report("pairs", BadSample(pair.array.name, str(error)))
            continue
        quarantine.passed()
        usable[number] = True
        moments.append(own)
        images.append(image)
        if len(images) == _BATCH:
            encode()
    encode()
    width = vectors[0].shape[1] if vectors else 0
    channels = moments[0].shape[1] if moments else 1
    return {
        "vectors": np.concatenate(vectors) if vectors else np.zeros((0, width), np.float32),
        "usable": usable,
        "moments": np.sum(moments, axis=0) if moments else np.zeros((3, channels)),
    }


def _digest(pairs: Sequence[Pair]) -> str:
    digest = hashlib.sha256()
    for pair in pairs:
        for path in (pair.array, pair.image):
            stat = path.stat() if path.is_file() else None
            facts = (path.name, pair.label, stat and stat.st_size, stat and stat.st_mtime_ns)
            digest.update(repr(facts).encode())
    return digest.hexdigest()[:16]
