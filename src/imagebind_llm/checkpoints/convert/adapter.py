"""Published ImageBind-LLM adapter files → model folders.

``7B.pth`` or ``7B-pretrained.pth`` holds what training changed: the bind network (``image_bind_*``), one
query per injected layer (``prefix_query``), and of the language model gates, norms and, after finetuning,
biases and low-rank updates. With its language model and encoder it becomes an adapter folder that names both
by place and fingerprint, so that others are refused, or a whole folder with all three (``whole``).
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from imagebind_llm.checkpoints.convert.imagebind import encoder_of
from imagebind_llm.checkpoints.convert.llama import (
    FINAL_NORM,
    LAYER_LINEARS,
    LAYER_NORMS,
    LlamaWeights,
    on_model,
    open_llama,
    rotary_rule,
)
from imagebind_llm.checkpoints.convert.plan import KeyRule, OutTensor, Plan, as_they_are, to_ours, to_theirs
from imagebind_llm.checkpoints.convert.tokenizer import saved_tokenizer
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.locate import ADAPTER_FILE, NANO, relative_base_path
from imagebind_llm.common.tensor_files import (
    TensorFile,
    TensorInfo,
    TensorSource,
    on_meta,
    require_same_keys,
    require_same_shapes,
)
from imagebind_llm.encoders.imagebind.config import ImageBindConfig
from imagebind_llm.encoders.imagebind.kind import media_for
from imagebind_llm.encoders.imagebind.weights import skeleton
from imagebind_llm.model.adaptation import TRAINED_LORA, adapter_state_dict, language_model_fingerprint_of
from imagebind_llm.model.families import DecoderShape
from imagebind_llm.model.folders import ADAPTER_METADATA

if TYPE_CHECKING:
    from imagebind_llm.model.configuration import ImageBindLLMConfig


BIASED_LINEARS = ("attention.wq", "attention.wo", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
_OLD_PREFIX = re.compile(r"^llma\.")
_DROPPED_PREFIX = "prefix_projector_norm."
"""In some older files; never used by the model."""
_WHAT = "the ImageBind-LLM adapter"


@dataclass(frozen=True)
class AdapterLayout:
    """What an adapter file contains, read off its keys and shapes."""

    embedding_dim: int
    depth: int
    legacy: bool
    hidden: int
    query_layers: int
    lora_rank: int | None
    biases: bool

    @property
    def stage(self) -> str:
        """Files of the first stage have neither low-rank updates nor biases."""
        return "finetune" if self.lora_rank is not None else "pretrain"

    def settings(self) -> dict[str, Any]:
        """Arguments for an ``ImageBindLLMConfig``, without ``text_config``."""
        return {
            "embedding_dim": self.embedding_dim,
            "bind": {
                "depth": self.depth,
                "norm": "layer" if self.legacy else "rms",
                "hidden": self.hidden,
            },
            "injection": {"style": "value", "layers": self.query_layers, "query": True},
            "lora": None if self.lora_rank is None else {"rank": self.lora_rank, "scale": 1.0},
            "bias_targets": [LAYER_LINEARS[name] for name in BIASED_LINEARS] if self.biases else None,
            "norm_tuned": True,
            "stage": self.stage,
        }


def normalise_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under today's keys: an old misspelling mended, tensors that were never used dropped."""
    return {
        _OLD_PREFIX.sub("llama.", key): tensor
        for key, tensor in state.items()
        if not key.startswith(_DROPPED_PREFIX)
    }


def adapter_layout(state: Mapping[str, Tensor]) -> AdapterLayout:
    """Read the layout of an adapter file.

    Raises:
        CheckpointError: the tensors that tell it are missing, or have fewer axes.
    """
    try:
        lora = state.get("llama.layers.0.attention.lora_wq_l1.weight")
        return AdapterLayout(
            embedding_dim=state["image_bind_proj.weight"].shape[1],
            depth=sum(re.fullmatch(r"image_bind_f1_\d+\.weight", key) is not None for key in state),
            legacy="image_bind_norm_1.bias" in state,
            hidden=state["image_bind_f1_1.weight"].shape[0],
            query_layers=state["prefix_query.weight"].shape[0],
            lora_rank=None if lora is None else lora.shape[0],
            biases="llama.layers.0.attention.wq.bias" in state,
        )
    except KeyError as error:
        raise CheckpointError(f"{_WHAT} has no tensor {error}; is it an ImageBind-LLM checkpoint?") from None
    except IndexError:
        raise CheckpointError(
            f"{_WHAT} has vectors where matrices are expected; get the file again"
        ) from None


