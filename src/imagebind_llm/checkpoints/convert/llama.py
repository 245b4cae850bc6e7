"""LLaMA in Meta's layout → transformers' ``LlamaForCausalLM``.

Meta's folder holds ``consolidated.*.pth``, ``params.json`` and ``tokenizer.model``. Checkpoints that were cut
for several GPUs are joined; a single file is the same with one piece.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagebind_llm.checkpoints.convert.plan import KeyRule, OutTensor, Plan, as_they_are, to_ours, to_theirs
from imagebind_llm.checkpoints.convert.tokenizer import find_tokenizer, load_original_tokenizer
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.tensor_files import (
    TensorFile,
    TensorInfo,
    TensorSource,
    on_meta,
    require_same_keys,
    require_same_shapes,
    weights_of,
)
from imagebind_llm.model.families import DecoderShape

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase


LAYER_LINEARS = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}
"""Linear layers of a layer, their name → ours."""
LAYER_NORMS = {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
FINAL_NORM = ("norm.weight", "model.norm.weight")
_IGNORED = "rope"
"""Part of the keys of rotary frequency buffers, which are computed."""


def rows_to_halves(tensor: Tensor, heads: int) -> Tensor:
    """Reorder the output rows of a query or key projection from neighbouring pairs to halves.

    The original rotates rows ``(2i, 2i + 1)`` of each head, transformers ``(i, i + head_dim / 2)``. The
    same holds for all that is added to that output: biases and the second half of a low-rank update.

    Args:
        tensor: ``[heads * head_dim, …]``.
        heads: number of heads in the rows.
    """
    pairs = tensor.unflatten(0, (heads, tensor.shape[0] // heads // 2, 2))
    return pairs.transpose(1, 2).flatten(0, 2)


def rows_to_pairs(tensor: Tensor, heads: int) -> Tensor:
    """The inverse of :func:`rows_to_halves`."""
    halves = tensor.unflatten(0, (heads, 2, tensor.shape[0] // heads // 2))
    return halves.transpose(1, 2).flatten(0, 2)


def rotary_rule(theirs: str, ours: str, name: str, shape: DecoderShape) -> KeyRule:
    """The rule for an output-side tensor of the map called ``name`` there; queries and keys are reordered."""
    heads = {"attention.wq": shape.heads, "attention.wk": shape.kv_heads}.get(name)
    if heads is None:
        return KeyRule(theirs, ours)
    return KeyRule(theirs, ours, partial(rows_to_halves, heads=heads), partial(rows_to_pairs, heads=heads))


def llama_rules(shape: DecoderShape) -> list[KeyRule]:
    """The rules for a whole language model."""
    rules = [
        KeyRule("tok_embeddings.weight", "model.embed_tokens.weight"),
        KeyRule(*FINAL_NORM),
        KeyRule("output.weight", "lm_head.weight"),
    ]
    for layer in range(shape.layers):
        for theirs, ours in LAYER_LINEARS.items():
            rules.append(
                rotary_rule(
                    f"layers.{layer}.{theirs}.weight", f"model.layers.{layer}.{ours}.weight", theirs, shape
                )
            )
        rules += [
            KeyRule(f"layers.{layer}.{theirs}.weight", f"model.layers.{layer}.{ours}.weight")
            for theirs, ours in LAYER_NORMS.items()
        ]
    return rules


def llama_from_original(state: Mapping[str, Tensor], shape: DecoderShape) -> dict[str, Tensor]:
    """Meta's tensors as transformers' state dict. Keys of rotary buffers are ignored.

    Raises:
        CheckpointError: a key is missing or unexpected.
    """
    kept = {key: tensor for key, tensor in state.items() if _IGNORED not in key}
    return to_ours(llama_rules(shape), kept, "the LLaMA checkpoint")


def llama_to_original(state: Mapping[str, Tensor], shape: DecoderShape) -> dict[str, Tensor]:
    """The inverse of :func:`llama_from_original`."""
    return to_theirs(llama_rules(shape), state, "the language model")


def llama_config(
    params: Mapping[str, Any], state: Mapping[str, Tensor], max_positions: int = 2048
) -> "LlamaConfig":
    """The transformers configuration of an original checkpoint.

    Args:
        params: content of its ``params.json``; ``vocab_size`` -1 there means "see the tokenizer".
        state: its tensors (on any device), for the sizes that ``params.json`` does not hold.
        max_positions: context the model was trained for.

    Raises:
        CheckpointError: ``params`` and ``state`` do not belong together.
    """
    from transformers import LlamaConfig

    try:
        vocabulary, width = state["tok_embeddings.weight"].shape
        hidden = state["layers.0.feed_forward.w1.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError(
            f"the LLaMA checkpoint has no {error}; is it an original 'consolidated' file?"
        ) from None
    if width != params["dim"]:
        raise CheckpointError(
            f"the LLaMA checkpoint is {width} wide, params.json says {params['dim']}; use the pair that "
            f"belongs"
        )
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=params["n_layers"],
        num_attention_heads=params["n_heads"],
        num_key_value_heads=params.get("n_kv_heads") or params["n_heads"],
        rms_norm_eps=params["norm_eps"],
        max_position_embeddings=max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": float(params.get("rope_theta", 10000.0))},
        tie_word_embeddings=False,
    )


PARAMS_FILE = "params.json"
CONTEXT = 2048
"""Positions LLaMA 1 was trained for; ``params.json`` does not say."""
_PIECE = re.compile(r"consolidated\.(\d+)\.pth")
_NEEDED = ("dim", "n_layers", "n_heads", "norm_eps")
_COUNTS = ("dim", "n_layers", "n_heads", "n_kv_heads", "max_seq_len")
"""Whole numbers above 0."""
_NUMBERS = ("norm_eps", "rope_theta", "vocab_size")
_KNOWN = (
    *_COUNTS, *_NUMBERS, "multiple_of", "ffn_dim_multiplier", "max_batch_size", "use_scaled_rope",
)  # fmt: skip
_ROTARY = "rope"
"""Part of the names of rotary frequency buffers, which are computed."""
_COMPUTED = re.compile(r"rope|rotary_emb\.inv_freq")


@dataclass(frozen=True)
class LlamaWeights:
    """A LLaMA on disk, in either layout, seen in transformers' layout."""

    folder: Path
    config: "LlamaConfig"
    tensors: dict[str, OutTensor]
    source: TensorSource
    dropped: dict[str, str]
    original: bool
    """Whether it is in Meta's layout."""


