"""Animal calls from a simple voice: pulses of the vocal folds, breath, and the resonances of a mouth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

RATE = 16_000

Curve = Sequence[tuple[float, float]]
"""Values at moments (0 begin … 1 end), straight between them."""


def bark(rng: np.random.Generator, pitch: float = 420.0, calls: int = 3) -> np.ndarray:
    """A dog: short rough bursts whose pitch falls."""
    voices = []
    for _ in range(calls):
        high = pitch * rng.uniform(0.92, 1.1)
        voice = _voice(
            rng,
            rng.uniform(0.15, 0.21),
            [(0, 0.75 * high), (0.2, high), (1, 0.55 * high)],
            rough=0.12,
            breath=0.35,
        )
        voice = _mouth(
            voice,
            [[(0, 480), (0.3, 950), (1, 520)], [(0, 1300), (0.3, 1750), (1, 1250)], [(0, 2600), (1, 2700)]],
            (90, 130, 220),
        )
        voices.append(_swell(voice, [(0, 0), (0.08, 1), (0.35, 0.8), (1, 0)]))
    return _row(rng, voices, (0.22, 0.4))


def meow(rng: np.random.Generator, pitch: float = 560.0, calls: int = 2) -> np.ndarray:
    """A cat: one long vowel from "mi" over "a" to "u"."""
    voices = []
    for _ in range(calls):
        high = pitch * rng.uniform(0.92, 1.1)
        voice = _voice(
            rng,
            rng.uniform(0.65, 0.85),
            [(0, 0.72 * high), (0.3, high), (0.65, 0.95 * high), (1, 0.6 * high)],
            rough=0.015,
            breath=0.04,
        )
        voice = _mouth(
            voice,
            [
                [(0, 350), (0.25, 700), (0.55, 1100), (1, 550)],
                [(0, 2300), (0.25, 2200), (0.55, 1700), (1, 1000)],
                [(0, 3000), (1, 2900)],
            ],
            (90, 120, 200),
        )
        voices.append(_swell(voice, [(0, 0), (0.12, 0.6), (0.4, 1), (0.75, 0.7), (1, 0)]))
    return _row(rng, voices, (0.3, 0.6))


def chirp(rng: np.random.Generator, centre: float = 2700.0, calls: int = 9) -> np.ndarray:
    """A bird: quick whistles that sweep up and down, in phrases."""
    voices = []
    shape = rng.integers(0, 3)
    for i in range(calls):
        if shape == 0 or (shape == 2 and i % 3):
            sweep: Curve = [(0, 0.78), (0.45, 1.18), (1, 0.92)]
        else:
            sweep = [(0, 1.22), (1, 0.76)]
        length = rng.uniform(0.06, 0.12)
        hertz = centre * rng.uniform(0.95, 1.05) * _along(sweep, round(length * RATE))
        tone = np.sin(2 * np.pi * np.cumsum(hertz) / RATE)
        voices.append(_swell(tone + 0.12 * tone**3, [(0, 0), (0.25, 1), (0.7, 0.8), (1, 0)]))
    return _row(rng, voices, (0.05, 0.13))


def croak(rng: np.random.Generator, pulses: float = 42.0, calls: int = 4) -> np.ndarray:
    """A frog: trains of clicks, each ringing in the vocal sac."""
    voices = []
    tone = rng.uniform(650.0, 900.0)
    for _ in range(calls):
        length = rng.uniform(0.26, 0.36)
        count = round(length * RATE)
        clicks = np.zeros(count)
        moments = np.cumsum(1 / (pulses * rng.uniform(0.94, 1.06, int(length * pulses))))
        clicks[(moments[moments < length * 0.98] * RATE).astype(int)] = 1.0
        clicks = clicks + 0.01 * rng.normal(size=count) * (np.convolve(clicks, np.ones(120), "same") > 0)
        rise = [(0, 0.95), (0.5, 1.0), (1, 1.04)]
        voice = _mouth(
            clicks,
            [
                [(t, tone * v) for t, v in rise],
                [(t, 2.3 * tone * v) for t, v in rise],
                [(0, 2900), (1, 3000)],
            ],
            (110, 180, 350),
            shares=(1.0, 0.6, 0.12),
        )
        voices.append(_swell(voice, [(0, 0.3), (0.3, 0.8), (0.85, 1), (1, 0)]))
    return _row(rng, voices, (0.12, 0.3))


CALLS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "dog_1": lambda rng: bark(rng),
    "dog_2": lambda rng: bark(rng, 300.0, 2),
    "dog_3": lambda rng: bark(rng, 620.0, 4),
    "cat_1": lambda rng: meow(rng),
    "cat_2": lambda rng: meow(rng, 700.0, 1),
    "cat_3": lambda rng: meow(rng, 450.0, 2),
    "bird_1": lambda rng: chirp(rng),
    "bird_2": lambda rng: chirp(rng, 3000.0, 12),
    "bird_3": lambda rng: chirp(rng, 2300.0, 7),
    "frog_1": lambda rng: croak(rng),
    "frog_2": lambda rng: croak(rng, 28.0, 3),
    "frog_3": lambda rng: croak(rng, 65.0, 6),
}
"""Every call that can be made: the animal's name and a number."""


