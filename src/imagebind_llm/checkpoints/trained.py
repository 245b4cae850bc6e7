"""The tensors that training changes, as a state dict of their own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from imagebind_llm.adaptation import TRAINED_LORA, norm_names, trainable_parameters, tuned_parameters
from imagebind_llm.common.fingerprint import fingerprint_state_dict
from imagebind_llm.common.tensor_files import require_same_keys, require_same_shapes

if TYPE_CHECKING:
    from imagebind_llm.modeling import ImageBindLLMForConditionalGeneration

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
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])


def language_model_fingerprint(language_model: nn.Module) -> str:
    """The fingerprint of the frozen part of a language model: its weights without norms, biases and updates.

    Those belong to the adapter, so the fingerprint is the same before and after finetuning.
    """
    state = language_model.state_dict()
    return fingerprint_state_dict(
        {name.replace(".base_layer.", "."): state[name] for name in frozen_names(language_model)}
    )


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
