"""What finetuning may change in a language model, which parameters each stage trains, and their state dict.

Finetuning trains low-rank updates of the linear layers, biases (added where a layer has none) and norms;
everything else of the language model stays as published. The lists are declared by the language model's
family (:mod:`imagebind_llm.model.families`), never found by a substring of a name.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import CheckpointError, ConfigError
from imagebind_llm.common.fingerprint import StreamedTensors, fingerprint_state_dict
from imagebind_llm.common.tensor_files import require_same_keys, require_same_shapes
from imagebind_llm.model.conditioned_update import ConditionedLinear, note_conditions
from imagebind_llm.model.configuration import check_tuned
from imagebind_llm.model.families import bare_projections, base_linear, decoder_layers, family_of
from imagebind_llm.model.own_update import FILE_ADAPTER, OwnLinear, below_foreign, foreign_adapters

if TYPE_CHECKING:
    from imagebind_llm.common.tensor_files import TensorSource
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration


LORA_TOKENS = ("all", "conditioned")
"""On which tokens updates act."""
TRAINING_STAGES = ("pretrain", "finetune", "language")
TRAINED_LORA = {"down": f"lora_A.{FILE_ADAPTER}.weight", "up": f"lora_B.{FILE_ADAPTER}.weight"}
"""Names of the two halves of an update, relative to the map it belongs to."""


def add_lora(
    model: "ImageBindLLMForConditionalGeneration",
    rank: int = 16,
    scale: float = 1.0,
    dropout: float = 0.0,
    targets: Sequence[str] | None = None,
    tokens: str = "all",
) -> None:
    """Give linear layers of every decoder layer a low-rank update ``scale · B(A(x))``; ``B`` starts at 0.

    Args:
        model: the whole model; its configuration records the setting.
        rank: inner width of the update.
        scale: factor of the update (1 as published).
        dropout: on the input of the update, in training.
        targets: paths inside a decoder layer; ``None``: all linear layers of the family.
        tokens: ``"all"`` (as published), or ``"conditioned"``: those that see a condition. Text alone
            teaches such updates nothing; a loop of your own gives it conditions and ``condition_ids`` of -1.

    Raises:
        ConfigError: the model already has low-rank updates, or a path does not name a linear layer, or biases
            or norms, which act on all tokens, are tuned beside updates that do not.
    """
    if tokens not in LORA_TOKENS:
        raise ConfigError(f"tokens is {tokens!r}; expected one of {', '.join(LORA_TOKENS)}")
    if model.config.lora is not None:
        raise ConfigError(
            "the language model already has low-rank updates; merge them first (only those that act on all "
            "tokens can be)"
        )
    settings = {
        "rank": rank,
        "scale": scale,
        "dropout": dropout,
        "targets": _listed(targets),
        "tokens": tokens,
    }
    check_tuned(settings, model.config.bias_targets, model.config.norm_tuned)
    install_lora(model.language_model, settings)
    model.config.lora = settings


def widen_lora(model: "ImageBindLLMForConditionalGeneration", rank: int) -> None:
    """Give the low-rank updates a larger inner width. They compute what they did before: the new rows of
    ``A`` are drawn as at the start, the new columns of ``B`` are 0.

    Raises:
        ConfigError: there are no updates, they act on some tokens only, or ``rank`` is not above theirs.
    """
    settings = model.config.lora
    if settings is None or settings["tokens"] != "all" or rank <= settings["rank"]:
        raise ConfigError(
            f"only low-rank updates that act on all tokens can be made wider, to more than their rank; the "
            f"model has {settings}, rank {rank} was asked for"
        )
    targets = settings["targets"] or family_of(_model_type(model.language_model)).linears
    narrow = dict(_named_maps(model.language_model, targets))
    for name, module in narrow.items():
        parent, _, leaf = name.rpartition(".")
        setattr(model.language_model.get_submodule(parent), leaf, module.base_layer)
    model.config.lora = None
    add_lora(model, rank, settings["scale"], settings["dropout"], settings["targets"])
    with torch.no_grad():
        for name, module in narrow.items():
            wide: Any = model.language_model.get_submodule(name)
            wide.down[: settings["rank"]] = module.down
            wide.up[:, : settings["rank"]] = module.up


def add_biases(model: "ImageBindLLMForConditionalGeneration", targets: Sequence[str] | None = None) -> None:
    """Make the biases of linear layers trainable, adding one of zeros where there is none.

    Args:
        model: the whole model; its configuration records the setting.
        targets: paths inside a decoder layer; ``None``: those of the family (all but keys and values).
    """
    family = family_of(model.config.text_config.model_type)
    chosen = list(family.biased if targets is None else targets)
    check_tuned(model.config.lora, chosen, model.config.norm_tuned)
    install_biases(model.language_model, chosen)
    model.config.bias_targets = chosen


def tune_norms(model: "ImageBindLLMForConditionalGeneration") -> None:
    """Declare that finetuning trains the language model's norms."""
    check_tuned(model.config.lora, model.config.bias_targets, True)
    model.config.norm_tuned = True