def plan_llama(
    folder: Path,
    tokenizer_file: Path | None = None,
    context: int | None = None,
    dtype: torch.dtype | None = None,
) -> Plan:
    """The conversion of an original LLaMA folder.

    Args:
        folder: with ``params.json`` and ``consolidated.00.pth`` (and ``.01`` …).
        tokenizer_file: ``tokenizer.model`` (default: in ``folder`` or the one above).
        context: positions the model was trained for (default: ``max_seq_len`` of ``params.json``, else 2048).
        dtype: precision of the result, ``None`` for that of the files.

    Raises:
        CheckpointError: a file is missing or unreadable; tensors are missing, unexpected, of other shapes or
            do not fit together; the tokenizer has another vocabulary.
        MissingExtraError: SentencePiece is not installed.
    """
    weights = open_original(folder, context)
    tokenizer = load_original_tokenizer(find_tokenizer(folder, tokenizer_file), weights.config.vocab_size)
    return Plan(
        kind="llama",
        tensors=[tensor.cast(dtype) for tensor in weights.tensors.values()],
        sources=[weights.source],
        finish=writer(weights, tokenizer, dtype),
        dropped=weights.dropped,
        summary=describe(weights.config),
    )


def open_original(folder: Path, context: int | None = None) -> LlamaWeights:
    """An original folder, checked. See :func:`plan_llama`."""
    params = _params(folder)
    return _checked(folder, params, MergedFiles(_pieces(folder), params["dim"]), context)


def open_llama(path: Path) -> LlamaWeights:
    """A folder in Meta's or in transformers' layout, told apart by what is in it.

    Raises:
        CheckpointError: neither; or as :func:`plan_llama`.
    """
    if (path / PARAMS_FILE).is_file():
        return open_original(path)
    if not (path / "config.json").is_file():
        raise CheckpointError(f"{str(path)!r} has neither {PARAMS_FILE} nor config.json; give a LLaMA folder")
    from transformers import LlamaConfig

    kind = read_json(path / "config.json").get("model_type")
    if kind != "llama":
        raise CheckpointError(f"{str(path)!r} holds a model of type {kind!r}; expected 'llama'")
    try:
        config = LlamaConfig.from_pretrained(path, local_files_only=True)
        expected = on_skeleton(config)
    except Exception as error:  # transformers' checks, and what torch's modules make of the values, are many
        reason = " ".join((str(error).strip() or type(error).__name__).split())
        raise CheckpointError(
            f"no LLaMA can be built from {str(path / 'config.json')!r} ({reason}); get the file again"
        ) from None
    files = weights_of(path)
    kept = {key: info for key, info in files.infos.items() if not _COMPUTED.search(key)}
    require_same_keys(expected, kept, f"the LLaMA in {str(path)!r}")
    require_same_shapes(expected, on_meta(kept), f"the LLaMA in {str(path)!r}")
    tensors = {tensor.name: tensor for tensor in as_they_are(files, expected)}
    return LlamaWeights(path, config, tensors, files, {}, original=False)


