"""A Whisper of CTranslate2 (as faster-whisper uses it) → transformers' ``WhisperForConditionalGeneration``.

The folder holds ``model.bin``, ``config.json`` (which tokens are never said), ``tokenizer.json`` and
``vocabulary.txt``. Encoder and decoder are taken, so that the result transcribes too. Names on CTranslate2's
side are those of its ``specs/whisper_spec.py`` and ``specs/transformer_spec.py``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagebind_llm.checkpoints.convert.plan import OutTensor, Plan
from imagebind_llm.checkpoints.parts.ctranslate2 import CTranslate2File
from imagebind_llm.checkpoints.parts.kinds import only_file
from imagebind_llm.common.errors import CheckpointError, reason_of
from imagebind_llm.common.files import read_json
from imagebind_llm.common.tensor_files import TensorInfo, on_meta, require_same_keys, require_same_shapes
from imagebind_llm.common.text_files import NotUtf8, read_text

if TYPE_CHECKING:
    from transformers import WhisperConfig

_SPEC, _REVISION = "WhisperSpec", 3
"""``WhisperSpec.revision`` in CTranslate2 3 and 4."""
_FLAGS = {
    "decoder/activation": 3,  # GELU, in the order of the enum ActivationType
    "decoder/alibi": 0,
    "decoder/alignment_heads": 1,
    "decoder/alignment_layer": -1,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
"""What a Whisper's specification states, and the values that transformers' model has built in."""
_ALIASES = {"decoder/projection/weight": "decoder/embeddings/weight"}
"""The output layer is the token embedding."""
_MULTILINGUAL = 51_865
"""Tokens of OpenAI's multilingual models; the English ones have one fewer (``tokenizer.py`` there)."""
_RATE, _SECONDS, _HOP, _FFT = 16_000, 30, 160, 400
"""Hz, seconds, samples, samples: ``audio.py`` of openai-whisper."""
_SPECIAL = ("<|startoftranscript|>", "<|endoftext|>", "<|notimestamps|>", "<|startofprev|>")


@dataclass(frozen=True)
class _Take:
    """A tensor of the result: rows ``part`` of ``parts`` of a variable."""

    ours: str
    theirs: str
    part: int = 0
    parts: int = 1


def plan_part(unpacked: Path, dtype: torch.dtype | None) -> Plan:
    """The conversion of the folder with ``model.bin`` below ``unpacked``.

    Args:
        dtype: precision of the result, ``None`` for that of the file.

    Raises:
        CheckpointError: it is no Whisper, or one of a kind that is not known here.
    """
    folder = only_file(unpacked, "model.bin").parent
    source = CTranslate2File(folder / "model.bin")
    if (source.name, source.revision) != (_SPEC, _REVISION):
        raise CheckpointError(
            f"{str(source.path)!r} is a {source.name} of revision {source.revision}; expected {_SPEC} "
            f"{_REVISION}: convert the model anew with CTranslate2 3 or 4"
        )
    _check_flags(source)
    layers = {side: _layers(source, side) for side in ("encoder", "decoder")}
    takes = _takes(layers)
    weights = {name: info for name, info in source.infos.items() if info.dtype.is_floating_point}
    require_same_keys({take.theirs for take in takes}, weights, repr(str(source.path)))
    _require_no_key_bias(source, layers)
    tokens = _tokens(folder, source.infos["decoder/embeddings/weight"].shape[0])
    config = _config(source, folder, layers, tokens)
    tensors = [_out(take, source) for take in takes if not take.ours.endswith(_DROPPED)]
    expected = _skeleton(config)
    found = on_meta({tensor.name: tensor.info for tensor in tensors})
    require_same_keys(expected, found, repr(str(source.path)))
    require_same_shapes(expected, found, repr(str(source.path)))

    def finish(stage: Path) -> None:
        config.dtype = dtype or torch.float16
        config.save_pretrained(stage)
        _write_generation(stage, folder, tokens, config)
        _write_processor(stage, folder, config)

    return Plan(
        kind="ctranslate2-whisper",
        tensors=[tensor.cast(dtype) for tensor in tensors],
        sources=[source],
        finish=finish,
        dropped=dict.fromkeys(
            (take.theirs for take in takes if take.ours.endswith(_DROPPED)),
            "its third for keys is zero, as Whisper's keys have no bias",
        ),
        summary={"layers": layers, "width": config.d_model, "vocabulary": config.vocab_size},
    )


_DROPPED = "k_proj.bias"
_NORMS = {"beta": "bias", "gamma": "weight"}


