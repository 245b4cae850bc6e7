"""Training batches for the audio encoder, augmented as mel spectra.

A 2 s filter bank costs milliseconds, so every recording is analysed once at a few playing speeds. Powers
of independent sounds add, hence placement, gain, room colour, echo and background noise can all be applied
to the stored spectra; the result is what the media pipeline would give for the mixed wave, up to cross terms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from imagebind_llm.media.audio_features import LOG_FLOOR, log_mel
from imagebind_llm.media.settings import AudioSettings
from nano_lab.world.concepts import UNCLEAR
from nano_lab.world.noises import background_noise, unclear_wave
from nano_lab.world.sounds import RATE, AudioSet, change_rate

SPEEDS = (0.9, 0.95, 1.0, 1.06, 1.14)
"""Playing speeds. More upwards, because the speakers are all men: higher formants stand for other voices."""

_NOISES, _UNCLEARS = 120, 300
_BANK_SEED = 20230907  # the banks of noises are part of the world, not of a run


@dataclass(frozen=True)
class _Bank:
    """Log-mel spectra of many sounds end to end: ``frames`` float16 ``[total, mel]``, starts and lengths."""

    frames: np.ndarray
    start: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, waves: list[np.ndarray], settings: AudioSettings) -> _Bank:
        spectra = [spectrum(wave, settings).astype(np.float16) for wave in waves]
        length = np.array([len(s) for s in spectra])
        return cls(np.concatenate(spectra), np.cumsum(length) - length, length)


class MelWorld:
    """All training sounds as spectra, and random batches of them.

    Args:
        sounds: labelled recordings.
        others: sounds of things nano does not know; they join the "unclear" class.
        settings: nano's audio settings.
        unclear_share: share of a batch that is "unclear".
    """

    def __init__(
        self, sounds: AudioSet, others: AudioSet | None, settings: AudioSettings, unclear_share: float = 0.1
    ) -> None:
        rng = np.random.default_rng(_BANK_SEED)
        self._settings = settings
        self._unclear_share = unclear_share
        self._clip_frames = int((settings.clip_seconds * RATE - 0.025 * RATE) // (0.010 * RATE)) + 1
        self._known = _Bank.of(
            [change_rate(w, RATE * s, RATE) for w in sounds.waves for s in SPEEDS], settings
        )
        self._classes = np.unique(sounds.labels)
        self._rows = [np.flatnonzero(sounds.labels == label) for label in self._classes]
        self._chances = [_group_chances(sounds.group[rows]) for rows in self._rows]
        extra = [] if others is None else [w for w in others.waves for _ in range(2)]
        self._unclear = _Bank.of(
            extra + [unclear_wave(rng) for _ in range(max(_UNCLEARS, len(extra)))], settings
        )
        self._noise = _Bank.of(
            [background_noise(rng, settings.clip_seconds) for _ in range(_NOISES)], settings
        )

    def batch(self, rng: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """``count`` augmented 2 s clips, balanced by class.

        Returns:
            float32 ``[count, 1, mel, frames]`` as the encoder takes it, and labels int64 ``[count]``.
        """
        labels = self._classes[rng.integers(0, len(self._classes), count)]
        labels[rng.random(count) < self._unclear_share] = UNCLEAR
        power = np.zeros((count, self._clip_frames, self._settings.mel_bins), np.float32)
        known = np.flatnonzero(labels != UNCLEAR)
        unclear = np.flatnonzero(labels == UNCLEAR)
        # A file of its own (ends where the sound ends, then padding) or a cut from a longer recording.
        ends = np.full(count, self._clip_frames)
        bare = rng.random(count) < 0.45
        if len(known):
            items = np.array([self._draw(rng, int(label)) for label in labels[known]])
            power[known], ends[known] = self._place(rng, self._known, items, bare[known])
        if len(unclear):
            items = rng.integers(0, len(self._unclear.start), len(unclear))
            power[unclear], ends[unclear] = self._place(rng, self._unclear, items, bare[unclear])
        echo = np.flatnonzero(rng.random(count) < 0.35)
        power[echo] = _echo(rng, power[echo])
        power *= _room_colour(rng, count, self._settings.mel_bins)
        self._add_noise(rng, power, bare & (rng.random(count) < 0.7))
        power *= (10 ** (rng.uniform(-15.0, 15.0, count) / 10)).astype(np.float32)[:, None, None]
        return self._finish(rng, power, ends), torch.from_numpy(labels)

    def _draw(self, rng: np.random.Generator, label: int) -> int:
        place = int(np.searchsorted(self._classes, label))
        row = self._rows[place][np.searchsorted(self._chances[place], rng.random())]
        return int(row) * len(SPEEDS) + int(rng.integers(len(SPEEDS)))

    def _place(
        self, rng: np.random.Generator, bank: _Bank, items: np.ndarray, bare: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put sounds into clips: powers ``[B, frames, mel]`` and the frame at which each file ends."""
        clip = self._clip_frames
        length = bank.length[items]
        # Long sounds: the loudest of three random windows; short ones: somewhere in the clip.
        first = np.zeros(len(items), np.int64)
        for row in np.flatnonzero(length > clip):
            options = rng.integers(0, length[row] - clip + 1, 3)
            start = bank.start[items[row]]
            loud = [
                float(np.exp(bank.frames[start + o : start + o + clip : 8].astype(np.float32)).mean())
                for o in options
            ]
            first[row] = options[int(np.argmax(loud))]
        shown = np.minimum(length, clip)
        offset = (rng.random(len(items)) * (clip - shown + 1)).astype(np.int64)
        # A bare file starts with the sound; now and then with a little silence around it.
        margin = rng.integers(0, 25, len(items)) * (rng.random(len(items)) < 0.3)
        offset = np.where(bare, np.minimum(margin, clip - shown), offset)
        ends = np.where(bare, np.minimum(offset + shown + margin, clip), clip)
        frame = np.arange(clip)[None, :] - offset[:, None]
        inside = (frame >= 0) & (frame < shown[:, None])
        index = (bank.start[items] + first)[:, None] + np.clip(frame, 0, shown[:, None] - 1)
        power = np.exp(bank.frames[index].astype(np.float32))
        # Around the sound goes on its own quietest moment, as in a recording that was not trimmed.
        quiet = np.quantile(power[:, ::4], 0.05, axis=1)[:, None]
        return np.where(inside[..., None], power, np.minimum(quiet, power)), ends

    def _add_noise(self, rng: np.random.Generator, power: np.ndarray, clean: np.ndarray) -> None:
        """Add background noise at 5 to 30 dB below the sound, in place; ``clean`` clips get none."""
        count, clip, _ = power.shape
        noise = self._noise.frames.reshape(-1, clip, power.shape[2])[rng.integers(0, _NOISES, count)]
        noise_power = np.exp(noise.astype(np.float32))
        total = power.sum(2)
        loud = np.partition(total, -20, axis=1)[:, -20:].mean(1)  # level of the loudest 0.2 s
        ratio = 10 ** (-rng.uniform(5.0, 30.0, count) / 10) * ~clean
        scale = loud * ratio / noise_power.sum(2).mean(1)
        power += noise_power * scale.astype(np.float32)[:, None, None]

    def _finish(self, rng: np.random.Generator, power: np.ndarray, ends: np.ndarray) -> torch.Tensor:
        """Logarithm, masks, padding and standardisation."""
        settings = self._settings
        count, clip, bins = power.shape
        log = np.log(np.maximum(power, LOG_FLOOR))
        mean = log.mean((1, 2))[:, None, None]
        log = np.where(
            _bands(rng, count, clip, 20)[:, :, None] | _bands(rng, count, bins, 10)[:, None, :], mean, log
        )
        # Padding of short files is zero before standardising, as in the media pipeline.
        log[np.arange(clip)[None, :] >= ends[:, None]] = 0.0
        out = np.zeros((count, settings.target_frames, bins), np.float32)
        out[:, :clip] = log
        out = (out - settings.mean) / settings.std
        return torch.from_numpy(out.transpose(0, 2, 1).copy())[:, None]


