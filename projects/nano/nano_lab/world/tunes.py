"""Sounds of things nano does not know: tunes, drums, babble. For training alone; waves at 16 kHz.

Babble is noise and pulses through the resonances of a vocal tract (Peterson and Barney 1952 give the ranges
of the first three). It sounds like speech and says nothing. It is not put around recorded digits: what comes
out of that is no recording of a sentence, and a model trained with it would be said to understand one.
"""

from __future__ import annotations

import numpy as np

from nano_lab.world.sounds import RATE

_FORMANTS = ((270.0, 850.0), (850.0, 2400.0), (2200.0, 3200.0))
"""Hz: lowest and highest first, second and third resonance of American English vowels, rounded."""


def strange_wave(rng: np.random.Generator, seconds: float = 2.0) -> np.ndarray:
    """One such sound, float32 ``[seconds * 16000]`` within -1..1."""
    makers = (_tune, _tune, _drums, _babble, _babble)
    count = round(seconds * RATE)
    wave = makers[int(rng.integers(len(makers)))](rng, count)
    loud = 10 ** (rng.uniform(-30.0, -3.0) / 20)
    return (loud * wave / (np.abs(wave).max() + 1e-9)).astype(np.float32)


def _notes(rng: np.random.Generator, count: int, shortest: float, longest: float) -> list[tuple[int, int]]:
    """Where notes begin and how long they are, in samples."""
    found, at = [], 0
    while at < count:
        length = int(rng.uniform(shortest, longest) * RATE)
        found.append((at, min(length, count - at)))
        at += length
    return found


def _tune(rng: np.random.Generator, count: int) -> np.ndarray:
    """Notes of a scale with overtones, one or several at a time, plucked or held."""
    wave = np.zeros(count)
    base, partials = rng.uniform(110.0, 440.0), int(rng.integers(1, 7))
    strength = rng.uniform(0.0, 1.0, partials) / np.arange(1, partials + 1)
    decay = rng.uniform(0.5, 8.0)
    for start, length in _notes(rng, count, 0.1, 0.6):
        time = np.arange(length) / RATE
        for step in rng.choice([0, 2, 4, 5, 7, 9, 11, 12], int(rng.integers(1, 4)), replace=False):
            tone = base * 2 ** (step / 12)
            sound = sum(a * np.sin(2 * np.pi * tone * (n + 1) * time) for n, a in enumerate(strength))
            wave[start : start + length] += sound * np.exp(-decay * time) * np.minimum(1.0, time / 0.01)
    return wave


def _drums(rng: np.random.Generator, count: int) -> np.ndarray:
    """Beats at an even pace: thumps and hisses."""
    wave = np.zeros(count)
    beat = int(rng.uniform(0.12, 0.5) * RATE)
    for number, start in enumerate(range(0, count, beat)):
        time = np.arange(min(beat, count - start)) / RATE
        if number % int(rng.integers(2, 5)) == 0:
            sound = np.sin(2 * np.pi * rng.uniform(50, 120) * time) * np.exp(-18 * time)
        else:
            sound = 0.4 * rng.standard_normal(len(time)) * np.exp(-rng.uniform(20, 60) * time)
        wave[start : start + len(time)] += sound
    return wave


def _babble(rng: np.random.Generator, count: int) -> np.ndarray:
    """Syllables without words."""
    wave = np.zeros(count)
    voice = rng.uniform(85.0, 260.0)
    for start, length in _notes(rng, count, 0.06, 0.22):
        if rng.random() < 0.15:
            continue  # a pause
        time = np.arange(length) / RATE
        pitch = voice * (1.0 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 5) * time))
        source = 2.0 * ((np.cumsum(pitch) / RATE) % 1.0) - 1.0
        if rng.random() < 0.3:
            source = rng.standard_normal(length)
        spectrum = np.fft.rfft(source)
        hertz = np.fft.rfftfreq(length, 1 / RATE)
        shape = sum(1.0 / (1.0 + ((hertz - rng.uniform(low, high)) / 90.0) ** 2) for low, high in _FORMANTS)
        wave[start : start + length] = np.fft.irfft(spectrum * shape, length) * np.hanning(length)
    return wave