def _takes(layers: Mapping[str, int]) -> list[_Take]:
    takes = [_Take(f"model.encoder.{c}.{w}", f"encoder/{c}/{w}") for c in ("conv1", "conv2") for w in _BOTH]
    takes.append(_Take("model.decoder.embed_tokens.weight", "decoder/embeddings/weight"))
    for side, count in layers.items():
        ours = f"model.{side}"
        takes.append(_Take(f"{ours}.embed_positions.weight", f"{side}/position_encodings/encodings"))
        takes += _norm(f"{ours}.layer_norm", f"{side}/layer_norm")
        for layer in range(count):
            here, there = f"{ours}.layers.{layer}", f"{side}/layer_{layer}"
            own = f"{there}/self_attention"
            takes += _norm(f"{here}.self_attn_layer_norm", f"{own}/layer_norm")
            takes += _linear(f"{own}/linear_0", *(f"{here}.self_attn.{name}_proj" for name in "qkv"))
            takes += _linear(f"{own}/linear_1", f"{here}.self_attn.out_proj")
            takes += _norm(f"{here}.final_layer_norm", f"{there}/ffn/layer_norm")
            takes += _linear(f"{there}/ffn/linear_0", f"{here}.fc1")
            takes += _linear(f"{there}/ffn/linear_1", f"{here}.fc2")
            if side == "decoder":
                other = f"{there}/attention"
                takes += _norm(f"{here}.encoder_attn_layer_norm", f"{other}/layer_norm")
                takes += _linear(f"{other}/linear_0", f"{here}.encoder_attn.q_proj")
                takes += _linear(f"{other}/linear_1", *(f"{here}.encoder_attn.{n}_proj" for n in "kv"))
                takes += _linear(f"{other}/linear_2", f"{here}.encoder_attn.out_proj")
    return takes


_BOTH = ("weight", "bias")


def _norm(ours: str, theirs: str) -> list[_Take]:
    return [_Take(f"{ours}.{here}", f"{theirs}/{there}") for there, here in _NORMS.items()]


def _linear(theirs: str, *ours: str) -> list[_Take]:
    """A linear layer; several of ours lie in one of theirs, one below the other."""
    return [
        _Take(f"{name}.{what}", f"{theirs}/{what}", part, len(ours))
        for part, name in enumerate(ours)
        for what in _BOTH
    ]


def _out(take: _Take, source: CTranslate2File) -> OutTensor:
    info = source.infos[take.theirs]
    rows = info.shape[0] // take.parts
    if rows * take.parts != info.shape[0]:
        raise CheckpointError(
            f"{str(source.path)!r} has {info.shape[0]} rows in {take.theirs}; expected {take.parts} "
            "equal parts"
        )
    start = take.part * rows

    def read() -> Tensor:
        return source.get(take.theirs)[start : start + rows].clone()

    change = "" if take.parts == 1 else f"rows {start} to {start + rows - 1}"
    return OutTensor(take.ours, TensorInfo((rows, *info.shape[1:]), info.dtype), take.theirs, read, change)


def _check_flags(source: CTranslate2File) -> None:
    """Refuse a model that states anything else than what transformers' Whisper does.

    Raises:
        CheckpointError: naming the first statement that differs.
    """
    stated = {name for name, info in source.infos.items() if not info.dtype.is_floating_point}
    counts = {f"{side}/num_heads" for side in ("encoder", "decoder")}
    require_same_keys({*_FLAGS, *counts}, stated, f"{str(source.path)!r} (whole numbers)")
    for name in sorted(stated):
        if source.infos[name].shape != () or (name in _FLAGS and _whole(source, name) != _FLAGS[name]):
            raise CheckpointError(
                f"{str(source.path)!r} has {name} {source.get(name).tolist()}; expected "
                f"{_FLAGS.get(name, 'one number')}: this kind of Whisper is not known here"
            )
    if source.aliases != _ALIASES:
        raise CheckpointError(
            f"{str(source.path)!r} has the aliases {source.aliases}; expected that the output layer is the "
            "token embedding"
        )


def _require_no_key_bias(source: CTranslate2File, layers: Mapping[str, int]) -> None:
    """Make sure that what is left out is nothing.

    Raises:
        CheckpointError: keys have a bias, which transformers' Whisper has no place for.
    """
    for take in _takes(layers):
        if take.ours.endswith(_DROPPED) and _out(take, source).read().any():
            raise CheckpointError(
                f"{str(source.path)!r} has a bias of keys in {take.theirs}; expected none in a Whisper"
            )


def _whole(source: CTranslate2File, name: str) -> int:
    return int(source.get(name).item())


def _layers(source: CTranslate2File, side: str) -> int:
    prefix = f"{side}/layer_"
    found = {name.removeprefix(prefix).partition("/")[0] for name in source.infos if name.startswith(prefix)}
    return len(found - {"norm"})


