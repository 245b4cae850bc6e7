"""A picture decoder of nano's class with random weights, in a folder as a trained one lies."""

from pathlib import Path

import torch

from imagebind_llm import Assistant
from imagebind_llm.skills.generation.decoder import DecoderConfig, EmbeddingDecoder
from imagebind_llm.skills.generation.decoder.folder import save_decoder

SIDE = 8


def write_decoder(folder: Path, bot: Assistant) -> Path:
    """Pictures of 8 x 8 that mean nothing, from the embeddings of ``bot``."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config = DecoderConfig(
        embedding_dim=bot.model.encoder.embedding_dim,
        size=SIDE,
        channels=(8, 16),
        attention=(False, True),
        heads_dim=8,
        groups=4,
    )
    save_decoder(folder, EmbeddingDecoder(config), bot.encoder_fingerprint or "", {})
    return folder
