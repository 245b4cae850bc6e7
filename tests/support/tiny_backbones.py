"""Small random models of transformers' real classes, EfficientNet-lite and ImageBind, in folders as published
ones lie."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, save_imagebind
from support.tiny_pe_av import byte_level_tokenizer

SIDE = 32
_SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.5,
}
_VISION = {**_SIZES, "image_size": SIDE, "patch_size": 8}
_TEXT = {**_SIZES, "vocab_size": 300, "max_position_embeddings": 40, "pad_token_id": 258}
_IDS = {"bos_token_id": 256, "eos_token_id": 257}
_PICTURES = {
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
CLIP_PICTURES = {
    **_PICTURES,
    "image_processor_type": "CLIPImageProcessor",
    "do_center_crop": True,
    "do_convert_rgb": True,
    "resample": 3,
    "size": {"shortest_edge": SIDE},
    "crop_size": {"height": SIDE, "width": SIDE},
}
SQUARE_PICTURES = {
    **_PICTURES,
    "image_processor_type": "SiglipImageProcessor",
    "resample": 2,
    "size": {"height": SIDE, "width": SIDE},
}
WHISPER_SOUNDS = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 20,
    "sampling_rate": 16_000,
    "hop_length": 160,
    "chunk_length": 30,
    "n_fft": 400,
}


def write_json(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values), encoding="utf-8")


def _saved(model: Any, folder: Path, processor: dict[str, Any] | None, words: bool = False) -> Path:
    model.eval().save_pretrained(folder)
    if processor is not None:
        write_json(folder / "preprocessor_config.json", processor)
    if words:
        byte_level_tokenizer().save_pretrained(folder)
    return folder


def write_clip(folder: Path, seed: int = 0) -> Path:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    config = CLIPConfig(text_config={**_TEXT, **_IDS}, vision_config=_VISION, projection_dim=12)
    return _saved(CLIPModel(config), folder, CLIP_PICTURES, words=True)


def write_siglip(folder: Path, seed: int = 1) -> Path:
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(seed)
    text = {**_TEXT, **_IDS, "max_position_embeddings": 24, "projection_size": 16}
    return _saved(
        SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION)), folder, SQUARE_PICTURES, True
    )


def write_dinov2(folder: Path, seed: int = 2) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(seed)
    config = Dinov2Config(**{**_VISION, "mlp_ratio": 2})
    processor = {**CLIP_PICTURES, "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 40}}
    return _saved(Dinov2Model(config), folder, processor)


def write_bert(folder: Path, seed: int = 3) -> Path:
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    write = _saved(BertModel(BertConfig(**_TEXT)), folder, None, words=True)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    return write


def write_whisper(folder: Path, seed: int = 4) -> Path:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=60,
        num_mel_bins=20,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        init_std=0.3,
        max_target_positions=16,
    )
    return _saved(WhisperForConditionalGeneration(config), folder, WHISPER_SOUNDS)


def write_clap(folder: Path, seed: int = 5, fusion: bool = False) -> Path:
    from transformers import ClapConfig, ClapModel

    torch.manual_seed(seed)
    audio = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "hidden_size": 64,
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1, 1],
        "num_attention_heads": [2, 2, 2],
        "window_size": 4,
        "enable_fusion": fusion,
        "projection_dim": 12,
    }
    text = {**_TEXT, "max_position_embeddings": 42, "pad_token_id": 1, "projection_dim": 12}
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=12)
    sounds = {
        "feature_extractor_type": "ClapFeatureExtractor",
        "feature_size": 16,
        "sampling_rate": 48_000,
        "hop_length": 480,
        "max_length_s": 2,
        "fft_window_size": 1024,
        "frequency_min": 50,
        "frequency_max": 14_000,
        "truncation": "fusion" if fusion else "rand_trunc",
        "padding": "repeatpad",
    }
    return _saved(ClapModel(config), folder, sounds, words=True)


def write_ast(folder: Path, seed: int = 6) -> Path:
    from transformers import ASTConfig, ASTModel

    torch.manual_seed(seed)
    config = ASTConfig(
        **_SIZES, patch_size=8, max_length=64, num_mel_bins=16, frequency_stride=8, time_stride=8
    )
    sounds = {
        "feature_extractor_type": "ASTFeatureExtractor",
        "num_mel_bins": 16,
        "max_length": 64,
        "sampling_rate": 16_000,
        "mean": -4.27,
        "std": 4.57,
        "do_normalize": True,
        "feature_size": 1,
        "padding_value": 0.0,
    }
    return _saved(ASTModel(config), folder, sounds)


def write_wav2vec2(folder: Path, seed: int = 7) -> Path:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(seed)
    config = Wav2Vec2Config(
        **_SIZES, conv_dim=(8, 8), conv_stride=(20, 16), conv_kernel=(20, 16), num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, num_feat_extract_layers=2,
    )  # fmt: skip
    sounds = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "sampling_rate": 16_000,
        "do_normalize": True,
        "feature_size": 1,
        "padding_value": 0.0,
    }
    return _saved(Wav2Vec2Model(config), folder, sounds)


def write_efficientnet(folder: Path, seed: int = 8, classes: int = 5) -> Path:
    from imagebind_llm.encoders.towers.backbones.efficientnet_lite import (
        EfficientNetLite,
        EfficientNetLiteConfig,
    )

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    model = EfficientNetLite(EfficientNetLiteConfig("lite0", image_size=SIDE, num_classes=classes))
    for name, buffer in model.named_buffers():  # as if it had been trained
        if name.endswith("running_var"):
            buffer.uniform_(0.01, 0.1)
    write_json(
        folder / "config.json",
        {"model_type": "efficientnet_lite", "variant": "lite0", "image_size": SIDE, "classes": classes},
    )
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_point(folder: Path, seed: int = 9) -> Path:
    torch.manual_seed(seed)
    trunk = {"width": 16, "blocks": 1, "heads": 2}
    plain = {**trunk, "qkv_bias": False}
    vision = {
        "channels": 3,
        "size": [SIDE, SIDE],
        "frames": 2,
        "stem": {"channels": 16, "kernel": [2, 16, 16], "stride": [2, 16, 16], "padding": [0, 0, 0]},
        "trunk": trunk,
    }
    values = {
        "embedding_dim": 20,
        "vision": {**vision, "head": {}},
        "point": {"groups": 16, "group_size": 8, "trunk": plain, "head": {}},
    }
    save_imagebind(ImageBindModel(ImageBindConfig.from_dict(values)).eval(), folder)
    return folder


WRITERS = {
    "clip": write_clip,
    "siglip": write_siglip,
    "dinov2": write_dinov2,
    "bert": write_bert,
    "whisper": write_whisper,
    "clap": write_clap,
    "ast": write_ast,
    "wav2vec2": write_wav2vec2,
    "efficientnet": write_efficientnet,
    "point": write_point,
}
