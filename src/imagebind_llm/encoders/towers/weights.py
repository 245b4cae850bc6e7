"""Saving and strictly loading a towers encoder: ``config.json``, ``model.safetensors``, the tokenizer."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from imagebind_llm.common.budget import built_from
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.finite import require_finite
from imagebind_llm.common.folders import atomic_directory, require_replaceable
from imagebind_llm.common.tensor_files import HeldTensors, require_same_keys, require_same_shapes, weights_of
from imagebind_llm.encoders.towers.media import TowersMedia
from imagebind_llm.encoders.towers.model import TowersEncoder
from imagebind_llm.encoders.towers.settings import MODEL_TYPE, TowersConfig

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


def save_towers(encoder: TowersEncoder, media: TowersMedia, folder: Path) -> None:
    """Write the encoder's folder as a whole.

    Raises:
        CheckpointError: ``folder`` holds files that are not ours.
        DiskFullError: there was no room.
    """
    require_replaceable(folder, CheckpointError)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    config = json.dumps({"model_type": MODEL_TYPE, **encoder.config.to_dict()}, indent=2, ensure_ascii=False)
    with atomic_directory(folder, CheckpointError) as target:
        (target / CONFIG_FILE).write_text(config + "\n", encoding="utf-8")
        save_file(_apart(tensors), target / WEIGHTS_FILE, metadata={"format": "pt"})
        media.save_files(target)


def load_towers(
    folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> TowersEncoder:
    """The encoder that :func:`save_towers` wrote, in evaluation mode.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights do not fit the configuration.
        ConfigError: ``config.json`` contradicts itself.
    """
    config = TowersConfig.from_dict(read_json(folder / CONFIG_FILE))
    source = weights_of(folder)
    tensors = {name: source.get(name) for name in source.infos}
    return towers_from_state_dict(config, tensors, str(folder), device, dtype)


def towers_from_state_dict(
    config: TowersConfig,
    tensors: Mapping[str, Tensor],
    where: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TowersEncoder:
    """An encoder in evaluation mode with a copy of ``tensors``.

    Args:
        where: the tensors come from, for messages.

    Raises:
        CheckpointError: tensors are missing, left over, of another shape or number type, or no numbers.
        ConfigError: the configuration contradicts itself.
    """
    what = f"the encoder in {where!r}"
    with built_from(f"the configuration in {where}", HeldTensors(tensors).infos):
        encoder = TowersEncoder(config)
    expected = encoder.state_dict()
    require_same_keys(expected, tensors, what)
    require_same_shapes(expected, tensors, what)
    require_finite(tensors.items(), what)
    encoder.load_state_dict(dict(tensors), strict=True)
    _require_spread(encoder, what)
    if dtype is not torch.float32:
        encoder.remember_fingerprint(encoder.fingerprint)  # of the weights before they are rounded
    return encoder.to(device, dtype).eval()


def _require_spread(encoder: TowersEncoder, what: str) -> None:
    """Refuse to divide by nothing."""
    for name, value in encoder.state_dict().items():
        if name.endswith(".head.std") and not bool((value > 0).all()):
            raise CheckpointError(f"{what}: {name} is not above 0 everywhere; get the weights again")


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share memory as copies: safetensors holds each name once."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found
