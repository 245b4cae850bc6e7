"""Small random zero-shot detectors of transformers' real classes, in folders as published ones lie."""

from pathlib import Path
from typing import Any

import torch

from support.tiny_backbones import write_json

SIDE = 64
_TEXT = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.1,
}
_PICTURES = {
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def write_owlv2(folder: Path, seed: int = 0) -> Path:
    """OWLv2: with objectness."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    pictures = {**_PICTURES, "image_processor_type": "Owlv2ImageProcessor", "do_pad": True}
    pictures |= {"size": {"height": SIDE, "width": SIDE}, "processor_class": "Owlv2Processor"}
    return _owl(Owlv2Config, Owlv2ForObjectDetection, pictures, folder, seed)


def write_owlvit(folder: Path, seed: int = 0) -> Path:
    """OWL-ViT: without."""
    from transformers import OwlViTConfig, OwlViTForObjectDetection

    pictures = {**_PICTURES, "image_processor_type": "OwlViTImageProcessor", "do_center_crop": False}
    pictures |= {"size": {"height": SIDE, "width": SIDE}, "processor_class": "OwlViTProcessor"}
    return _owl(OwlViTConfig, OwlViTForObjectDetection, pictures, folder, seed)


def _owl(config: Any, model: Any, pictures: dict[str, Any], folder: Path, seed: int) -> Path:
    from transformers import CLIPTokenizer

    torch.manual_seed(seed)
    letters = [chr(code) for code in range(97, 123)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16)
    text = {**_TEXT, "vocab_size": len(pieces), "max_position_embeddings": 16}
    text |= {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"]}
    vision = {**_TEXT, "image_size": SIDE, "patch_size": 16}
    model(config(text_config=text, vision_config=vision, projection_dim=16)).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", pictures)
    return folder


def write_grounding_dino(folder: Path, seed: int = 0) -> Path:
    """Grounding DINO, with its Swin and its BERT."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    torch.manual_seed(seed)
    letters = [chr(code) for code in range(97, 123)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *letters, *(f"##{one}" for one in letters)]
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
    swin = SwinConfig(
        image_size=SIDE,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    config = GroundingDinoConfig(
        backbone_config=swin,
        text_config=BertConfig(**_TEXT, vocab_size=len(pieces), max_position_embeddings=256),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=12,
        disable_custom_kernels=True,
    )
    GroundingDinoForObjectDetection(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pictures = {**_PICTURES, "image_processor_type": "GroundingDinoImageProcessor", "do_pad": True}
    pictures |= {"size": {"shortest_edge": SIDE, "longest_edge": 2 * SIDE}}
    pictures |= {"processor_class": "GroundingDinoProcessor"}
    write_json(folder / "preprocessor_config.json", pictures)
    return folder
