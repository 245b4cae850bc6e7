"""PE-AV as an encoder type: the functions of :class:`~imagebind_llm.encoders.base.EncoderKind`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from imagebind_llm.common.errors import CheckpointError, reason_of
from imagebind_llm.common.files import read_json
from imagebind_llm.common.finite import require_finite
from imagebind_llm.common.tensor_files import tensors_below
from imagebind_llm.encoders.pe_av.media import PeAvMedia, open_tokenizer
from imagebind_llm.encoders.pe_av.model import COMPONENTS, PeAvEncoder
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
    """The towers among the tensors of a whole model.

    transformers stores some towers' tensors under other names than they have in memory, so it reads them. The
    towers of ``PeAudioVideoModel`` that this encoder leaves out are not stored, and not looked at.
    """
    stored = {}
    for name, tensor in tensors_below(folder, "encoder.").items():
        part, _, rest = name.partition(".")
        if part not in COMPONENTS:
            raise CheckpointError(
                f"{str(folder)!r} holds encoder.{name}, unknown to PE-AV; copy the whole folder again"
            )
        stored[f"{COMPONENTS[part]}.{rest}"] = tensor
    whole = _read(folder, settings, tuple(COMPONENTS.values()), state_dict=stored)
    return PeAvEncoder.taken_from(whole).to(device, dtype).eval()


def load(folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The towers of the ``PeAudioVideoModel`` in ``folder``, strictly, in evaluation mode."""
    settings = read_json(folder / "config.json")
    encoder = PeAvEncoder.taken_from(_read(folder, settings, ("",)))
    if dtype is not torch.float32:
        encoder.remember_fingerprint(encoder.fingerprint)  # of the weights before they are rounded
    return encoder.to(device, dtype).eval()


def _read(
    folder: Path,
    settings: Mapping[str, Any],
    wanted: tuple[str, ...],
    state_dict: dict[str, torch.Tensor] | None = None,
) -> Any:
    """A float32 ``PeAudioVideoModel``; tensors whose names begin with one of ``wanted`` must be there.

    They must be finite. Others may hold whatever the memory held, so they are not looked at.

    Args:
        folder: holds its files; only for messages where ``state_dict`` is given.
        settings: its configuration.
        wanted: beginnings of names.
        state_dict: its tensors, instead of those of the folder.

    Raises:
        CheckpointError: tensors are missing, left over, of another shape or not finite, or a file is damaged.
    """
    from transformers import PeAudioVideoModel

    config = pe_av_config(PeAvDescription(dict(settings)))
    source: dict[str, Any] = {"local_files_only": True} if state_dict is None else {"state_dict": state_dict}
    try:
        loaded: Any = PeAudioVideoModel.from_pretrained(
            folder if state_dict is None else None,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            **source,
        )
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        reason = reason_of(error)
        raise CheckpointError(f"the PE-AV in {str(folder)!r} cannot be loaded ({reason})") from error
    whole, info = loaded
    found = {
        kind: sorted(key for key in map(str, info[f"{kind}_keys"]) if key.startswith(wanted))
        for kind in ("missing", "unexpected", "mismatched")
    }
    faults = [f"{len(keys)} {kind} ({', '.join(keys[:3])})" for kind, keys in found.items() if keys]
    if faults:
        raise CheckpointError(
            f"the weights in {str(folder)!r} do not fit its config.json: {'; '.join(faults)}; "
            "download the whole folder again"
        )
    named = [*whole.named_parameters(), *whole.named_buffers()]
    require_finite([one for one in named if one[0].startswith(wanted)], f"the PE-AV in {str(folder)!r}")
    return whole


def media_of(folder: Path, encoder: PeAvEncoder) -> MediaReader:
    """As the processor files beside the weights say."""
    tokenizer = open_tokenizer(folder)
    settings = published_settings(folder)
    longest = min(_LONGEST_TEXT, int(tokenizer.model_max_length or _LONGEST_TEXT))
    return PeAvMedia(replace(settings, context_length=longest), tokenizer)


def read_media(values: Mapping[str, Any], folder: Path) -> MediaReader:
    """As a model folder holds it."""
    return PeAvMedia.read(values, folder)
