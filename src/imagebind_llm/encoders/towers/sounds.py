"""Sounds for a transformers backbone: resampled here, made features by the model's own feature extractor.

One window is heard, from the beginning on: what is longer than the window is cut, what is shorter is filled
up as the extractor does (Whisper and AST with silence, CLAP by repeating). Wav2Vec 2 and its kin hear what
there is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from json import dumps, loads
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError, ConfigError, reason_of, short
from imagebind_llm.common.files import read_json
from imagebind_llm.common.settings import Checked
from imagebind_llm.media.audio import RATES
from imagebind_llm.media.base import Limits
from imagebind_llm.media.beginning import load_beginning

EXTRACTORS = (
    "WhisperFeatureExtractor",
    "ASTFeatureExtractor",
    "ClapFeatureExtractor",
    "Wav2Vec2FeatureExtractor",
)
"""Those of transformers that are known here; they compute with numpy and torch alone."""

_LEAST = 400
"""Samples of AST's and Wav2Vec 2's first window (25 ms at 16 kHz); shorter sounds get silence behind them."""


@dataclass(frozen=True)
class SoundInput(Checked):
    """How a sound becomes the backbone's input.

    Raises:
        ConfigError: an extractor that is not known, or a window that it does not have.
    """

    extractor: dict[str, Any]
    """The values of transformers' feature extractor, with ``feature_extractor_type``."""
    seconds: float
    """Length of the window."""

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = self.extractor.get("feature_extractor_type")
        if kind not in EXTRACTORS:
            raise ConfigError(
                f"feature_extractor_type is {short(kind)}; known here are {', '.join(EXTRACTORS)}"
            )
        rate = self.extractor.get("sampling_rate")
        if isinstance(rate, bool) or not isinstance(rate, int) or not RATES[0] <= rate <= RATES[1]:
            raise ConfigError(
                f"sampling_rate of {kind} is {short(rate)}; expected {RATES[0]} to {RATES[1]} Hz"
            )
        longest = self.longest
        if longest is not None and self.seconds > longest:
            raise ConfigError(
                f"seconds is {self.seconds:g}, but {kind} hears {longest:g} s; expected at most as many"
            )

    @property
    def kind(self) -> str:
        """Name of the extractor's class."""
        return str(self.extractor["feature_extractor_type"])

    @property
    def rate(self) -> int:
        """Hz."""
        return int(self.extractor["sampling_rate"])

    @property
    def longest(self) -> float | None:
        """Seconds that the extractor hears at most; None: it has no bound."""
        extractor = _extractor(dumps(self.extractor, sort_keys=True))
        if self.kind == "WhisperFeatureExtractor":
            return float(extractor.n_samples / extractor.sampling_rate)
        if self.kind == "ClapFeatureExtractor":
            return float(extractor.nb_max_samples / extractor.sampling_rate)
        if self.kind == "ASTFeatureExtractor":
            return float(extractor.max_length * 160 + 240) / self.rate  # frames of 400 samples, 160 apart
        return None

    def load(self, source: Any, limits: Limits) -> Tensor:
        """The features of a sound, float32, always of one shape.

        Whisper ``[mel + 1, frames]``, the last row 1 where there is sound; AST ``[frames, mel]``; CLAP
        ``[1 or 4, frames, mel]``; Wav2Vec 2 ``[2, samples]``, the waveform and 1 where there is sound.

        Raises:
            MediaError: not readable as audio, or over a limit.
        """
        window = round(self.seconds * self.rate)
        heard = load_beginning(source, self.rate, window, limits)
        extractor = _extractor(dumps(self.extractor, sort_keys=True))
        if self.kind == "WhisperFeatureExtractor":
            return self._whisper(extractor, heard, window)
        if self.kind in ("ASTFeatureExtractor", "Wav2Vec2FeatureExtractor") and len(heard) < _LEAST:
            heard = np.pad(heard, (0, _LEAST - len(heard)))
        found = extractor(heard, sampling_rate=self.rate, return_tensors="np")
        if self.kind != "Wav2Vec2FeatureExtractor":
            values = found["input_values" if self.kind == "ASTFeatureExtractor" else "input_features"][0]
            return torch.from_numpy(np.ascontiguousarray(values, np.float32))
        wave = torch.zeros(2, max(window, _LEAST))
        wave[0, : len(heard)] = torch.from_numpy(np.ascontiguousarray(found["input_values"][0], np.float32))
        wave[1, : len(heard)] = 1
        return wave

    def _whisper(self, extractor: Any, heard: NDArray[np.float32], window: int) -> Tensor:
        hop = int(extractor.hop_length)
        padded = np.pad(heard, (0, window - len(heard)))
        found = extractor(padded, sampling_rate=self.rate, padding="do_not_pad", return_tensors="np")
        mel = torch.from_numpy(np.ascontiguousarray(found["input_features"][0], np.float32))
        marks = torch.zeros(1, mel.shape[1])
        marks[0, : -(-len(heard) // hop)] = 1
        return torch.cat([mel, marks])


@lru_cache(maxsize=8)
def _extractor(values: str) -> Any:
    """The extractor of these values (JSON); making one computes its filters.

    Raises:
        ConfigError: values that make none.
    """
    import transformers

    plain = loads(values)
    kind = getattr(transformers, plain.pop("feature_extractor_type"))
    try:
        return kind.from_dict(plain)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(
            f"these values make no {kind.__name__} ({reason_of(error)}); take those published with the model"
        ) from error


_DROPPED = ("processor_class", "mel_filters", "mel_filters_slaney", "window")
"""What extractors store besides their settings, or compute from them."""


def published_sounds(folder: Path, seconds: float | None) -> SoundInput:
    """As the processor files of a transformers folder say.

    Args:
        folder: of the model.
        seconds: of the window; None: the longest, or 10 where there is no bound.

    Raises:
        CheckpointError: there are none, or of an extractor that is not known.
        ConfigError: a window that the extractor does not have.
    """
    values = _published(folder)
    values = {key: value for key, value in values.items() if key not in _DROPPED}
    if values.get("feature_extractor_type") not in EXTRACTORS:
        raise CheckpointError(
            f"the feature extractor in {str(folder)!r} is {short(values.get('feature_extractor_type'))}; "
            f"known here are {', '.join(EXTRACTORS)}"
        )
    if seconds is None:
        seconds = SoundInput(values, 0.01).longest or _UNBOUNDED
    return SoundInput(values, seconds)


_UNBOUNDED = 10.0


def _published(folder: Path) -> Mapping[str, Any]:
    whole = folder / "processor_config.json"
    if whole.is_file():
        inner = read_json(whole).get("feature_extractor")
        if isinstance(inner, dict):
            return inner
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        raise CheckpointError(
            f"{str(folder)!r} has no preprocessor_config.json, which says how its sounds are "
            "prepared; copy that file, too"
        )
    return read_json(file)
