"""PE-AV as an encoder type: the functions of :class:`~imagebind_llm.encoders.base.EncoderKind`."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from imagebind_llm.common.errors import CheckpointError, reason_of
from imagebind_llm.encoders.pe_av.media import PeAvMedia, open_tokenizer
from imagebind_llm.encoders.pe_av.model import PeAvEncoder
from imagebind_llm.encoders.pe_av.settings import PeAvDescription, pe_av_config, published_settings
from imagebind_llm.media.base import MediaReader

_LONGEST_TEXT = 512


def recognises(config: Mapping[str, Any]) -> bool:
    """A folder as transformers saves a ``PeAudioVideoModel``."""
    return config.get("model_type") == "pe_audio_video"


def build(settings: Mapping[str, Any]) -> nn.Module:
    """With fresh weights."""
    return PeAvEncoder(PeAvDescription(dict(settings)))


def from_model(
    folder: Path, settings: Mapping[str, Any], device: torch.device, dtype: torch.dtype
) -> nn.Module:
    """Through transformers, which stores some towers' tensors under other names than they have in memory."""
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    encoder = ImageBindLLMForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).encoder
    assert encoder is not None, "the configuration has one"
    return encoder.to(device, dtype)


def load(folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The towers of the ``PeAudioVideoModel`` in ``folder``, strictly, in evaluation mode."""
    from transformers import PeAudioVideoModel

    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = pe_av_config(PeAvDescription(values))
    try:
        loaded: Any = PeAudioVideoModel.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True, local_files_only=True
        )
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        reason = reason_of(error)
        raise CheckpointError(f"the PE-AV in {str(folder)!r} cannot be loaded ({reason})") from error
    whole, info = loaded
    faults = [
        f"{len(info[kind])} {kind.partition('_')[0]} ({', '.join(sorted(map(str, info[kind]))[:3])})"
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info[kind]
    ]
    if faults:
        raise CheckpointError(
            f"the weights in {str(folder)!r} do not fit its config.json: {'; '.join(faults)}; "
            "download the whole folder again"
        )
    encoder = PeAvEncoder.taken_from(whole)
    if dtype is not torch.float32:
        encoder.remember_fingerprint(encoder.fingerprint)  # of the weights before they are rounded
    return encoder.to(device, dtype).eval()


def media_of(folder: Path, encoder: PeAvEncoder) -> MediaReader:
    """As the processor files beside the weights say."""
    tokenizer = open_tokenizer(folder)
    settings = published_settings(folder)
    longest = min(_LONGEST_TEXT, int(tokenizer.model_max_length or _LONGEST_TEXT))
    return PeAvMedia(replace(settings, context_length=longest), tokenizer)


def read_media(values: Mapping[str, Any], folder: Path) -> MediaReader:
    """As a model folder holds it."""
    return PeAvMedia.read(values, folder)
