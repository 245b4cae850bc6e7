"""A tiny PE-AV of transformers' real classes, in a folder as the published ones lie."""

import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

SIDE = 32
_ENCODER = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "initializer_range": 0.3,
}
VIT = {
    "model_type": "vit",
    "image_size": SIDE,
    "patch_size": 8,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_labels": 14,
    "initializer_range": 0.3,
}
"""The published vision tower is timm's; this one needs no further library."""


def values(vision=None):
    return {
        "model_type": "pe_audio_video",
        "text_config": {
            "model_type": "modernbert",
            "hidden_size": 20,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "vocab_size": 400,
            "pad_token_id": 258,
            "bos_token_id": 256,
            "eos_token_id": 257,
            "cls_token_id": 256,
            "sep_token_id": 257,
            "initializer_range": 0.3,
        },
        "audio_video_config": {
            "model_type": "pe_audio_video_encoder",
            **_ENCODER,
            "audio_config": {
                "model_type": "pe_audio_encoder",
                **_ENCODER,
                "dac_config": {
                    "model_type": "dac",
                    "encoder_hidden_size": 4,
                    "downsampling_ratios": [2, 8, 10, 12],
                    "decoder_hidden_size": 16,
                    "codebook_dim": 8,
                    "codebook_size": 16,
                    "n_codebooks": 1,
                },
            },
            "video_config": {"model_type": "pe_video_encoder", **_ENCODER, "vision_config": vision or VIT},
        },
    }


def whole_model(vision=None, seed=3):
    """A random ``PeAudioVideoModel``. It needs timm in transformers 5.13; in newer ones it does not."""
    if find_spec("timm") is None and version("transformers").startswith("5.13."):
        pytest.skip("PE-AV needs timm with this transformers (the extra pe-av)")
    from transformers import PeAudioVideoModel

    from imagebind_llm.encoders.pe_av.settings import PeAvDescription, pe_av_config

    torch.manual_seed(seed)
    return PeAudioVideoModel(pe_av_config(PeAvDescription(values(vision)))).eval()


def byte_level_tokenizer():
    """A byte a token, with start and end tokens as ModernBERT's tokenizer adds them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["[CLS]", "[SEP]", "[PAD]"])
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 256), ("[SEP]", 257)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        model_max_length=40,
    )


def write_pe_av(folder: Path, vision=None, seed=3) -> Path:
    whole_model(vision, seed).save_pretrained(folder)
    byte_level_tokenizer().save_pretrained(folder)
    processor = {
        "processor_class": "PeAudioVideoProcessor",
        "feature_extractor": {
            "feature_extractor_type": "PeAudioFeatureExtractor",
            "sampling_rate": 48000,
            "hop_length": 1920,
        },
        "video_processor": {
            "video_processor_type": "PeVideoVideoProcessor",
            "size": {"height": SIDE, "width": SIDE},
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "resample": 2,
            "num_frames": 4,
        },
    }
    (folder / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder
