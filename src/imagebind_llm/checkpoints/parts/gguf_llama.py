"""A Llama in a GGUF file → a ``LlamaForCausalLM`` folder of transformers.

The package ``gguf`` reads the file and undoes the quantisation. What the fields mean is said in its
``constants.py`` (``Keys``); names of tensors are those of its ``tensor_mapping.py``. Rows of queries and keys
come as neighbouring pairs, as in Meta's files, and become halves. A field of the architecture that is not
known here changes what the model computes, so it is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagebind_llm.checkpoints.convert.llama import describe, on_skeleton, rows_to_halves
from imagebind_llm.checkpoints.convert.plan import OutTensor, Plan
from imagebind_llm.checkpoints.parts.gguf_tokenizer import read_tokenizer
from imagebind_llm.checkpoints.parts.kinds import only_file
from imagebind_llm.common.errors import CheckpointError, UserError, reason_of, require, short
from imagebind_llm.common.tensor_files import TensorInfo, on_meta, require_same_keys, require_same_shapes
from imagebind_llm.model.families import DecoderShape

if TYPE_CHECKING:
    from transformers import LlamaConfig

_ARCHITECTURE = "llama"
_COUNTS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "vocab_size": "vocab_size",
}
"""Whole numbers: their name after ``llama.`` → transformers'."""
_ROTARY_SIZE = "rope.dimension_count"
_ROTARY_BASE = "rope.freq_base"
_EPSILON = "attention.layer_norm_rms_epsilon"
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_OUTPUT = "output.weight"
"""Absent where the output layer is the token embedding."""
_MOST_LAYERS = 1000