def install_lora(language_model: nn.Module, settings: Mapping[str, Any]) -> None:
    """Wrap the linear layers as ``settings`` (the ``lora`` group of the configuration) says."""
    if names := foreign_adapters(language_model):
        raise ConfigError(
            f"the language model holds the peft adapters {', '.join(map(repr, names))}; merge them into it "
            "(merge_and_unload) before it gets low-rank updates"
        )
    targets = settings["targets"] or family_of(_model_type(language_model)).linears
    scale = settings["rank"] * settings["scale"] / settings["rank"]  # rounded as peft rounds it
    conditioned = settings["tokens"] == "conditioned"
    kind = ConditionedLinear if conditioned else OwnLinear
    for name, module in list(_named_maps(language_model, targets)):
        layer = kind(module, settings["rank"], scale, settings["dropout"])
        parent, _, leaf = name.rpartition(".")
        setattr(language_model.get_submodule(parent), leaf, layer)
        parts: list[Any] = list(layer.modules())
        for part in parts:
            part._is_hf_initialized = True  # transformers would draw it again
    if conditioned:
        attention = family_of(_model_type(language_model)).attention
        for block in decoder_layers(language_model):
            note_conditions(block.get_submodule(attention))


def install_biases(language_model: nn.Module, targets: Sequence[str]) -> None:
    """Add a bias of zeros to each linear layer of every decoder layer named in ``targets`` that has none."""
    for _, module in _named_maps(language_model, targets):
        linear = base_linear(module)
        if linear.bias is None:
            weight = linear.weight
            zeros = torch.zeros(linear.out_features, dtype=_compute_dtype(weight), device=weight.device)
            linear.bias = nn.Parameter(zeros)
            linear._is_hf_initialized = True


def trainable_parameters(
    model: "ImageBindLLMForConditionalGeneration", stage: str | Sequence[str]
) -> dict[str, nn.Parameter]:
    """The parameters a stage trains, by their name in the model.

    * ``"pretrain"``: bind network, gates and queries;
    * ``"finetune"``: low-rank updates, biases and norms, as far as the model has them;
    * ``"language"``: the language model (training one from scratch).

    Several stages may be named together.

    Raises:
        ConfigError: an unknown stage, or a model prepared for none of what ``"finetune"`` trains.
    """
    stages = (stage,) if isinstance(stage, str) else tuple(stage)
    chosen: dict[str, nn.Parameter] = {}
    for name in stages:
        if name not in TRAINING_STAGES:
            raise ConfigError(f"stage is {name!r}; expected one of {', '.join(TRAINING_STAGES)}")
        chosen.update(_of_stage(model, name))
    return chosen


def set_stage(
    model: "ImageBindLLMForConditionalGeneration", stage: str | Sequence[str]
) -> dict[str, nn.Parameter]:
    """Let exactly the parameters of ``stage`` require gradients, and record the stage; returns them."""
    chosen = trainable_parameters(model, stage)
    identities = {id(parameter) for parameter in chosen.values()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in identities)
    unfold_lora(model)
    for name in (stage,) if isinstance(stage, str) else stage:
        if name in ("pretrain", "finetune"):
            model.config.stage = name
    return chosen


