"""A small picture decoder: embeddings of the joint space → pictures, by flow matching."""

from imagebind_llm.skills.generation.decoder.folder import load_decoder, save_decoder
from imagebind_llm.skills.generation.decoder.model import DecoderConfig, EmbeddingDecoder
from imagebind_llm.skills.generation.decoder.sampling import sample

__all__ = ["DecoderConfig", "EmbeddingDecoder", "load_decoder", "sample", "save_decoder"]
