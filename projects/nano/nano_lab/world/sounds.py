"""Real sounds: spoken digits (FSDD) and animal calls, as 16 kHz waves."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagebind_llm.common.errors import UserError, require
from nano_lab.world.concepts import UNCLEAR
from nano_lab.world.tables import COLUMNS, Split, label_ids, read_columns

RATE = 16_000
"""Hz. Speech is stored at 8 kHz and is resampled."""


@dataclass(frozen=True)
class AudioSet:
    """Recordings with labels.

    Attributes:
        waves: float32 mono waves at 16 kHz, -1..1, lengths differ.
        labels: int64 ``[N]``, concept ids.
        kind: ``[N]`` strings: ``"fsdd"``, ``"animals"`` or ``"animals_extra"``.
        group: int64 ``[N]``; equal numbers of one kind mean one session (speech: one speaker).
    """

    waves: list[np.ndarray]
    labels: np.ndarray
    kind: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.waves)


def load_audio(root: str | Path, split: Split) -> AudioSet:
    """Spoken digits, then the animal calls whose animals are among nano's objects."""
    speech = read_columns(root, "fsdd", split, COLUMNS["fsdd"])
    calls = read_columns(root, "animals", split, COLUMNS["animals"])
    speakers = {name: number for number, name in enumerate(sorted(set(speech["speaker"])))}
    return AudioSet(
        waves=[decode_wave(file) for file in (*speech["audio"], *calls["audio"])],
        labels=np.concatenate([label_ids(speech["label"]), label_ids(calls["label"])]),
        kind=np.array(["fsdd"] * len(speech["label"]) + ["animals"] * len(calls["label"])),
        group=np.array([speakers[name] for name in speech["speaker"]] + calls["group"], dtype=np.int64),
    )


def load_other_sounds(root: str | Path, split: Split) -> AudioSet:
    """Calls of animals nano does not know, all labelled "unclear"."""
    calls = read_columns(root, "animals_extra", split, COLUMNS["animals_extra"])
    count = len(calls["audio"])
    return AudioSet(
        waves=[decode_wave(file) for file in calls["audio"]],
        labels=np.full(count, UNCLEAR, np.int64),
        kind=np.array(["animals_extra"] * count),
        group=np.array(calls["group"], dtype=np.int64),
    )


def decode_wave(file: bytes) -> np.ndarray:
    """Decode an encoded sound file to float32 mono at 16 kHz.

    Raises:
        UserError: it is damaged.
    """
    import soundfile

    try:
        wave, rate = soundfile.read(io.BytesIO(file), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, TypeError) as error:
        raise UserError(f"a sound of nano's data is damaged ({error}); copy the file again") from None
    return change_rate(wave.mean(axis=1), rate, RATE)


def change_rate(wave: np.ndarray, rate: float, target: float) -> np.ndarray:
    """Resample a mono wave; equal rates return it unchanged."""
    if rate == target:
        return wave
    soxr = require("soxr", "train", "resampling recordings")
    return np.asarray(soxr.resample(wave, rate, target), np.float32)
