"""A tiny model folder with random weights."""

import dataclasses
from pathlib import Path

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMALL_MEDIA = {
    "image": {"size": 32},
    "video": {"size": 32, "clips": 2, "frames_per_clip": 2, "crops": 1},
    "audio": {"mel_bins": 64, "low_hz": 20.0, "high_hz": 3500.0, "target_frames": 204, "clips": 1},
    "point": {"count": 512},
    "depth": {"size": 32},
    "thermal": {"size": 32},
}


def byte_tokenizer():
    """One token per byte, and the control tokens of the ChatML format."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def write_tiny_model(folder: Path, seed: int = 0, context: int = 256) -> Path:
    """A whole model folder. All sizes differ, and the gates are open, so that media change the answer."""
    import torch
    from transformers import GenerationConfig, LlamaConfig

    from imagebind_llm import (
        ImageBindConfig,
        ImageBindLLMConfig,
        ImageBindLLMForConditionalGeneration,
        ImageBindLLMProcessor,
    )
    from imagebind_llm.media.settings import MediaSettings

    torch.manual_seed(seed)
    tokenizer = byte_tokenizer()
    encoder = dataclasses.replace(ImageBindConfig.nano(), embedding_dim=28)
    config = ImageBindLLMConfig(
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=40,
            intermediate_size=72,
            num_hidden_layers=3,
            num_attention_heads=5,
            num_key_value_heads=1,
            head_dim=12,
            max_position_embeddings=context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=0.3,  # far from uniform, so that greedy choices have a margin
        ),
        encoder_config={"type": "imagebind", **encoder.to_dict()},
        embedding_dim=28,
        media=SMALL_MEDIA,
    )
    model = ImageBindLLMForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.injection.named_parameters():
            if "gate" in name:
                parameter.fill_(2.0)
    model.config.fingerprints["encoder"] = model.encoder.fingerprint
    model.generation_config = GenerationConfig(
        max_new_tokens=12,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    ImageBindLLMProcessor(tokenizer, MediaSettings.from_dict(SMALL_MEDIA)).save_pretrained(folder)
    return folder
