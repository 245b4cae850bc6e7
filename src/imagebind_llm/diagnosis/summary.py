"""What the files of a model folder say about it: JSON and the headers of weight files. Imports no torch."""

import json
from pathlib import Path
from typing import Any

from imagebind_llm.errors import CheckpointError


def summary(folder: Path) -> dict[str, Any]:
    """What the files of a model folder say about it."""
    config = read_json(folder / "config.json")
    text = config.get("text_config") or {}
    tensors = _tensor_sizes(folder)
    cache = folder / "cache" / "manifest.json"
    found = read_json(cache) if cache.is_file() else None
    return {
        "folder": str(folder),
        "stage": config.get("stage"),
        "language_model": {
            "type": text.get("model_type"),
            "layers": text.get("num_hidden_layers"),
            "width": text.get("hidden_size"),
            "context": text.get("max_position_embeddings"),
            "vocabulary": text.get("vocab_size"),
        },
        "encoder": _encoder(config.get("encoder_config")),
        "embedding_dim": config.get("embedding_dim"),
        "injection": config.get("injection"),
        "lora": config.get("lora"),
        "parameters": {name: tensors[name] for name in sorted(tensors)} | {"total": sum(tensors.values())},
        "fingerprints": config.get("fingerprints"),
        "base_models": config.get("base_models"),
        "cache": None
        if found is None
        else {key: found.get(key) for key in ("count", "dim", "kind", "encoder_fingerprint")},
    }


def _encoder(config: dict[str, Any] | None) -> dict[str, Any] | None:
    if config is None:
        return None
    from imagebind_llm.modality import Modality, trunk_name

    known = [modality.value for modality in Modality if config.get(trunk_name(modality)) is not None]
    known += sorted(config.get("sensors") or {})
    return {"type": config.get("type", "imagebind"), "modalities": known}


def _tensor_sizes(folder: Path) -> dict[str, int]:
    """Numbers of values in the weight files, by the first part of the tensors' names."""
    import struct

    sizes: dict[str, int] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with open(file, "rb") as stream:
            head = stream.read(8)
            if len(head) < 8 or (length := struct.unpack("<Q", head)[0]) > file.stat().st_size:
                raise CheckpointError(f"{str(file)!r} is damaged: its header is incomplete; copy it again")
            header = json.loads(stream.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                count = 1
                for side in tensor["shape"]:
                    count *= side
                part = name.partition(".")[0]
                sizes[part] = sizes.get(part, 0) + count
    return sizes


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: it is not JSON, or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{str(path)!r} holds {type(values).__name__}; expected an object")
    return values
