"""What the files of a model folder say about it: JSON and the headers of weight files. Imports no torch."""

import json
import math
import operator
import struct
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.locate import ADAPTER_FILE

_LENGTH = struct.Struct("<Q")
"""Of the header, in front of it."""


def summary(folder: Path) -> dict[str, Any]:
    """What the files of a model folder say about it."""
    config = read_json(folder / "config.json")
    text = _group(config.get("text_config"))
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
        "bind": config.get("bind"),
        "injection": config.get("injection"),
        "lora": config.get("lora"),
        # of an adapter these are what it adds, not the model that it makes
        "adapter_parameters" if (folder / ADAPTER_FILE).is_file() else "parameters": {
            name: tensors[name] for name in sorted(tensors)
        }
        | {"total": sum(tensors.values())},
        "fingerprints": config.get("fingerprints"),
        "base_models": config.get("base_models"),
        "cache": None
        if found is None
        else {key: found.get(key) for key in ("count", "dim", "kind", "encoder_fingerprint")},
    }


def _group(value: Any) -> dict[str, Any]:
    """A group of settings; nothing where another value stands."""
    return value if isinstance(value, dict) else {}


def _encoder(given: Any) -> dict[str, Any] | None:
    if given is None:
        return None
    config = _group(given)
    from imagebind_llm.common.modality import Modality, trunk_name

    known = [modality.value for modality in Modality if config.get(trunk_name(modality)) is not None]
    known += sorted(_group(config.get("sensors")))
    if towers := sorted(_group(config.get("towers"))):
        known = sorted([*towers, *(["video"] if config.get("video") else [])])
    return {"type": config.get("type", "imagebind"), "modalities": known}


def _tensor_sizes(folder: Path) -> dict[str, int]:
    """Numbers of values in the weight files, by the first part of the tensors' names.

    Raises:
        CheckpointError: a file is cut short or damaged.
    """
    sizes: dict[str, int] = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in _header(file).items():
            count = 1
            for side in tensor["shape"]:
                count *= side
            part = name.partition(".")[0]
            sizes[part] = sizes.get(part, 0) + count
    return sizes


def _header(file: Path) -> dict[str, Any]:
    """What a safetensors file says of its tensors, if it is as long as it says."""
    found = file.stat().st_size
    with open(file, "rb") as stream:
        head = stream.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else found
        text = stream.read(length) if length < found else b""
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        for part in header.values():
            math.prod(map(operator.index, part["shape"]))
        whole = _LENGTH.size + length + max((part["data_offsets"][1] for part in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise CheckpointError(f"{str(file)!r} is damaged: its header is incomplete; copy it again") from None
    if found != whole:
        raise CheckpointError(
            f"{str(file)!r} is damaged: it has {found} bytes, its header says {whole}; copy it again"
        )
    return dict(header)
