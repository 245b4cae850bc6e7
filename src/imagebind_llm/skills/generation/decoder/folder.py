"""A decoder's folder: ``config.json`` and ``generator.safetensors`` (float16), read strictly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import atomic_write, read_json, write_json
from imagebind_llm.common.settings import build
from imagebind_llm.common.tensor_files import TensorFile, require_same_keys, require_same_shapes
from imagebind_llm.skills.generation.decoder.model import DecoderConfig, EmbeddingDecoder

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "generator.safetensors"
TYPE = "embedding-decoder"
_SHIFT = "shift."
_WEIGHTS = "decoder."


def save_decoder(
    folder: Path, decoder: EmbeddingDecoder, encoder_fingerprint: str, shifts: Mapping[str, Tensor]
) -> None:
    """Write a decoder into a folder that is there.

    Args:
        folder: the files go there.
        decoder: any device and precision.
        encoder_fingerprint: of the encoder whose embeddings it was trained on.
        shifts: modality → ``[D]``, see :class:`~imagebind_llm.skills.generation.contract.Generator`.
    """
    from safetensors.torch import save_file

    tensors = {f"{_WEIGHTS}{name}": tensor for name, tensor in decoder.state_dict().items()}
    tensors |= {f"{_SHIFT}{name}": tensor for name, tensor in shifts.items()}
    halves = {name: tensor.detach().cpu().half().contiguous() for name, tensor in tensors.items()}
    with atomic_write(folder / WEIGHTS_FILE) as temporary:
        save_file(halves, temporary, {"format": "pt"})
    values = {"type": TYPE, "encoder": encoder_fingerprint, "config": decoder.config.to_dict()}
    write_json(folder / CONFIG_FILE, values)


def load_decoder(
    folder: Path, device: torch.device | str = "cpu"
) -> tuple[EmbeddingDecoder, str, dict[str, Tensor]]:
    """The decoder in ``folder`` (float32, evaluation mode), its encoder's fingerprint, and its shifts.

    Raises:
        CheckpointError: there is none, or it is damaged.
        ConfigError: an impossible size.
    """
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {str(folder)!r}; give one that holds a generator")
    if not (folder / CONFIG_FILE).is_file():
        raise CheckpointError(f"the folder {str(folder)!r} has no {CONFIG_FILE}, so it holds no generator")
    values = read_json(folder / CONFIG_FILE)
    fingerprint: Any = values.get("encoder")
    if values.get("type") != TYPE or not isinstance(fingerprint, str):
        raise CheckpointError(
            f"{str(folder / CONFIG_FILE)!r} is of type {values.get('type')!r}; expected {TYPE!r} with the "
            "fingerprint of its encoder"
        )
    config = build(DecoderConfig, values.get("config", {}))
    file = TensorFile(folder / WEIGHTS_FILE)
    with torch.device("meta"):
        decoder = EmbeddingDecoder(config)
    found = {name: file.get(name).float() for name in file.infos}
    shifts = {name.removeprefix(_SHIFT): row for name, row in found.items() if name.startswith(_SHIFT)}
    weights = {name.removeprefix(_WEIGHTS): row for name, row in found.items() if not name.startswith(_SHIFT)}
    expected = decoder.state_dict()
    what = str(folder / WEIGHTS_FILE)
    require_same_keys(expected, weights, what)
    require_same_shapes(expected, weights, what)
    if any(row.shape != (config.embedding_dim,) for row in shifts.values()):
        raise CheckpointError(f"{what} has a shift of another size than {config.embedding_dim}; get it again")
    if not all(bool(torch.isfinite(row).all()) for row in found.values()):
        raise CheckpointError(f"{what} holds numbers that are not finite; get it again")
    decoder.load_state_dict(weights, assign=True)
    return decoder.eval().requires_grad_(False).to(device), fingerprint, shifts