def on_model(config: "LlamaConfig") -> "LlamaForCausalLM":
    """transformers' model without values."""
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        return LlamaForCausalLM(config)


def on_skeleton(config: "LlamaConfig") -> dict[str, Tensor]:
    """Names and shapes of transformers' model."""
    return dict(on_model(config).state_dict())


def writer(
    weights: LlamaWeights, tokenizer: "PreTrainedTokenizerBase", dtype: torch.dtype | None
) -> Callable[[Path], None]:
    """What writes configuration, generation settings and tokenizer beside the weights."""

    def finish(stage: Path) -> None:
        from transformers import GenerationConfig

        config = weights.config
        config.architectures = ["LlamaForCausalLM"]
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.dtype = dtype or weights.tensors["lm_head.weight"].info.dtype
        config.save_pretrained(stage)
        GenerationConfig(
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id
        ).save_pretrained(stage)
        tokenizer.save_pretrained(stage)

    return finish


def describe(config: "LlamaConfig") -> dict[str, Any]:
    """Sizes, for people."""
    shape = DecoderShape.of(config)
    return {
        "layers": shape.layers,
        "width": shape.width,
        "heads": shape.heads,
        "key_value_heads": shape.kv_heads,
        "vocabulary": config.vocab_size,
        "context": config.max_position_embeddings,
    }


