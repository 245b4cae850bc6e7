"""From samples to log-mel features: resampling, and Kaldi's filter bank.

Resampling is a Hann-windowed sinc (six zero crossings, roll-off 0.99). The filter bank is written from
Kaldi's definition with the options ImageBind uses: 25 ms frames every 10 ms that fit wholly
(``snip_edges``), mean of each frame removed, pre-emphasis 0.97, symmetric Hann window, power spectrum,
triangular filters on the scale 1127 ln(1 + f / 700), natural logarithm floored at float32 epsilon, no
dither, no energy.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

ZERO_CROSSINGS = 6
ROLL_OFF = 0.99
"""Cut-off as a share of the lower of the two Nyquist frequencies. Both are the defaults ImageBind was run
with."""

_CHUNK = 1 << 22
_PHASE = 4096
"""Source samples that the new ones of a phase look at, from which on a loop over phases is quicker than
gathering all windows."""


def resampled_length(samples: int, rate: int, new_rate: int) -> int:
    """Samples at ``new_rate`` that ``samples`` at ``rate`` become."""
    return -(-samples * new_rate // rate)


def source_span(first: int, last: int, rate: int, new_rate: int) -> tuple[int, int]:
    """The source samples (may begin below 0) that new samples ``first`` to ``last`` (exclusive) depend on."""
    if rate == new_rate:
        return first, last
    reach = _reach(rate, new_rate)
    return first * rate // new_rate - reach, (last - 1) * rate // new_rate + reach + 1


def resample(
    wave: NDArray[np.floating],
    rate: int,
    new_rate: int,
    first: int = 0,
    last: int | None = None,
    offset: int = 0,
) -> NDArray[np.float32]:
    """``wave [n]`` at ``new_rate``.

    Args:
        wave: samples at ``rate``; those outside it count as 0.
        rate: Hz.
        new_rate: Hz.
        first: of the new samples, the first to compute.
        last: where to end (exclusive); ``None``: at the end of ``wave``.
        offset: index of ``wave[0]`` in the whole recording, so that a span of a long one can be computed
            alone.

    Returns:
        ``[last - first]`` float32.
    """
    if last is None:
        last = resampled_length(len(wave) + offset, rate, new_rate)
    begin, end = source_span(first, last, rate, new_rate)
    source = np.zeros(max(end - begin, 0), np.float64)
    low, high = max(begin, offset), min(end, offset + len(wave))
    if low < high:
        source[low - begin : high - begin] = wave[low - offset : high - offset]
    if rate == new_rate:
        return source.astype(np.float32)
    table = _table(rate, new_rate)
    windows = np.lib.stride_tricks.sliding_window_view(source, table.shape[1])
    numbers = np.arange(first, last, dtype=np.int64)
    result = np.empty(len(numbers), np.float32)
    phases, old = len(table), rate // math.gcd(rate, new_rate)
    if len(numbers) * table.shape[1] >= _PHASE * phases:  # windows of equal phase lie at equal distances
        for phase, start in zip(numbers[:phases] % phases, numbers[:phases], strict=True):
            position = start * rate // new_rate - _reach(rate, new_rate) - begin
            row = slice(start - first, None, phases)
            count = len(range(len(numbers))[row])
            same = windows[position::old][:count]
            result[row] = np.einsum("kt,t->k", same, table[phase])
        return result
    step = max(1, _CHUNK // table.shape[1])  # bounds the memory of the gathered windows
    for start in range(0, len(numbers), step):
        part = numbers[start : start + step]
        positions = part * rate // new_rate - _reach(rate, new_rate) - begin
        weights = table[part % (len(table))]
        result[start : start + step] = np.einsum("kt,kt->k", windows[positions], weights)
    return result


def _reach(rate: int, new_rate: int) -> int:
    """Source samples to each side that a new sample looks at."""
    return math.ceil(ZERO_CROSSINGS * rate / (min(rate, new_rate) * ROLL_OFF)) + 1


_PHASES_AT_ONCE = 512


@lru_cache(maxsize=2)  # with odd rates, one can take 75 MB
def _table(rate: int, new_rate: int) -> NDArray[np.float64]:
    """Weights ``[phases, 2 · reach + 1]``: the kernel at each of the offsets a new sample can have."""
    divisor = math.gcd(rate, new_rate)
    old, new = rate // divisor, new_rate // divisor
    cutoff = min(old, new) * ROLL_OFF
    reach = _reach(rate, new_rate)
    table = np.empty((new, 2 * reach + 1))
    for start in range(0, new, _PHASES_AT_ONCE):
        phase = np.arange(start, min(start + _PHASES_AT_ONCE, new), dtype=np.int64)
        nearest = (phase * old // new)[:, None] + np.arange(-reach, reach + 1)
        # the published implementation holds the phase in float32; rounding it likewise keeps quiet bins equal
        instant = (phase / new).astype(np.float32).astype(np.float64)[:, None]
        time = np.clip((nearest / old - instant) * cutoff, -ZERO_CROSSINGS, ZERO_CROSSINGS)
        window = np.cos(time * np.pi / (2 * ZERO_CROSSINGS)) ** 2
        table[start : start + len(phase)] = np.sinc(time) * window * (cutoff / old)
    return table


FRAME_SECONDS = 0.025
SHIFT_SECONDS = 0.010
PRE_EMPHASIS = 0.97
LOG_FLOOR = float(np.finfo(np.float32).eps)


def log_mel(
    wave: NDArray[np.floating], rate: int, mel_bins: int, low_hz: float, high_hz: float
) -> NDArray[np.float32]:
    """Log-mel energies ``[frames, mel_bins]`` of ``wave [n]``; no rows if it is shorter than a frame."""
    length, shift = int(rate * FRAME_SECONDS), int(rate * SHIFT_SECONDS)
    if len(wave) < length:
        return np.zeros((0, mel_bins), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), length)[::shift]
    frames = frames - frames.mean(axis=1, keepdims=True)
    previous = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames = (frames - PRE_EMPHASIS * previous) * np.hanning(length)
    points = 1 << (length - 1).bit_length()
    power = np.abs(np.fft.rfft(frames, points)) ** 2
    # Kaldi's filters leave the Nyquist bin out
    energies = power[:, :-1] @ _filters(mel_bins, points, rate, low_hz, high_hz).T
    return np.log(np.maximum(energies, LOG_FLOOR)).astype(np.float32)


@lru_cache(maxsize=8)
def _filters(mel_bins: int, points: int, rate: int, low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Triangular filters ``[mel_bins, points / 2]`` with straight edges on the mel scale."""
    low, high = _mel(np.array([low_hz, high_hz]))
    edges = low + (high - low) / (mel_bins + 1) * np.arange(mel_bins + 2)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    mels = _mel(np.arange(points // 2) * (rate / points))[None]
    rising, falling = (mels - left) / (centre - left), (right - mels) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def _mel(hertz: NDArray[Any]) -> NDArray[np.float64]:
    return 1127.0 * np.log1p(hertz / 700.0)