def adapter_from_original(state: Mapping[str, Tensor], shape: DecoderShape) -> dict[str, Tensor]:
    """The adapter's tensors under our model's names.

    Gates of layers without a query (the reference gives every layer one) have no effect and are left out.

    Args:
        state: the content of the file (after :func:`normalise_keys`).
        shape: sizes of the language model it was made for.

    Raises:
        CheckpointError: a key is missing or unexpected.
    """
    layout = adapter_layout(state)
    gates = gate_keys(shape.layers)
    rules = adapter_rules(layout, shape)
    require_same_keys([*(rule.theirs for rule in rules), *gates], state, _WHAT)
    ours = to_ours(rules, {key: tensor for key, tensor in state.items() if key not in gates}, _WHAT)
    used = gates[shape.layers - layout.query_layers :]
    ours["injection.gate"] = torch.stack([state[key].reshape(shape.heads) for key in used])
    return ours


def adapter_to_original(
    state: Mapping[str, Tensor], layout: AdapterLayout, shape: DecoderShape
) -> dict[str, Tensor]:
    """The inverse of :func:`adapter_from_original`; gates of layers without a query become 0."""
    rest = {key: tensor for key, tensor in state.items() if key != "injection.gate"}
    theirs = to_theirs(adapter_rules(layout, shape), rest, "the model")
    gate = state["injection.gate"]
    unused = gate.new_zeros(shape.layers - layout.query_layers, shape.heads)
    for key, row in zip(gate_keys(shape.layers), torch.cat((unused, gate)), strict=True):
        theirs[key] = row.reshape(1, shape.heads, 1, 1)
    return theirs


def adapter_rules(layout: AdapterLayout, shape: DecoderShape) -> list[KeyRule]:
    """The rules for all tensors of an adapter but its gates."""
    rules = [
        *_bind_rules(layout),
        KeyRule("prefix_query.weight", "injection.query"),
        KeyRule(f"llama.{FINAL_NORM[0]}", f"language_model.{FINAL_NORM[1]}"),
    ]
    for layer in range(shape.layers):
        there, here = f"llama.layers.{layer}", f"language_model.model.layers.{layer}"
        rules += [KeyRule(f"{there}.{a}.weight", f"{here}.{b}.weight") for a, b in LAYER_NORMS.items()]
        for name, ours in LAYER_LINEARS.items():
            group, _, leaf = name.rpartition(".")
            if layout.lora_rank is not None:
                first, second = (f"{there}.{group}.lora_{leaf}_l{half}.weight" for half in (1, 2))
                rules.append(KeyRule(first, f"{here}.{ours}.{TRAINED_LORA['down']}"))
                rules.append(rotary_rule(second, f"{here}.{ours}.{TRAINED_LORA['up']}", name, shape))
            if layout.biases and name in BIASED_LINEARS:
                inner = "base_layer.bias" if layout.lora_rank is not None else "bias"
                rules.append(rotary_rule(f"{there}.{name}.bias", f"{here}.{ours}.{inner}", name, shape))
    return rules


def _bind_rules(layout: AdapterLayout) -> list[KeyRule]:
    leaves = ("weight", "bias") if layout.legacy else ("weight",)
    rules = [KeyRule(f"image_bind_proj.{leaf}", f"bind.project.{leaf}") for leaf in ("weight", "bias")]
    for block in range(layout.depth):
        for part in ("norm", "f1", "f2", "f3"):
            rules += [
                KeyRule(f"image_bind_{part}_{block + 1}.{leaf}", f"bind.blocks.{block}.{part}.{leaf}")
                for leaf in leaves
            ]
    return rules


def gate_keys(layers: int) -> list[str]:
    """The keys of all gates, first layer to last."""
    return [f"llama.layers.{layer}.attention.gate" for layer in range(layers)]


_Result = TypeVar("_Result")
_TUNED = ("bias", "gate", "lora", "norm")
"""Parts of the names of what is kept of the language model; the original's own rule."""