def merge_lora(model: "ImageBindLLMForConditionalGeneration") -> None:
    """Fold the low-rank updates into the weights, for faster inference.

    In style ``"value"`` the injected values use the value projection *without* its update; for several
    vectors a condition, the key projection too. Those updates stay what they are, to be saved and trained;
    tokens use a folded copy of the projection (:mod:`imagebind_llm.model.folding`), until the model goes back
    to training. Updates that act on some tokens only stay what they are.
    """
    settings = model.config.lora
    if settings is None or settings["tokens"] == "conditioned":
        return
    refuse_foreign_adapters(model, "merging")
    family = family_of(model.config.text_config.model_type)
    targets = tuple(settings["targets"] or family.linears)
    used = bare_projections(family, model.injection.style, model.bind.tokens)
    kept = tuple(path for path in used if path in targets)
    folded = [target for target in targets if target not in kept]
    for name, module in list(_named_maps(model.language_model, folded)):
        module.merge()
        parent, _, leaf = name.rpartition(".")
        setattr(model.language_model.get_submodule(parent), leaf, base_linear(module))
    model.config.lora = {**settings, "targets": list(kept)} if kept else None
    if not kept:
        return
    from imagebind_llm.model.folding import fold_copy

    for _, module in _named_maps(model.language_model, kept):
        fold_copy(module)


def refuse_foreign_adapters(model: "ImageBindLLMForConditionalGeneration", doing: str) -> None:
    """Refuse a model that peft adapters of the user's were added to.

    Args:
        model: the model.
        doing: what cannot be done with it, for the message.

    Raises:
        ConfigError: there are some.
    """
    if names := foreign_adapters(model.language_model, model.bind, model.injection):
        raise ConfigError(
            f"the model holds the peft adapters {', '.join(map(repr, names))}, so {doing} is refused; call "
            "merge_and_unload() or unload() of the PeftModel first (its save_pretrained saves them alone)"
        )


def unfold_lora(model: "ImageBindLLMForConditionalGeneration") -> None:
    """Drop folded copies: for those who are about to change weights. The weights stay as they are."""
    if model.config.lora is None:
        return
    from imagebind_llm.model.folding import unfold

    for module in model.language_model.modules():
        unfold(module)


def _of_stage(model: "ImageBindLLMForConditionalGeneration", stage: str) -> dict[str, nn.Parameter]:
    if stage == "pretrain":
        bind = {f"bind.{name}": p for name, p in model.bind.named_parameters()}
        return bind | {f"injection.{name}": p for name, p in model.injection.named_parameters()}
    if stage == "language":
        return {f"language_model.{name}": p for name, p in model.language_model.named_parameters()}
    found = {f"language_model.{name}": p for name, p in tuned_parameters(model).items()}
    if not found:
        raise ConfigError(
            "the language model has nothing to finetune; call add_lora, add_biases or tune_norms first"
        )
    return found


def tuned_parameters(model: "ImageBindLLMForConditionalGeneration") -> dict[str, nn.Parameter]:
    """Low-rank updates, trained biases and trained norms, by their name in the language model."""
    language_model, config = model.language_model, model.config
    family = family_of(config.text_config.model_type)
    found: dict[str, nn.Parameter] = {}
    if config.lora is not None:
        for name, module in _named_maps(language_model, config.lora["targets"] or family.linears):
            own = below_foreign(module)
            for half, parameter in zip(TRAINED_LORA.values(), (own.down, own.up), strict=True):
                found[f"{name}.{half}"] = parameter
    for name, module in _named_maps(language_model, config.bias_targets or ()):
        own = below_foreign(module)
        found[f"{name}.base_layer.bias" if isinstance(own, OwnLinear) else f"{name}.bias"] = own.bias
    if config.norm_tuned:
        for name in norm_names(language_model):
            for leaf, parameter in language_model.get_submodule(name).named_parameters():
                found[f"{name}.{leaf}"] = parameter
    return found


def norm_names(language_model: nn.Module) -> list[str]:
    """Module names of all norms of a language model, as its family declares them (those that exist)."""
    family = family_of(_model_type(language_model))
    names = []
    for index, layer in enumerate(decoder_layers(language_model)):
        present = dict(layer.named_modules())
        names += [f"{family.layers}.{index}.{norm}" for norm in family.norms if norm in present]
    return [*names, family.final_norm]


