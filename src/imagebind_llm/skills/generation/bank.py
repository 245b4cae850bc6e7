"""Sounds that are looked up: recordings by name, found by what their names mean in the joint embedding.

A name's *key* is the embedding of words for it, so anything that lies near these words finds its recordings:
a picture of a dog as well as "a dog". ``sounds.safetensors`` holds for each name ``key.NAME`` (``[D]``,
float32, a unit vector) and ``sound.NAME.0``, ``sound.NAME.1`` … (the bytes of an Ogg Vorbis file, uint8).
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.tensor_files import TensorFile

FILE = "sounds.safetensors"
RATE = 16_000
"""Of all recordings, Hz; they have one channel."""
LEAST = 0.7
"""Cosine to the nearest key below which there is no sound. Nano's own things are mostly above 0.9, things
without a sound (a ship, a horse) and things that it does not know mostly below 0.65; ``imagebind-llm eval
imagine`` measures both."""
AS_NEAR = 0.1
"""Names this much farther than the nearest one are as good: the parts of an even mixture mostly are."""
_UNIT = 1e-2
_SOUND = re.compile(r"sound\.(.+)\.\d+")


@dataclass(frozen=True)
class SoundBank:
    """Recordings by name.

    Attributes:
        names: what there is, in the order of the alphabet.
        keys: ``[names, D]`` unit rows.
        sounds: for each name its recordings, ``[length]`` float32 in -1 … 1 at :data:`RATE`.
    """

    names: tuple[str, ...]
    keys: Tensor
    sounds: tuple[tuple[np.ndarray, ...], ...]

    def near(self, embedding: Tensor, negative: Tensor | None = None) -> list[int]:
        """The places of the names that lie near, the nearest first; none where nothing does.

        Args:
            embedding: ``[D]``, a unit vector.
            negative: ``[D]``: names that are nearer to this one are left out, and nothing farther comes in
                their place.

        Raises:
            UserError: the embedding has another size.
        """
        if embedding.shape != self.keys.shape[1:]:
            raise UserError(
                f"an embedding has shape {list(embedding.shape)}; the sounds have keys of "
                f"{list(self.keys.shape[1:])}: use the model they belong to"
            )
        cosines = self.keys @ embedding.float()
        best = float(cosines.max())
        if best < LEAST:
            return []
        if negative is not None:
            cosines = cosines.masked_fill(self.keys @ negative.float() > cosines, -1.0)
        order = cosines.argsort(descending=True).tolist()
        return [place for place in order if float(cosines[place]) >= best - AS_NEAR]

    def play(self, embedding: Tensor, seed: int, negative: Tensor | None = None) -> tuple[str, np.ndarray]:
        """A recording of one of the near names, and the name. Successive seeds take the names in turn, and of
        each its recordings in turn.

        Returns:
            The name, and ``[length]`` float32 at :data:`RATE`.

        Raises:
            UserError: nothing is near.
        """
        near = self.near(embedding, negative)
        if not near:
            raise UserError(f"no sound is near to this; there are sounds of {', '.join(self.names)}")
        turn, place = divmod(seed, len(near))
        able = self.sounds[near[place]]
        return self.names[near[place]], able[turn % len(able)]


def save_bank(folder: Path, keys: Mapping[str, Tensor], sounds: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Write :data:`FILE` into a folder that is there.

    Args:
        folder: it goes there.
        keys: name → ``[D]``.
        sounds: name → recordings, ``[length]`` float32 in -1 … 1 at :data:`RATE`.
    """
    from safetensors.torch import save_file

    tensors = {f"key.{name}": row.float().contiguous() for name, row in keys.items()}
    for name, recordings in sounds.items():
        for number, samples in enumerate(recordings):
            data = np.frombuffer(_ogg(samples), np.uint8)
            tensors[f"sound.{name}.{number}"] = torch.from_numpy(data.copy())
    with atomic_write(folder / FILE) as temporary:
        save_file(tensors, temporary, {"format": "pt"})


def load_bank(folder: Path, dim: int) -> SoundBank | None:
    """The sounds in ``folder``; None where it has none.

    Args:
        folder: of a generator.
        dim: of the joint embedding.

    Raises:
        CheckpointError: the file is damaged, or its parts do not belong together.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    file = TensorFile(path)
    keys: dict[str, Tensor] = {}
    found: dict[str, list[Tensor]] = {}
    for name in sorted(file.infos):
        sound = _SOUND.fullmatch(name)
        if sound is not None:
            found.setdefault(sound[1], []).append(file.get(name))
        else:
            keys[name.removeprefix("key.")] = file.get(name).float()
    whole = bool(keys) and set(keys) == set(found) and all(row.shape == (dim,) for row in keys.values())
    if not whole or not all(abs(float(row.norm()) - 1) < _UNIT for row in keys.values()):
        raise CheckpointError(
            f"{str(path)!r} does not hold a unit vector of {dim} numbers and recordings for every name; get "
            "it again"
        )
    sounds = tuple(tuple(_read(path, data) for data in found[name]) for name in keys)
    return SoundBank(tuple(keys), torch.stack(list(keys.values())), sounds)


def _read(path: Path, data: Tensor) -> np.ndarray:
    try:
        samples, rate = soundfile.read(io.BytesIO(data.numpy().tobytes()), dtype="float32")
    except (RuntimeError, OSError) as error:
        raise CheckpointError(f"{str(path)!r} holds a recording that cannot be read; get it again") from error
    if rate != RATE or samples.ndim != 1 or not len(samples):
        raise CheckpointError(
            f"{str(path)!r} holds a recording that is cut, or not one channel of {RATE} Hz; get it again"
        )
    found: np.ndarray = samples.clip(-1, 1)
    return found


def _ogg(samples: np.ndarray) -> bytes:
    held = io.BytesIO()
    soundfile.write(held, samples, RATE, format="OGG", subtype="VORBIS")
    return held.getvalue()
