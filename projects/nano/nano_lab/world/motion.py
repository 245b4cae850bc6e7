"""Inertial recordings derived from handwriting: a sensor in the hand that writes a digit in the air.

Physics: the pen follows the digit's path, slower where it bends (the two-thirds power law of human
movement), and rests before and after. The hand sits on a forearm of length L that turns about the elbow, so
moving by x and y turns the sensor by -x / L about the vertical and by y / L about the horizontal. The
accelerometer feels the acceleration and gravity in the turned frame, the gyroscope the turning; both are
mounted a little askew, with bias and noise. x points right, y up, z towards the writer.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from imagebind_llm.media.settings import ImuSettings
from nano_lab.world.extrude import small_turns
from nano_lab.world.penpath import KNOTS

GRAVITY = 9.81
"""m/s²."""

_MARGIN = 200  # samples of rest on either side, so that smoothing does not wrap around
_SMOOTH_SECONDS = 0.05
_POOL_SEED = 6


def writing_motion(paths: np.ndarray, rng: np.random.Generator, samples: int, rate_hz: float) -> np.ndarray:
    """Recordings ``[B, samples, 6]`` (accelerometer m/s², gyroscope rad/s) of pen paths ``[B, KNOTS, 2]``.

    Writing takes two to four of five seconds and is 10 to 26 cm high.
    """
    count = len(paths)
    path = _vary(paths, rng)
    seconds = samples / rate_hz
    duration = rng.uniform(0.4, 0.85, count) * seconds
    begin = rng.uniform(0.02, 1.0, count) * (seconds * 0.98 - duration)
    moment = _moments(path) * duration[:, None] + begin[:, None]
    clock = np.arange(-_MARGIN, samples + _MARGIN) / rate_hz
    place = np.empty((count, len(clock), 2), np.float32)
    for row in range(count):
        for axis in (0, 1):
            place[row, :, axis] = np.interp(clock, moment[row], path[row, :, axis])
    return _measure(rng, *_derivatives(place, rate_hz))


def unclear_motion(rng: np.random.Generator, count: int, samples: int, rate_hz: float) -> np.ndarray:
    """Recordings ``[count, samples, 6]`` of no digit: rest, shaking, steps, aimless waving, noise."""
    total = samples + 2 * _MARGIN
    clock = np.arange(total) / rate_hz
    kind = rng.integers(0, 4, count)
    spectrum = np.fft.rfft(rng.standard_normal((count, total, 2)), axis=1)
    hertz = np.fft.rfftfreq(total, 1 / rate_hz)[None, :, None]
    aimless = np.fft.irfft(
        spectrum / (1.0 + (hertz / rng.uniform(0.3, 2.0, (count, 1, 1))) ** 3), total, axis=1
    )
    aimless *= rng.uniform(0.02, 0.12, (count, 1, 1)) / (aimless.std((1, 2), keepdims=True) + 1e-9)
    speed = rng.uniform(1.0, 6.0, (count, 1, 1)) * np.array([1.0, rng.choice([1.0, 2.0])])
    phase = rng.uniform(0.0, 2 * np.pi, (count, 1, 2))
    swing = np.sin(2 * np.pi * speed * clock[None, :, None] + phase)
    swing = swing * rng.uniform(0.0, 0.08, (count, 1, 2)) / speed
    steps = np.abs(np.sin(np.pi * speed * clock[None, :, None] / 2 + phase)) * rng.uniform(
        0.0, 0.04, (count, 1, 2)
    )
    which = kind[:, None, None]
    place = np.select([which == 0, which == 1, which == 2], [np.zeros_like(aimless), aimless, swing], steps)
    out = _measure(rng, *_derivatives(place.astype(np.float32), rate_hz))
    loose = rng.random(count) < 0.15  # readings without any structure, in any orientation
    noise = rng.standard_normal((int(loose.sum()), samples, 6)) * rng.uniform(
        0.05, 3.0, (int(loose.sum()), 1, 6)
    )
    out[loose] = noise.astype(np.float32)
    return out


def imu_batch(readings: np.ndarray, settings: ImuSettings) -> torch.Tensor:
    """Recordings ``[B, samples, 6]`` at the encoder's rate as encoder input ``[B, 6, samples]``."""
    mean = np.array(settings.mean, np.float32)
    std = np.array(settings.std, np.float32)
    return torch.from_numpy(np.ascontiguousarray(((readings - mean) / std).transpose(0, 2, 1), np.float32))


def aimless_paths(rng: np.random.Generator, count: int) -> np.ndarray:
    """Pen paths ``[count, KNOTS, 2]`` of no digit: rounds and rounds, zigzags, scrawls."""
    along = np.linspace(0.0, 1.0, KNOTS)[None, :]
    rounds = rng.uniform(2.5, 6.0, (count, 1)) * rng.choice([-1.0, 1.0], (count, 1))
    turn = 2 * np.pi * rounds * along + rng.uniform(0.0, 2 * np.pi, (count, 1))
    reach = 1.0 + rng.uniform(-0.7, 0.0, (count, 1)) * along  # circles and spirals
    circles = np.stack([reach * np.cos(turn), reach * np.sin(turn)], 2)
    swing = np.arcsin(np.sin(np.pi * rng.integers(4, 12, (count, 1)) * along)) * 2 / np.pi
    zigzag = np.stack([2 * along - 1 + np.zeros_like(swing), swing], 2)
    scrawl = np.zeros((count, KNOTS, 2))
    for order in range(1, 7):
        phase = rng.uniform(0.0, 2 * np.pi, (count, 1, 2))
        size = rng.normal(0.0, 1.0 / np.sqrt(order), (count, 1, 2))
        scrawl += size * np.sin(np.pi * order * along[..., None] * 2 + phase)
    kind = rng.integers(0, 3, count)[:, None, None]
    paths = np.select([kind == 0, kind == 1], [circles, zigzag], scrawl)
    return (paths / (np.abs(paths).max((1, 2), keepdims=True) + 1e-9)).astype(np.float32)