def _named_maps(language_model: nn.Module, targets: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Name and module of each target in each decoder layer."""
    family = family_of(_model_type(language_model))
    for index, layer in enumerate(decoder_layers(language_model)):
        for target in targets:
            try:
                yield f"{family.layers}.{index}.{target}", layer.get_submodule(target)
            except AttributeError:
                raise ConfigError(
                    f"layer {index} of the language model has no map {target!r}; "
                    f"expected some of {', '.join(family.linears)}"
                ) from None


def _compute_dtype(weight: torch.Tensor) -> torch.dtype:
    return weight.dtype if weight.is_floating_point() else torch.get_default_dtype()


def _model_type(language_model: Any) -> str:
    return str(language_model.config.model_type)


def _listed(targets: Sequence[str] | None) -> list[str] | None:
    return None if targets is None else list(targets)


UPDATE_MODULES = {half.partition(".")[0] for half in TRAINED_LORA.values()}
"""Names of the modules that hold the halves of a low-rank update."""


def adapter_state_dict(model: "ImageBindLLMForConditionalGeneration") -> dict[str, Tensor]:
    """The model's own bind network, gates, queries and all that finetuning changes, by their names in it."""
    found = {name: parameter.detach() for name, parameter in trainable_parameters(model, "pretrain").items()}
    for name, parameter in tuned_parameters(model).items():
        found[f"language_model.{name}"] = parameter.detach()
    return found


def saved_bytes(model: "ImageBindLLMForConditionalGeneration", adapter_only: bool) -> int:
    """Size of the weights when the model is saved."""
    state = adapter_state_dict(model) if adapter_only else model.state_dict()
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def load_adapter_state_dict(
    model: "ImageBindLLMForConditionalGeneration",
    state: Mapping[str, Tensor],
    what: str = "the adapter",
) -> None:
    """Copy ``state`` into the model, which keeps its dtypes.

    Raises:
        CheckpointError: not exactly the tensors that :func:`adapter_state_dict` gives, or other shapes.
    """
    own = adapter_state_dict(model)
    require_same_keys(own, state, what)
    require_same_shapes(own, state, what)
    unfold_lora(model)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])


def language_model_fingerprint(language_model: nn.Module) -> str:
    """The fingerprint of the frozen part of a language model: its weights without norms, biases and updates.

    Those belong to the adapter, so the fingerprint is the same before and after finetuning.
    """
    state = language_model.state_dict()
    return fingerprint_state_dict({_plain(name): state[name] for name in frozen_names(language_model)})


def _plain(name: str) -> str:
    """A tensor's name without what a low-rank update puts into it."""
    return name.replace(".base_layer.", ".")


def frozen_names(language_model: nn.Module) -> list[str]:
    """Names of the tensors that no finetuning changes: all but norms, biases and low-rank updates."""
    norms = tuple(f"{name}." for name in norm_names(language_model))
    return [
        name
        for name in language_model.state_dict()
        if not name.endswith(".bias")
        and not name.startswith(norms)
        and UPDATE_MODULES.isdisjoint(name.split("."))
    ]


def language_model_fingerprint_of(source: "TensorSource", skeleton: nn.Module) -> str:
    """What :func:`~imagebind_llm.model.adaptation.language_model_fingerprint` gives for the loaded model.

    Args:
        source: the tensors, in transformers' layout.
        skeleton: the model, also on the meta device, with its low-rank updates folded or not; a tensor that
            has two names in it may be stored under either.

    Raises:
        CheckpointError: a tensor of the model is not among them.
    """
    state, there = skeleton.state_dict(keep_vars=True), {_plain(name): name for name in source.infos}
    stored = {id(tensor): there[_plain(name)] for name, tensor in state.items() if _plain(name) in there}
    frozen = frozen_names(skeleton)
    missing = [name for name in frozen if id(state[name]) not in stored]
    if missing:
        where = f"{str(source.files[0].parent)!r}" if source.files else "the folder"
        raise CheckpointError(
            f"{where} lacks {len(missing)} tensors of its model ({missing[0]}, …); get the folder again"
        )
    names = {_plain(name): stored[id(state[name])] for name in frozen}
    return fingerprint_state_dict(StreamedTensors(source, names))
