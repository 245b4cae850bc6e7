"""How PE-AV wants its media, and its configuration, as plain values."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import CheckpointError, ConfigError, reason_of, require
from imagebind_llm.common.files import read_json
from imagebind_llm.common.settings import Checked, build, to_plain
from imagebind_llm.encoders.stored_values import without_storage

_BILINEAR = 2
"""Pillow's number of the filter that PE-AV's video processor uses."""


@dataclass(frozen=True)
class PeAvSettings(Checked):
    """The defaults are those of the published models."""

    height: int = 336
    width: int = 336
    """Pictures are resized to this, whatever their shape (bilinear, antialiased)."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    frames: int = 16
    """Evenly spaced frames of a video, from the first to the last."""
    sample_rate: int = 48_000
    """Hz."""
    hop: int = 1920
    """Samples per token of sound (40 ms)."""
    seconds: float = 30.0
    """Only the beginning of longer sounds is heard."""
    context_length: int = 512
    """Longest text, in tokens of the encoder's own tokenizer; longer ones are cut."""

    _may_be_zero_or_less = ("mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.capacity < self.hop:
            raise ConfigError(
                f"media.seconds is {self.seconds}; expected at least one hop of {self.hop} samples"
            )

    @property
    def capacity(self) -> int:
        """Samples a sound has room for: whole hops."""
        return int(self.seconds * self.sample_rate) // self.hop * self.hop

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PeAvSettings":
        """Settings from plain values.

        Raises:
            ConfigError: an unknown key or an impossible value.
        """
        return build(cls, values, "media")


def published_settings(folder: Path) -> PeAvSettings:
    """Settings from the processor files of a PE-AV folder; what they leave open keeps its default.

    Raises:
        CheckpointError: a file is broken, or asks for a step that PE-AV does not have.
    """
    whole = _json(folder / "processor_config.json")
    video = whole.get("video_processor") or _json(folder / "video_preprocessor_config.json")
    audio = whole.get("feature_extractor") or _json(folder / "preprocessor_config.json")
    found: dict[str, Any] = {}
    if size := video.get("size"):
        if not {"height", "width"} <= set(size):
            raise CheckpointError(
                f"the video processor in {folder} resizes to {size}; expected height and width"
            )
        found.update(height=size["height"], width=size["width"])
    for ours, theirs in (("mean", "image_mean"), ("std", "image_std")):
        if video.get(theirs) is not None:
            found[ours] = tuple(float(value) for value in video[theirs])
    if video.get("do_center_crop") or video.get("resample", _BILINEAR) != _BILINEAR:
        raise CheckpointError(
            f"the video processor in {folder} crops, or resizes with filter {video.get('resample')}; "
            f"expected no cropping and filter {_BILINEAR} (bilinear)"
        )
    if frames := video.get("num_frames"):
        found["frames"] = frames
    for ours, theirs in (("sample_rate", "sampling_rate"), ("hop", "hop_length")):
        if audio.get(theirs) is not None:
            found[ours] = audio[theirs]
    return PeAvSettings(**found)


def _json(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


@dataclass(frozen=True)
class PeAvDescription:
    """The values of a ``PeAudioVideoConfig``."""

    values: Mapping[str, Any]

    @classmethod
    def of(cls, config: Any) -> "PeAvDescription":
        """Of transformers' configuration object."""
        return cls(without_storage(config.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return copy.deepcopy(dict(self.values))


def pe_av_config(description: PeAvDescription) -> Any:
    """Transformers' configuration object.

    The published vision tower is one of timm's; any other image classifier of transformers can stand there
    (``vision_config`` with its ``model_type``).

    Raises:
        ConfigError: values that make no such configuration.
        MissingExtraError: the vision tower is timm's, which is not installed.
    """
    from transformers import AutoConfig, PeAudioVideoConfig

    values = description.to_dict()
    try:
        vision = values["audio_video_config"]["video_config"]["vision_config"]
        kind = vision.get("model_type", "timm_wrapper")
    except (KeyError, TypeError, AttributeError):
        raise ConfigError(
            "the PE-AV configuration has no audio_video_config.video_config.vision_config; use that of "
            "facebook/pe-av-small, -base or -large"
        ) from None
    if kind == "timm_wrapper":
        require("timm", "pe-av", "PE-AV's published vision tower")
    try:
        if kind != "timm_wrapper":
            # transformers would read any dict there as a timm tower
            values["audio_video_config"]["video_config"]["vision_config"] = AutoConfig.for_model(**vision)
        return PeAudioVideoConfig.from_dict(values)
    except (TypeError, ValueError) as error:
        reason = reason_of(error)
        raise ConfigError(f"these values make no PE-AV configuration ({reason})") from error