def plan_adapter(
    path: Path,
    base_folder: Path,
    encoder_name: str,
    out: Path,
    full: bool = False,
    any_base: bool = False,
) -> Plan:
    """The conversion of a published (or trained with the original code) adapter.

    Refused as a wrong base: other sizes; of LLaMA-7B's sizes, another vocabulary; and for a file of the
    first stage, other norms, of which such a file holds copies. A finetuned file has norms of its own, so a
    wrong base of the right sizes (plain LLaMA instead of Open-Chinese-LLaMA) cannot be told by it; the
    distance of its norms to the base's is in the summary.

    Args:
        path: the adapter; of whole checkpoints of the original training the frozen part is left out.
        base_folder: the language model in transformers' layout (from ``convert llama`` or ``delta``).
        encoder_name: an ImageBind: a folder (from ``convert imagebind``), a model folder, ``"nano"`` or a hub
            id.
        out: where the result will be; the adapter names its parts relative to it.
        full: put the parts' weights into the result.
        any_base: leave out the checks of vocabulary and norms.

    Raises:
        CheckpointError: a file is unreadable; tensors are missing, unexpected or of other shapes; or a wrong
            base or encoder.
    """
    source = TensorFile(path)
    names, dropped = _selected(source)
    state = {name: source.get(key) for name, key in names.items()}
    layout = _named(path, adapter_layout, state)
    base = open_llama(base_folder)
    if base.original:
        raise CheckpointError(
            f"{str(base_folder)!r} is in Meta's layout; convert it first: imagebind-llm convert llama"
        )
    shape = DecoderShape.of(base.config)
    ours = _converted(state, layout, shape, path, base_folder)
    encoder = encoder_of(encoder_name)
    if encoder.config.embedding_dim != layout.embedding_dim:
        raise CheckpointError(
            f"{str(path)!r} takes embeddings of {layout.embedding_dim} numbers, but the encoder "
            f"{encoder_name!r} gives {encoder.config.embedding_dim}; use the one it was trained with"
        )
    distance = check_norms(base, ours, path, exact=layout.stage == "pretrain" and not any_base)
    if not any_base:
        check_vocabulary(base, path)

    from imagebind_llm.model.configuration import ImageBindLLMConfig

    fingerprints = {
        "encoder": encoder.fingerprint,
        "language_model": language_model_fingerprint_of(base.source, on_model(base.config)),
    }
    config = ImageBindLLMConfig(
        text_config=base.config,
        encoder_config={"type": "imagebind", **encoder.config.to_dict()},
        fingerprints=fingerprints,
        base_models=None if full else _places(base_folder, encoder_name, out),
        media=media_for(encoder.config).to_dict(),
        **layout.settings(),
    )
    tensors = _tensors(ours, layout, shape, lambda name: source.get(names[name]))
    del state, ours
    source.release()
    _require_ours(config, tensors, path, base_folder)
    if full:
        tensors = whole_tensors(config, tensors, base.tensors, encoder.source)
    return Plan(
        kind="adapter",
        tensors=tensors,
        sources=[source, base.source, encoder.source],
        finish=lambda stage: _finish(base, config, stage),
        dropped=dropped,
        summary={"stage": layout.stage, "fingerprints": fingerprints, "norms_differ_from_base": distance},
        stem="model" if full else ADAPTER_FILE.removesuffix(".safetensors"),
        metadata={"format": "pt"} if full else {**ADAPTER_METADATA, "stage": layout.stage},
        single=not full,
    )


def _named(path: Path, check: Callable[..., _Result], *arguments: Any) -> _Result:
    """What ``check`` gives, or its complaint with the name of the file."""
    try:
        return check(*arguments)
    except CheckpointError as error:
        raise CheckpointError(f"{str(path)!r}: {error}") from None


def _selected(source: TensorFile) -> tuple[dict[str, str], dict[str, str]]:
    """What the adapter is made of: today's name → its name in the file; and what is left out, and why."""
    kept: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for key in source.infos:
        frozen = key.startswith("image_bind.") or (
            key.startswith(("llama.", "llma.")) and not any(part in key for part in _TUNED)
        )
        named = [] if frozen else list(normalise_keys({key: torch.empty(0)}))
        if twice := [kept[name] for name in named if name in kept]:
            raise CheckpointError(
                f"{str(source.path)!r} holds the same tensor as {twice[0]} and as {key}; leave out one"
            )
        kept |= dict.fromkeys(named, key)
        if not named:
            dropped[key] = "frozen in training" if frozen else "never used"
    return kept, dropped


