"""Which joint encoders a model can have: a table, and the two ways to get one (built bare, or loaded).

The rest of the package knows encoders only by :class:`~imagebind_llm.encoders.base.JointEncoder` and the
way their media are opened by :class:`~imagebind_llm.media.base.MediaReader`.
"""

from imagebind_llm.encoders.base import EncoderKind
from imagebind_llm.encoders.registry import (
    KINDS,
    build_encoder,
    encoder_kind,
    load_encoder,
    media_of_encoder,
    read_media,
)

__all__ = [
    "KINDS",
    "EncoderKind",
    "build_encoder",
    "encoder_kind",
    "load_encoder",
    "media_of_encoder",
    "read_media",
]
