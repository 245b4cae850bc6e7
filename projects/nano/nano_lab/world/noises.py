"""Sounds without meaning: coloured noise, silence, tones, chirps, clicks. Waves at 16 kHz."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nano_lab.world.sounds import RATE


def background_noise(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Room or line noise of unit RMS: a random spectral slope, now and then with mains hum or slow swells."""
    count = round(seconds * RATE)
    wave = coloured_noise(rng, count, rng.uniform(-0.3, 2.2))
    time = np.arange(count) / RATE
    if rng.random() < 0.3:
        mains = rng.choice([50.0, 60.0])
        for harmonic in range(1, 5):
            loud = rng.uniform(0.0, 1.0) / harmonic
            wave += loud * np.sin(2 * np.pi * mains * harmonic * time + rng.uniform(0, 6.3))
    if rng.random() < 0.4:
        wave *= 1.0 + rng.uniform(0.2, 0.9) * np.sin(
            2 * np.pi * rng.uniform(0.3, 4.0) * time + rng.uniform(0, 6.3)
        )
    return (wave / (wave.std() + 1e-9)).astype(np.float32)


def coloured_noise(rng: np.random.Generator, count: int, slope: float) -> np.ndarray:
    """Noise whose power falls with frequency to the power ``slope`` (0 white, 1 pink, 2 brown), unit RMS."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20.0)
    wave = np.fft.irfft(spectrum * frequency ** (-slope / 2), count)
    return wave / (wave.std() + 1e-12)


def unclear_wave(rng: np.random.Generator, seconds: float = 2.0) -> np.ndarray:
    """One far-off sound, float32 ``[seconds * 16000]``, -1..1, from a whisper to full scale."""
    kinds: tuple[Callable[[np.random.Generator, np.ndarray], np.ndarray], ...] = (
        _noise, _noise, _silence, _tone, _chirp, _clicks, _bursts,
    )  # fmt: skip
    time = np.arange(round(seconds * RATE)) / RATE
    wave = kinds[rng.integers(len(kinds))](rng, time)
    floor = 10 ** (rng.uniform(-90.0, -50.0) / 20)
    wave = wave + floor * coloured_noise(rng, len(time), rng.uniform(0.0, 2.0))
    return np.clip(wave, -1.0, 1.0).astype(np.float32)


def _level(rng: np.random.Generator) -> float:
    return float(10 ** (rng.uniform(-50.0, -6.0) / 20))


def _noise(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    return (
        _level(rng)
        * 0.5
        * coloured_noise(rng, len(time), rng.choice([0.0, 1.0, 2.0, rng.uniform(-0.5, 2.5)]))
    )


def _silence(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    dither = rng.choice([0.0, 1.0, rng.uniform(0.0, 8.0)]) / 32768.0
    return dither * rng.uniform(-1.0, 1.0, len(time))


def _tone(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    base = np.exp(rng.uniform(np.log(60.0), np.log(3500.0)))
    wave = sum(
        rng.uniform(0.0, 1.0) / n * np.sin(2 * np.pi * base * n * time + rng.uniform(0, 6.3))
        for n in range(1, int(rng.integers(2, 6)))
    )
    return _level(rng) * np.asarray(wave)


def _chirp(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    start, stop = np.exp(rng.uniform(np.log(80.0), np.log(3500.0), 2))
    sweep = start * time + (stop - start) * time**2 / (2 * time[-1])
    return _level(rng) * np.sin(2 * np.pi * sweep)


def _clicks(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    wave = np.zeros(len(time))
    wave[rng.integers(0, len(time), rng.integers(1, 40))] = rng.choice([-1.0, 1.0])
    decay = np.exp(-np.arange(400) / rng.uniform(2.0, 80.0))
    return rng.uniform(0.1, 1.0) * np.convolve(wave, decay * rng.standard_normal(400))[: len(time)]


def _bursts(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Noise switched on and off: rustling, scratching."""
    beat = np.sin(2 * np.pi * rng.uniform(1.0, 12.0) * time + rng.uniform(0, 6.3))
    gate = 1.0 / (1.0 + np.exp(-30.0 * (beat - rng.uniform(-0.5, 0.8))))
    return _level(rng) * gate * coloured_noise(rng, len(time), rng.uniform(0.0, 1.5))