def _converted(
    state: Mapping[str, Tensor], layout: AdapterLayout, shape: DecoderShape, path: Path, base_folder: Path
) -> dict[str, Tensor]:
    """The adapter under our names; a base of other sizes is said to be one."""
    gates = [tensor for key, tensor in state.items() if key.endswith(".attention.gate")]
    for what, wanted, found in (
        ("width", state["image_bind_proj.weight"].shape[0], shape.width),
        ("number of layers", len(gates), shape.layers),
        ("number of heads", gates[0].numel() if gates else 0, shape.heads),
    ):
        if wanted != found:
            raise CheckpointError(
                f"{str(path)!r} is for a language model whose {what} is {wanted}, but that of "
                f"{str(base_folder)!r} is {found}; use the base it was trained with"
            )
    try:
        return _named(path, adapter_from_original, state, shape)
    except RuntimeError as error:  # rows that do not divide into heads
        raise CheckpointError(
            f"{str(path)!r} does not fit the language model in {str(base_folder)!r} ({error}); use the "
            "base it was trained with, or get the file again"
        ) from None


def _tensors(
    ours: Mapping[str, Tensor], layout: AdapterLayout, shape: DecoderShape, get: Callable[[str], Tensor]
) -> list[OutTensor]:
    """The result's tensors, read with ``get`` (by their names there) when they are written."""
    rules = {rule.ours: rule for rule in adapter_rules(layout, shape)}
    used = gate_keys(shape.layers)[shape.layers - layout.query_layers :]

    def reader(name: str) -> Callable[[], Tensor]:
        if name not in rules:
            return lambda: torch.stack([get(key).reshape(shape.heads) for key in used])
        theirs, change = rules[name].theirs, rules[name].forward
        return lambda: get(theirs) if change is None else change(get(theirs))

    def origin(name: str) -> tuple[str, str]:
        if name not in rules:
            return f"{used[0]} … {used[-1]}", "stacked"
        moved = rules[name].forward is not None
        return rules[name].theirs, "rows of each head from pairs to halves" if moved else ""

    return [
        OutTensor(
            name,
            TensorInfo(tuple(tensor.shape), tensor.dtype),
            origin(name)[0],
            reader(name),
            origin(name)[1],
        )
        for name, tensor in ours.items()
    ]


def _require_ours(
    config: "ImageBindLLMConfig", tensors: list[OutTensor], path: Path, base_folder: Path
) -> None:
    """Names and shapes are those of the model that the configuration makes."""
    import copy

    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    bare = copy.deepcopy(config)
    bare.encoder_config = None
    with torch.device("meta"):
        own = adapter_state_dict(ImageBindLLMForConditionalGeneration(bare))
    found = on_meta({tensor.name: tensor.info for tensor in tensors})
    what = f"{str(path)!r}, for the language model in {str(base_folder)!r},"
    require_same_keys(own, found, what)
    require_same_shapes(own, found, what)


def _places(base: Path, encoder: str, out: Path) -> dict[str, Any]:
    """Where the parts are, seen from the result, so that all may move together."""
    local = encoder != NANO and Path(encoder).expanduser().is_dir()
    return {
        "language_model": {"id": relative_base_path(base, out)},
        "encoder": {"id": relative_base_path(Path(encoder).expanduser(), out) if local else encoder},
    }


def _finish(base: LlamaWeights, config: "ImageBindLLMConfig", stage: Path) -> None:
    from transformers import GenerationConfig

    from imagebind_llm.media.settings import MediaSettings
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    config.architectures = ["ImageBindLLMForConditionalGeneration"]
    config.dtype = base.tensors["lm_head.weight"].info.dtype
    config.save_pretrained(stage)
    try:
        generation = GenerationConfig.from_pretrained(base.folder)
    except OSError:
        generation = GenerationConfig.from_model_config(config.text_config)
    generation.save_pretrained(stage)
    tokenizer = saved_tokenizer(base.folder, config.text_config.vocab_size)
    processor = ImageBindLLMProcessor(tokenizer, MediaSettings.from_dict(config.media or {}))
    processor.save_pretrained(stage)


_LANGUAGE_MODEL = "language_model."
_ENCODER = "encoder."
_WRAPPED = ".base_layer."
"""Between a linear layer and its weight, where a low-rank update wraps it."""