def spectrum(wave: np.ndarray, settings: AudioSettings) -> np.ndarray:
    """Log-mel spectrum ``[frames, mel]`` of a 16 kHz wave, at least one frame."""
    shortest = int(0.025 * RATE)
    if len(wave) < shortest:
        wave = np.pad(wave, (0, shortest - len(wave)))
    return log_mel(wave, RATE, settings.mel_bins, settings.low_hz, settings.upper_hz)


def _group_chances(group: np.ndarray) -> np.ndarray:
    """Cumulative chances in which large groups (one long session) weigh only as their square root."""
    _, place, size = np.unique(group, return_inverse=True, return_counts=True)
    chance = 1.0 / np.sqrt(size[place])
    cumulative = np.cumsum(chance)
    return cumulative / cumulative[-1]


def _echo(rng: np.random.Generator, power: np.ndarray) -> np.ndarray:
    """Add an exponentially decaying tail (reverberation of 0.15 to 0.7 s) to powers ``[B, frames, mel]``."""
    seconds = rng.uniform(0.15, 0.7, (len(power), 1))
    decay = (10 ** (-6.0 * 0.010 / seconds)).astype(np.float32)  # -60 dB after `seconds`
    share = (10 ** rng.uniform(-1.6, -0.3, (len(power), 1))).astype(np.float32)
    tail = np.zeros_like(power[:, 0])
    out = power.copy()
    for frame in range(power.shape[1]):
        out[:, frame] += tail
        tail = tail * decay + power[:, frame] * share * (1.0 - decay)
    return out


def _room_colour(rng: np.random.Generator, count: int, bins: int) -> np.ndarray:
    """Random equalisation ``[count, 1, bins]`` as a power factor: a tilt and two waves, at most ±9 dB."""
    axis = np.linspace(-1.0, 1.0, bins)
    decibel = rng.uniform(-4.0, 4.0, (count, 1)) * axis
    for cycles in (1.0, 2.5):
        decibel = decibel + rng.uniform(0.0, 2.5, (count, 1)) * np.cos(
            np.pi * cycles * axis + rng.uniform(0, 6.3, (count, 1))
        )
    return (10 ** (decibel / 10)).astype(np.float32)[:, None, :]


def _bands(rng: np.random.Generator, count: int, size: int, widest: int) -> np.ndarray:
    """One random band to blank out per row, in half of the rows: bool ``[count, size]``."""
    width = rng.integers(1, widest + 1, count) * (rng.random(count) < 0.5)
    start = (rng.random(count) * (size - width)).astype(np.int64)
    axis = np.arange(size)[None, :]
    return (axis >= start[:, None]) & (axis < (start + width)[:, None])