def call(name: str, seed: int) -> np.ndarray:
    """One of the calls, float32 ``[n]`` at 16 kHz, -1..1."""
    return CALLS[name](np.random.default_rng([seed, *name.encode()]))


def white_noise(seed: int, seconds: float = 1.5) -> np.ndarray:
    """What a radio between stations gives."""
    return (
        (0.15 * np.random.default_rng(seed).normal(size=round(seconds * RATE))).clip(-1, 1).astype(np.float32)
    )


def _along(curve: Curve, count: int) -> np.ndarray:
    moments, values = np.array(curve).T
    return np.interp(np.linspace(0, 1, count), moments, values)


def _voice(rng: np.random.Generator, seconds: float, pitch: Curve, rough: float, breath: float) -> np.ndarray:
    """Pulses of the vocal folds (a sawtooth, softened) with unsteady pitch and strength, and breath."""
    count = round(seconds * RATE)
    unsteady = np.interp(
        np.arange(count), np.arange(0, count + 99, 99), rng.normal(size=(count + 99 + 98) // 99)
    )
    phase = np.cumsum(_along(pitch, count) * (1 + rough * unsteady)) / RATE
    pulses = (1 - phase % 1.0) ** 2 - 1 / 3
    pulses = lfilter([0.35], [1, -0.65], pulses) * (1 + 2 * rough * unsteady)
    return pulses + breath * 0.5 * rng.normal(size=count) * (0.4 + 0.6 * (1 - phase % 1.0))


def _mouth(
    source: np.ndarray,
    formants: Sequence[Curve],
    widths: Sequence[float],
    shares: Sequence[float] = (1, 0.7, 0.3),
) -> np.ndarray:
    """Two-pole resonances whose frequencies move, side by side."""
    count, block = len(source), 64
    out = np.zeros(count)
    for curve, width, share in zip(formants, widths, shares, strict=True):
        hertz = _along(curve, count)
        radius = np.exp(-np.pi * width / RATE)
        state = np.zeros(2)
        for start in range(0, count, block):
            angle = 2 * np.pi * hertz[start] / RATE
            poles = [1, -2 * radius * np.cos(angle), radius**2]
            gain = [(1 - radius) * 2 * np.sin(angle) + 1e-3]
            part, state = lfilter(gain, poles, source[start : start + block], zi=state)
            out[start : start + block] += share * part
    return out


def _swell(wave: np.ndarray, envelope: Curve) -> np.ndarray:
    wave = wave * _along(envelope, len(wave))
    return wave / (np.abs(wave).max() + 1e-9)


def _row(rng: np.random.Generator, voices: Sequence[np.ndarray], gaps: tuple[float, float]) -> np.ndarray:
    """Calls one after the other, in a room: pauses, a little echo, a quiet background."""
    pieces = [np.zeros(round(0.06 * RATE))]
    for voice in voices:
        pieces += [voice * rng.uniform(0.75, 1.0), np.zeros(round(rng.uniform(*gaps) * RATE))]
    wave = np.concatenate(pieces)
    tail = rng.normal(size=round(0.25 * RATE)) * np.exp(-np.arange(round(0.25 * RATE)) / (0.05 * RATE))
    tail = sosfilt(butter(2, 2500, fs=RATE, output="sos"), tail)
    echo = np.convolve(wave, tail)[: len(wave)]
    wave = wave + 0.12 * echo / (np.abs(echo).max() + 1e-9)
    wave = wave + 0.002 * rng.normal(size=len(wave))
    return (0.6 * wave / np.abs(wave).max()).astype(np.float32)