def _vary(paths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn, slant and size paths at random; the result is in metres around zero."""
    count = len(paths)
    angle = np.radians(rng.uniform(-10.0, 10.0, count))
    slant = rng.uniform(-0.15, 0.15, count)
    size = rng.uniform(0.08, 0.2, count)  # metres per half picture; digits fill about 0.62 of it
    matrix = (
        np.array([[np.cos(angle), slant - np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
        * size[:, None, None]
        * rng.uniform(0.9, 1.1, (count, 2, 1))
    )
    return (paths - paths.mean(1, keepdims=True)) @ matrix.transpose(0, 2, 1)


def _moments(path: np.ndarray) -> np.ndarray:
    """When each knot is reached, 0..1 ``[B, KNOTS]``: speed ~ curvature^(-1/3), slow at both ends."""
    first = np.gradient(path, axis=1)
    second = np.gradient(first, axis=1)
    speed = np.sqrt((first**2).sum(2)) + 1e-9
    bend = np.abs(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]) / speed**3
    size = np.abs(path).max((1, 2))[:, None] + 1e-9
    pace = (bend * size + 0.5).clip(None, 20.0) ** (-1 / 3)
    ramp = np.minimum(np.arange(KNOTS) + 0.5, KNOTS - np.arange(KNOTS) - 0.5) / (0.12 * KNOTS)
    pace = pace * np.sqrt(ramp.clip(None, 1.0))
    slowness = 0.5 * (1 / pace[:, 1:] + 1 / pace[:, :-1]) * np.sqrt((np.diff(path, axis=1) ** 2).sum(2))
    passed = np.concatenate([np.zeros((len(path), 1)), np.cumsum(slowness, 1)], 1)
    return passed / np.maximum(passed[:, -1:], 1e-9)


def _derivatives(place: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smoothed position, velocity, acceleration ``[B, 2, samples]`` of ``[B, time, 2]`` with margins."""
    total = place.shape[1]
    if not len(place):  # a batch may have no such example, and torch's FFT refuses to do nothing
        nothing = np.zeros((0, 2, total - 2 * _MARGIN), np.float32)
        return nothing, nothing, nothing
    place = np.ascontiguousarray(place.transpose(0, 2, 1), np.float32)
    turning = 2 * np.pi * np.fft.rfftfreq(total, 1 / rate_hz).astype(np.float32)
    # The straight line between both rests is taken out, as a wave cannot hold it.
    ramp = np.linspace(0.0, 1.0, total, dtype=np.float32)
    line = ramp * (place[..., -1:] - place[..., :1]) + place[..., :1]
    soft = np.exp(-0.5 * (turning * _SMOOTH_SECONDS) ** 2)
    spectrum = torch.fft.rfft(torch.from_numpy(place - line)) * torch.from_numpy(soft)
    turn = 1j * torch.from_numpy(turning)
    slope = (place[..., -1:] - place[..., :1]) * (rate_hz / (total - 1))
    cut = slice(_MARGIN, total - _MARGIN)
    waves = [torch.fft.irfft(spectrum * turn**order, total).numpy() for order in range(3)]
    return (waves[0] + line)[..., cut], (waves[1] + slope)[..., cut], waves[2][..., cut]


def _measure(rng: np.random.Generator, place: np.ndarray, speed: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """What the sensor reads ``[B, samples, 6]`` on the moving forearm."""
    count, _, samples = place.shape
    arm = rng.uniform(0.28, 0.45, (count, 1)).astype(np.float32)
    yaw, pitch = -place[:, 0] / arm, place[:, 1] / arm
    yaw_rate, pitch_rate = -speed[:, 0] / arm, speed[:, 1] / arm
    ax, ay = pull[:, 0], pull[:, 1] + np.float32(GRAVITY)
    # Into the frame turned by yaw about y, then pitch about x.
    along, aside, cos, sin = ax * np.cos(yaw), ax * np.sin(yaw), np.cos(pitch), np.sin(pitch)
    felt = [along, ay * cos + aside * sin, aside * cos - ay * sin]
    turned = [pitch_rate, yaw_rate * cos, -yaw_rate * sin]
    readings = np.stack([*felt, *turned], 1).reshape(count, 2, 3, samples)
    readings = small_turns(rng, count, 10.0)[:, None] @ readings
    scale = np.array([1.0, 0.2], np.float32)[None, :, None, None]  # gyroscopes are the quieter sensor
    bias = rng.uniform(-0.1, 0.1, (count, 2, 3, 1)).astype(np.float32)
    strength = rng.uniform(0.01, 0.12, (count, 2, 1, 1)).astype(np.float32)
    noise = _noise(rng, count, 6 * samples).reshape(readings.shape)
    noise *= strength * scale
    noise += readings + bias * scale
    return noise.reshape(count, 6, samples).transpose(0, 2, 1)


def _noise(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Rows of Gaussian noise ``[count, length]``: random stretches, forwards or negated, of one long pool.

    Fresh numbers would take most of a batch's time and nobody could tell the difference.
    """
    pool = _noise_pool(length + (1 << 20))
    rows = np.lib.stride_tricks.sliding_window_view(pool, length)[rng.integers(0, 1 << 20, count)]
    return rows * np.where(rng.random((count, 1)) < 0.5, -1.0, 1.0).astype(np.float32)


@lru_cache(maxsize=2)
def _noise_pool(length: int) -> np.ndarray:
    return np.random.default_rng(_POOL_SEED).standard_normal(length, dtype=np.float32)