class GgufFile:
    """The tensors of a GGUF file as float32, and its fields.

    Attributes:
        path: the file.
        fields: name → plain value (numbers, texts, lists of them).

    Raises:
        CheckpointError: no such file, or not a whole GGUF.
        MissingExtraError: the package ``gguf`` is not installed.
    """

    def __init__(self, path: Path) -> None:
        gguf = require("gguf", "parts", "reading a GGUF file")
        self.path = path
        try:
            reader = gguf.GGUFReader(path)
            self.fields: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
            self._tensors = {tensor.name: tensor for tensor in reader.tensors}
            # sides are stated from the fastest to the slowest, the other way round than torch's
            self._infos = {
                name: TensorInfo(tuple(int(side) for side in reversed(tensor.shape)), torch.float32)
                for name, tensor in self._tensors.items()
            }
        except UserError:
            raise
        except Exception as error:  # the reader checks little, so damage has many names
            raise CheckpointError(
                f"{str(path)!r} is no whole GGUF file ({reason_of(error)}); get it again"
            ) from None
        self._undo = require("gguf.quants", "parts", "reading a GGUF file").dequantize

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor."""
        return self._infos

    @property
    def files(self) -> list[Path]:
        """The one file."""
        return [self.path]

    def get(self, key: str) -> Tensor:
        """One tensor, float32, a copy.

        Raises:
            CheckpointError: it is packed in a way that ``gguf`` cannot undo, or has another size than stated.
        """
        found, info = self._tensors[key], self._infos[key]
        try:
            values = torch.tensor(self._undo(found.data, found.tensor_type), dtype=torch.float32)
        except (NotImplementedError, ValueError) as error:
            raise CheckpointError(
                f"{str(self.path)!r} has {key} packed as {found.tensor_type.name}, which cannot be read "
                f"({reason_of(error)}); use another quantisation of the model"
            ) from None
        if tuple(values.shape) != info.shape:
            raise CheckpointError(
                f"{str(self.path)!r} has {key} {list(values.shape)} instead of {list(info.shape)}; "
                "get it again"
            )
        return values

    def release(self) -> None:
        """Nothing: the system lets go of mapped pages by itself."""


def plan_part(unpacked: Path, dtype: torch.dtype | None) -> Plan:
    """The conversion of the one ``.gguf`` file below ``unpacked``.

    Args:
        dtype: precision of the result, ``None``: float32.

    Raises:
        CheckpointError: it is no Llama, or one of a kind that is not known here.
        MissingExtraError: the package ``gguf`` is not installed.
    """
    source = GgufFile(only_file(unpacked, "*.gguf"))
    where = repr(str(source.path))
    tied = _OUTPUT not in source.infos
    config = _config(source, tied)
    names = _names(config.num_hidden_layers, tied)
    require_same_keys(names, source.infos, where)
    shape = DecoderShape.of(config)
    heads = {"attn_q": shape.heads, "attn_k": shape.kv_heads}
    tensors = [_out(source, theirs, ours, heads) for theirs, ours in names.items()]
    expected = {key: value for key, value in on_skeleton(config).items() if not (tied and key == _HEAD)}
    found = on_meta({tensor.name: tensor.info for tensor in tensors})
    require_same_keys(expected, found, where)
    require_same_shapes(expected, found, where)
    tokenizer = read_tokenizer(source.fields, where, config.vocab_size, config.max_position_embeddings)

    def finish(stage: Path) -> None:
        from transformers import GenerationConfig

        special = {
            f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
        }
        for name, value in special.items():
            setattr(config, name, value)
        config.dtype = dtype or torch.float32
        config.save_pretrained(stage)
        GenerationConfig(**special).save_pretrained(stage)
        tokenizer.save_pretrained(stage)

    return Plan(
        kind="gguf-llama",
        tensors=[tensor.cast(dtype) for tensor in tensors],
        sources=[source],
        finish=finish,
        summary=describe(config),
    )


_HEAD = "lm_head.weight"


def _config(source: GgufFile, tied: bool) -> "LlamaConfig":
    from transformers import LlamaConfig

    where = repr(str(source.path))
    architecture = source.fields.get("general.architecture")
    if architecture != _ARCHITECTURE:
        raise CheckpointError(
            f"{where} holds a model of the architecture {short(architecture)}; expected {_ARCHITECTURE}"
        )
    stated = {
        name.removeprefix("llama."): value
        for name, value in source.fields.items()
        if name.startswith("llama.")
    }
    known = {*_COUNTS, _ROTARY_SIZE, _ROTARY_BASE, _EPSILON}
    if unknown := sorted(set(stated) - known):
        raise CheckpointError(
            f"{where} states llama.{unknown[0]}, which is not known here; expected only "
            f"{', '.join(sorted(known))}"
        )
    if missing := sorted(known - set(stated)):
        raise CheckpointError(f"{where} does not state llama.{missing[0]}; get a newer file of the model")
    for name in (*_COUNTS, _ROTARY_SIZE):
        if type(stated[name]) is not int or stated[name] < 1:
            raise CheckpointError(f"{where} has llama.{name} {short(stated[name])}; expected a whole number")
    for name in (_ROTARY_BASE, _EPSILON):
        if type(stated[name]) is not float or not 0 < stated[name] < 1e12:
            raise CheckpointError(
                f"{where} has llama.{name} {short(stated[name])}; expected a number above 0"
            )
    layers, width, heads = (
        stated[name] for name in ("block_count", "embedding_length", "attention.head_count")
    )
    if layers > _MOST_LAYERS or width % heads or stated[_ROTARY_SIZE] != width // heads:
        raise CheckpointError(
            f"{where} has {layers} layers, {width} numbers in {heads} heads, {stated[_ROTARY_SIZE]} of each "
            "rotated; expected heads of equal size that are rotated whole"
        )
    config = LlamaConfig(
        **{ours: stated[theirs] for theirs, ours in _COUNTS.items()},
        rms_norm_eps=_shortest(stated[_EPSILON]),
        rope_parameters={"rope_type": "default", "rope_theta": _shortest(stated[_ROTARY_BASE])},
        tie_word_embeddings=tied,
    )
    config.architectures = ["LlamaForCausalLM"]
    return config


def _shortest(value: float) -> float:
    """The number with the fewest digits that is this float32: 1e-05 instead of 9.999999747378752e-06."""
    return float(f"{value:.7g}")


def _names(layers: int, tied: bool) -> dict[str, str]:
    names = {theirs: ours for theirs, ours in _WHOLE.items() if not (tied and theirs == _OUTPUT)}
    for layer in range(layers):
        for theirs, ours in _LAYER.items():
            names[f"blk.{layer}.{theirs}.weight"] = f"model.layers.{layer}.{ours}.weight"
    return names


def _out(source: GgufFile, theirs: str, ours: str, heads: Mapping[str, int]) -> OutTensor:
    count = heads.get(theirs.split(".")[-2])

    def read() -> Tensor:
        values = source.get(theirs)
        return values if count is None else rows_to_halves(values, count)

    change = "" if count is None else "rows of each head from pairs to halves"
    return OutTensor(ours, source.infos[theirs], theirs, read, change)
