"""PE-AV's configuration as plain values, and back."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagebind_llm.common.errors import ConfigError, reason_of, require

_LEFT_OUT = frozenset(
    {"transformers_version", "dtype", "torch_dtype", "_name_or_path", "architectures", "_attn_implementation"}
)
"""What says where or how weights were stored, not what they compute."""


@dataclass(frozen=True)
class PeAvDescription:
    """The values of a ``PeAudioVideoConfig``."""

    values: Mapping[str, Any]

    @classmethod
    def of(cls, config: Any) -> "PeAvDescription":
        """Of transformers' configuration object."""
        return cls(_cleaned(config.to_dict()))

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


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _cleaned(item) for key, item in value.items() if key not in _LEFT_OUT}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value
