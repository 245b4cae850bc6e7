"""Where results come from: the model's weights, the versions and the commit that made them."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any

import torch

from imagebind_llm import __version__
from imagebind_llm.checkpoints.checks import parameter_counts
from imagebind_llm.checkpoints.summary import summary
from imagebind_llm.common.provenance import commit, versions
from imagebind_llm.inference.assistant import Assistant

_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "numpy",
    "faiss-cpu",
    "soxr",
    "soundfile",
    "pillow",
)


def environment() -> dict[str, Any]:
    """Versions, commit and machine."""
    own = {"imagebind-llm": __version__, "python": platform.python_version()}
    return {
        "versions": own | versions(_PACKAGES),
        "commit": commit(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def model_facts(bot: Assistant, name: str, folder: Path | None = None) -> dict[str, Any]:
    """Name, sizes, fingerprints and cache settings of a model; a digest of the weights in ``folder``."""
    config = bot.model.config
    # of the files where it can be: in memory, low-rank updates may be folded into the weights
    saved = None if folder is None else summary(folder).get("parameters")
    cache = bot.cache
    return {
        "name": name,
        "stage": config.stage,
        "parameters": saved or parameter_counts(bot.model),
        "fingerprints": {**config.fingerprints, "encoder": bot.encoder_fingerprint},
        "weights_sha256": None if folder is None else _weights_digest(folder),
        "cache": dict(config.cache),
        "cache_pictures": None if cache is None else cache.size,
        "embedding_dim": config.embedding_dim,
    }


def _weights_digest(folder: Path) -> str | None:
    """SHA-256 over the weight files of a model folder, in the order of their names."""
    files = sorted(folder.glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest() if files else None
