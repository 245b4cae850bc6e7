"""Media: bytes → CPU tensors, one file per modality.

:func:`load_media` is the way in; the modules of the single modalities also offer the array-level transforms
that training uses. Decoders are imported when first needed.
"""

from typing import TYPE_CHECKING

from imagebind_llm.common.errors import MediaError, naming_missing_packages
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.base import Limits, MediaSource
from imagebind_llm.media.settings import (
    AudioSettings,
    DepthSettings,
    ImageSettings,
    ImuSettings,
    MediaSettings,
    PointSettings,
    SensorSettings,
    TextSettings,
    ThermalSettings,
    VideoSettings,
)

if TYPE_CHECKING:
    import os

    import torch

__all__ = [
    "AudioSettings",
    "DepthSettings",
    "ImageSettings",
    "ImuSettings",
    "Limits",
    "MediaError",
    "MediaSettings",
    "MediaSource",
    "PointSettings",
    "SensorSettings",
    "TextSettings",
    "ThermalSettings",
    "VideoSettings",
    "guess_modality",
    "load_media",
]


def load_media(
    modality: Modality, source: MediaSource, settings: MediaSettings, limits: Limits | None = None
) -> "torch.Tensor":
    """One piece of media as its encoder reads it, without a batch axis.

    Returns:
        float32 (text: int64) of shape image ``[3, H, W]``, video ``[S, 3, T, H, W]``, audio ``[S, 1, mel,
        frames]``, text ``[77]``, point ``[N, 3]``, depth and thermal ``[1, H, W]``, imu ``[6, 2000]``, a
        sensor of ``settings.sensors`` as that says. For text, ``source`` is the text itself.

    Raises:
        MediaError: the source is missing, damaged, of another kind, or over a limit.
        MissingExtraError: a library that reads it is not installed.
    """
    from imagebind_llm.media.reading import load_medium

    return load_medium(settings, modality, source, limits)


def guess_modality(path: "str | os.PathLike[str]") -> Modality:
    """What a file is, by its content first and its suffix second.

    Raises:
        MediaError: it cannot be read, is of no known kind, or could be of several.
    """
    with naming_missing_packages("telling what a file is"):
        from imagebind_llm.media.detect import guess
        from imagebind_llm.media.reading import one_medium

        with one_medium(path):
            return guess(path)