def _params(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {str(folder)!r}; give one with {PARAMS_FILE}")
    if not (folder / PARAMS_FILE).is_file() and (folder / "config.json").is_file():
        raise CheckpointError(f"{str(folder)!r} is in transformers' layout already; use it as it is")
    params = read_json(folder / PARAMS_FILE)
    where = str(folder / PARAMS_FILE)
    missing = [name for name in _NEEDED if params.get(name) is None]
    if missing:
        raise CheckpointError(f"{where!r} has no number {missing[0]!r}; it is not that of a LLaMA")
    for name in (*_COUNTS, *_NUMBERS):
        value = params.get(name)
        kinds = int if name in _COUNTS else int | float
        wrong = not isinstance(value, kinds) or isinstance(value, bool) or (name in _COUNTS and value < 1)
        if value is not None and wrong:
            what = "a whole number above 0" if name in _COUNTS else "a number"
            raise CheckpointError(
                f"{where!r} has {value!r} for {name!r}, expected {what}; get the file again"
            )
    if params["dim"] % (2 * params["n_heads"]):
        raise CheckpointError(
            f"{where!r} shares a width of {params['dim']} among {params['n_heads']} heads, which does not go "
            "into pairs; get the file again"
        )
    unknown = sorted(name for name in params if name not in _KNOWN)
    if unknown or params.get("use_scaled_rope"):
        raise CheckpointError(
            f"{where!r} has {unknown[0] if unknown else 'use_scaled_rope'!r}, which LLaMA 1, 2 and 3.0 do "
            "not; for newer ones use the folder that their makers publish for transformers"
        )
    return params


def _pieces(folder: Path) -> list[Path]:
    found = {
        int(match.group(1)): file
        for file in sorted(folder.glob("*.pth"))
        if (match := _PIECE.fullmatch(file.name))
    }
    if not found:
        raise CheckpointError(f"{str(folder)!r} has no consolidated.00.pth; give the folder that holds it")
    missing = [number for number in range(max(found) + 1) if number not in found]
    if missing:
        raise CheckpointError(
            f"{str(folder)!r} has no consolidated.{missing[0]:02}.pth but later ones; download it"
        )
    return [found[number] for number in sorted(found)]


def _checked(folder: Path, params: dict[str, Any], source: TensorSource, context: int | None) -> LlamaWeights:
    what = f"the LLaMA in {str(folder)!r}"
    kept = {key: info for key, info in source.infos.items() if _ROTARY not in key}
    config = llama_config(params, on_meta(kept), context or params.get("max_seq_len") or CONTEXT)
    said = params.get("vocab_size", -1)
    if said > 0 and said != config.vocab_size:
        raise CheckpointError(
            f"{what} has {config.vocab_size} rows of token embedding, {PARAMS_FILE} says {said}; use the "
            "pair that belongs"
        )
    rules = llama_rules(DecoderShape.of(config))
    require_same_keys([rule.theirs for rule in rules], kept, what)
    expected = on_skeleton(config)
    require_same_shapes({rule.theirs: expected[rule.ours] for rule in rules}, on_meta(kept), what)
    tensors = {rule.ours: _renamed(rule, kept[rule.theirs], source) for rule in rules}
    dropped = {key: "computed" for key in source.infos if _ROTARY in key}
    return LlamaWeights(
        folder, config, {name: tensors[name] for name in expected}, source, dropped, original=True
    )


def _renamed(rule: KeyRule, info: TensorInfo, source: TensorSource) -> OutTensor:
    change = rule.forward

    def read() -> Tensor:
        values = source.get(rule.theirs)
        return values if change is None else change(values)

    words = "" if change is None else "rows of each head from pairs to halves"
    return OutTensor(rule.ours, info, rule.theirs, read, words)


_BY_OUTPUT = ("wq", "wk", "wv", "w1", "w3", "output")
"""Maps whose outputs were shared out: their rows follow each other."""
_BY_INPUT = ("wo", "w2")
"""Maps whose inputs were: their columns do."""
_EMBEDDING = "tok_embeddings"


class MergedFiles:
    """The pieces of each tensor joined again; what every file holds whole is taken from the first.

    Args:
        paths: all files, in order.
        width: of the model (``dim`` in ``params.json``); it tells how the token embedding was cut, by
            columns (LLaMA 1 and 2) or by rows (3).

    Raises:
        CheckpointError: as :class:`TensorFile`, files that do not hold the same tensors, or too few of them.
    """

    def __init__(self, paths: Sequence[Path], width: int) -> None:
        self._parts = [TensorFile(path) for path in paths]
        self._width = width
        first = self._parts[0]
        for part in self._parts[1:]:
            if part.infos.keys() != first.infos.keys():
                odd = sorted(part.infos.keys() ^ first.infos.keys())
                raise CheckpointError(
                    f"{first.path.name} and {part.path.name} do not hold the same tensors ({len(odd)} "
                    f"differ: {odd[0]}, …); use the files of one model"
                )
        self._infos = {key: self._joined(key) for key in first.infos}
        columns = [info.shape[-1] for key, info in self._infos.items() if key == f"{_EMBEDDING}.weight"]
        if columns and columns[0] != width:
            raise CheckpointError(
                f"the {len(paths)} consolidated files in {str(paths[0].parent)!r} hold {columns[0]} columns "
                f"of the token embedding, params.json says {width}; get the files that are missing, or the "
                "params.json that belongs"
            )

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor, with the shape it has when joined."""
        return self._infos

    @property
    def files(self) -> list[Path]:
        """All files, in order."""
        return [part.path for part in self._parts]

    def get(self, key: str) -> Tensor:
        """One tensor, joined.

        Raises:
            CheckpointError: the files disagree on one that each holds whole.
        """
        pieces = [part.get(key) for part in self._parts]
        axis = None if len(pieces) == 1 else self._axis(key)
        if axis is not None:
            return torch.cat(pieces, dim=axis)
        for part, piece in zip(self._parts, pieces, strict=True):
            if not torch.equal(piece, pieces[0]):
                raise CheckpointError(
                    f"{self._parts[0].path.name} and {part.path.name} have different values of {key}; "
                    "use the files of one model"
                )
        return pieces[0]

    def release(self) -> None:
        """Unmap all files."""
        for part in self._parts:
            part.release()

    def _axis(self, key: str) -> int | None:
        """Along which axis the pieces follow each other; ``None`` for tensors that were not cut."""
        name = key.removesuffix(".weight").rpartition(".")[2]
        if name == _EMBEDDING:
            return 0 if self._parts[0].infos[key].shape[-1] == self._width else 1
        return 0 if name in _BY_OUTPUT else 1 if name in _BY_INPUT else None

    def _joined(self, key: str) -> TensorInfo:
        infos = [part.infos[key] for part in self._parts]
        axis = self._axis(key)
        sizes = [list(info.shape) for info in infos]
        if axis is not None and all(len(size) == 2 for size in sizes):
            total = sum(size[axis] for size in sizes)
            for size in sizes:
                size[axis] = total
        if any(size != sizes[0] for size in sizes) or len({info.dtype for info in infos}) > 1:
            shapes = ", ".join(str(list(info.shape)) for info in infos)
            raise CheckpointError(
                f"the pieces of {key} do not fit together ({shapes}); use the files of one model"
            )
        return TensorInfo(tuple(sizes[0]), infos[0].dtype)
