"""The beginning of any sound as one channel at a wanted rate, for encoders that hear a waveform."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import check_finite
from imagebind_llm.media.audio import as_waveform, channel_pair, check_rate, open_blocks, rated
from imagebind_llm.media.audio_features import resample, source_span
from imagebind_llm.media.base import Limits, is_encoded, name_of, open_source, tell_of_more


def load_beginning(source: Any, rate: int, samples: int, limits: Limits) -> NDArray[np.float32]:
    """Up to ``samples`` samples at ``rate`` Hz: the mean of all channels of a path, bytes, a waveform
    ``[C, n]`` or ``[n]`` at that rate, or one at another: ``{"array": …, "sampling_rate": …}``. A warning
    says if there is more.

    Raises:
        MediaError: not readable as audio, longer than ``limits.max_seconds``, or fewer than two samples.
    """
    name = name_of(source)
    if is_encoded(source):
        with open_source(source, limits) as stream:
            wave, found, more = _recorded(stream, name, rate, samples, limits)
    else:
        values, found = rated(source, rate, name, limits)
        wave, more = channel_pair(as_waveform(values, name))[1], False
    check_finite(wave, name, "sample")
    heard = resample(wave, found, rate)
    if more or len(heard) > samples:
        tell_of_more("sound", f"{samples / rate:.3g} seconds")
    heard = heard[:samples]
    if len(heard) < 2:
        raise MediaError(name, f"{len(heard)} samples of sound", "at least 2", "record longer")
    return heard


def _recorded(
    stream: Any, name: str, wanted: int, samples: int, limits: Limits
) -> tuple[NDArray[np.float32], int, bool]:
    """As much of a recording's beginning as is needed, mean of its channels, at its own rate; and whether
    there is more."""
    blocks, rate, _ = open_blocks(stream, name, limits)
    check_rate(rate, name)
    enough = source_span(0, samples, rate, wanted)[1]
    parts, count = [], 0
    for block in blocks():
        parts.append(block[1])
        count += block.shape[1]
        if count > enough:
            break
    if not count:
        raise MediaError(name, "no sound", "at least a moment of it", "record longer")
    return np.concatenate(parts)[:enough], rate, count > enough