def _tokens(folder: Path, rows: int) -> dict[str, int]:
    """Token → id of ``tokenizer.json``, compared with ``vocabulary.txt`` (which has the times too).

    Raises:
        CheckpointError: they differ, or are not as many as the embedding has rows.
    """
    try:
        lines = read_text(folder / "vocabulary.txt").removesuffix("\n").split("\n")
    except (OSError, NotUtf8) as error:
        raise CheckpointError(
            f"{str(folder / 'vocabulary.txt')!r} cannot be read ({reason_of(error)}); get it again"
        ) from None
    values = read_json(folder / "tokenizer.json")
    try:
        tokens = {str(token): int(number) for token, number in values["model"]["vocab"].items()}
        tokens |= {str(added["content"]): int(added["id"]) for added in values["added_tokens"]}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{str(folder / 'tokenizer.json')!r} is no tokenizer ({reason_of(error)}); get it again"
        ) from None
    times = [f"<|{number * 0.02:.2f}|>" for number in range(rows - len(tokens))]
    if sorted(tokens, key=tokens.__getitem__) + times != lines or len(lines) != rows:
        raise CheckpointError(
            f"{str(folder)!r} has {len(tokens)} tokens in tokenizer.json, {len(lines)} in vocabulary.txt and "
            f"{rows} rows of the embedding, or in another order; use files that belong together"
        )
    if missing := [name for name in _SPECIAL if name not in tokens]:
        raise CheckpointError(f"{str(folder / 'tokenizer.json')!r} has no {missing[0]}; it is no Whisper's")
    return tokens


def _config(
    source: CTranslate2File, folder: Path, layers: Mapping[str, int], tokens: Mapping[str, int]
) -> "WhisperConfig":
    from transformers import WhisperConfig

    infos = source.infos
    if infos["decoder/embeddings/weight"].shape[0] >= _MULTILINGUAL:
        raise CheckpointError(
            f"{str(folder)!r} is a multilingual Whisper; only the English ones are known here"
        )
    end = tokens["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=infos["decoder/embeddings/weight"].shape[0],
        num_mel_bins=infos["encoder/conv1/weight"].shape[1],
        d_model=infos["decoder/embeddings/weight"].shape[1],
        encoder_layers=layers["encoder"],
        encoder_attention_heads=_whole(source, "encoder/num_heads"),
        encoder_ffn_dim=infos["encoder/layer_0/ffn/linear_0/weight"].shape[0],
        decoder_layers=layers["decoder"],
        decoder_attention_heads=_whole(source, "decoder/num_heads"),
        decoder_ffn_dim=infos["decoder/layer_0/ffn/linear_0/weight"].shape[0],
        max_source_positions=infos["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=infos["decoder/position_encodings/encodings"].shape[0],
        activation_function="gelu",
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=tokens["<|startoftranscript|>"],
    )
    config.architectures = ["WhisperForConditionalGeneration"]
    return config


def _skeleton(config: "WhisperConfig") -> dict[str, Tensor]:
    """Names and shapes of transformers' model; the output layer is the token embedding, stored once."""
    from transformers import WhisperForConditionalGeneration

    with torch.device("meta"):
        state = WhisperForConditionalGeneration(config).state_dict()
    return {name: tensor for name, tensor in state.items() if name != "proj_out.weight"}


def _ids(folder: Path, key: str, most: int) -> Sequence[int]:
    found = read_json(folder / "config.json").get(key)
    if not isinstance(found, list) or not all(type(one) is int and 0 <= one < most for one in found):
        raise CheckpointError(
            f"{str(folder / 'config.json')!r} has no {key} with token ids below {most}; get it again"
        )
    return found


def _write_generation(stage: Path, folder: Path, tokens: Mapping[str, int], config: Any) -> None:
    """``generation_config.json`` with the names that OpenAI's English models have there."""
    from transformers import GenerationConfig

    settings = GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        max_length=config.max_target_positions,
        suppress_tokens=_ids(folder, "suppress_ids", config.vocab_size),
        begin_suppress_tokens=_ids(folder, "suppress_ids_begin", config.vocab_size),
        is_multilingual=False,
        return_timestamps=False,
        no_timestamps_token_id=tokens["<|notimestamps|>"],
        prev_sot_token_id=tokens["<|startofprev|>"],
        forced_decoder_ids=None,
        alignment_heads=read_json(folder / "config.json").get("alignment_heads"),
        max_initial_timestamp_index=50,  # one second, as in OpenAI's decoding.py
    )
    settings.save_pretrained(stage)


def _write_processor(stage: Path, folder: Path, config: Any) -> None:
    """The tokenizer, and how sound becomes a spectrogram."""
    from transformers import WhisperFeatureExtractor

    (stage / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    named = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    settings = {
        "tokenizer_class": "WhisperTokenizer",
        "processor_class": "WhisperProcessor",
        "pad_token": "<|endoftext|>",
        **named,
        "add_prefix_space": False,
        "model_max_length": config.max_target_positions,
        "clean_up_tokenization_spaces": False,
    }
    (stage / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    WhisperFeatureExtractor(
        feature_size=config.num_mel_bins,
        sampling_rate=_RATE,
        hop_length=_HOP,
        chunk_length=_SECONDS,
        n_fft=_FFT,
        processor_class="WhisperProcessor",
    ).save_pretrained(stage)