def whole_tensors(
    config: "ImageBindLLMConfig",
    adapter: Sequence[OutTensor],
    base: Mapping[str, OutTensor],
    encoder: TensorSource,
) -> list[OutTensor]:
    """Every tensor of the model that ``config`` makes, the adapter's before the base's.

    Raises:
        CheckpointError: no part has a tensor of that name, or it has another shape.
    """
    trained = {tensor.name: tensor for tensor in adapter}
    named = {f"{_ENCODER}{tensor.name}": tensor for tensor in as_they_are(encoder, encoder.infos)}
    found = []
    for name, (shape, floating) in _expected(config).items():
        tensor = trained.get(name) or named.get(name)
        if tensor is None and name.startswith(_LANGUAGE_MODEL):
            tensor = base.get(name.removeprefix(_LANGUAGE_MODEL).replace(_WRAPPED, "."))
        if tensor is None or tensor.info.shape != shape or tensor.info.dtype.is_floating_point != floating:
            what = "is missing" if tensor is None else f"is {list(tensor.info.shape)}, expected {list(shape)}"
            raise CheckpointError(f"{name} {what}; convert language model and encoder again")
        found.append(replace(tensor, name=name))
    return found


def _expected(config: "ImageBindLLMConfig") -> dict[str, tuple[tuple[int, ...], bool]]:
    """Names, shapes and kinds of the whole model's tensors."""
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    bare = copy.deepcopy(config)
    values = {key: value for key, value in (config.encoder_config or {}).items() if key != "type"}
    bare.encoder_config = None
    encoder = skeleton(ImageBindConfig.from_dict(values))
    with torch.device("meta"):
        model = ImageBindLLMForConditionalGeneration(bare, encoder=encoder)
    return {name: (tuple(t.shape), t.is_floating_point()) for name, t in model.state_dict().items()}


_PREFIX = "language_model."
_SIZES_7B = (32, 4096, 32, 32, 11008)
_VOCABULARY_7B = 32000
"""The original program refuses any other (it is LLaMA-1's, and Open-Chinese-LLaMA's)."""
_ROUNDING = 1e-2
"""Relative difference that two roundings to bfloat16 can make."""


def check_norms(base: LlamaWeights, adapter: Mapping[str, Tensor], path: Path, exact: bool) -> float:
    """Compare the norms in an adapter with the base's own.

    Args:
        base: the language model.
        adapter: tensors under our names.
        path: of the adapter, for the message.
        exact: whether they must be equal but for rounding: the first stage does not train them, so its file
            holds copies.

    Returns:
        The relative distance of all norms together, ``|adapter - base| / |base|``.

    Raises:
        CheckpointError: they differ and ``exact`` is set.
    """
    apart = total = 0.0
    worst = ("", 0.0)
    for name, tensor in base.tensors.items():
        mine = adapter.get(_PREFIX + name)
        if mine is None or not name.endswith("norm.weight"):
            continue
        theirs = tensor.read().double()
        gap = float(torch.linalg.vector_norm(mine.double() - theirs))
        size = float(torch.linalg.vector_norm(theirs))
        apart, total = apart + gap**2, total + size**2
        if gap > worst[1] * max(size, 1e-12):
            worst = (name, gap / max(size, 1e-12))
    base.source.release()
    if exact and worst[1] > _ROUNDING:
        raise CheckpointError(
            f"{str(path)!r} was trained on another base: it holds a copy of that one's norms, and "
            f"{worst[0]} differs by {worst[1]:.0%} from the one in {str(base.folder)!r}; use the base it was "
            "trained with, or say --any-base if you know better"
        )
    return round((apart / total) ** 0.5, 6) if total else 0.0


def check_vocabulary(base: LlamaWeights, path: Path) -> None:
    """Of LLaMA-7B's sizes only models with its vocabulary were ever used.

    Raises:
        CheckpointError: the base has another one.
    """
    config = base.config
    sizes = (
        config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.num_key_value_heads,
        config.intermediate_size,
    )  # fmt: skip
    if sizes == _SIZES_7B and config.vocab_size != _VOCABULARY_7B:
        raise CheckpointError(
            f"{str(path)!r} was trained on a language model with a vocabulary of {_VOCABULARY_7B}, but "
            f"{str(base.folder)!r} has {config.vocab_size}; use the base it was trained with, or say "
            "--any-base if you know better"
        )
