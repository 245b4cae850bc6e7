"""``7B.pth`` or ``7B-pretrained.pth`` of ImageBind-LLM + its language model + its encoder → a model folder.

The file holds what training changed; the result is an adapter folder that names the two parts by place and
fingerprint, so that others are refused for ever after, or a whole folder with all three (``whole``).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from imagebind_llm.checkpoints.adapter import (
    AdapterLayout,
    adapter_from_original,
    adapter_layout,
    adapter_rules,
    gate_keys,
    normalise_keys,
)
from imagebind_llm.checkpoints.convert.base_checks import check_norms, check_vocabulary
from imagebind_llm.checkpoints.convert.imagebind import encoder_of
from imagebind_llm.checkpoints.convert.llama import LlamaWeights, on_model, open_llama
from imagebind_llm.checkpoints.convert.plan import OutTensor, Plan
from imagebind_llm.checkpoints.convert.tokenizer import saved_tokenizer
from imagebind_llm.checkpoints.convert.whole import whole_tensors
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.locate import ADAPTER_FILE, NANO, relative_place
from imagebind_llm.common.tensor_files import (
    TensorFile,
    TensorInfo,
    on_meta,
    require_same_keys,
    require_same_shapes,
)
from imagebind_llm.encoders.imagebind.kind import media_for
from imagebind_llm.model.adaptation import adapter_state_dict, language_model_fingerprint_of
from imagebind_llm.model.families import DecoderShape
from imagebind_llm.model.folders import ADAPTER_METADATA

if TYPE_CHECKING:
    from imagebind_llm.model.configuration import ImageBindLLMConfig

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
        "language_model": {"id": relative_place(base, out)},
        "encoder": {"id": relative_place(Path(encoder).expanduser(), out) if local else encoder},
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
