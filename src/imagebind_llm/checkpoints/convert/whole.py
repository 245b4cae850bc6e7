"""Adapter, language model and encoder in one list of tensors: a whole model folder."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from imagebind_llm.checkpoints.convert.plan import OutTensor, as_they_are
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.tensor_files import TensorSource
from imagebind_llm.encoders.imagebind.config import ImageBindConfig
from imagebind_llm.encoders.imagebind.weights import skeleton

if TYPE_CHECKING:
    from imagebind_llm.model.configuration import ImageBindLLMConfig

_LANGUAGE_MODEL = "language_model."
_ENCODER = "encoder."
_WRAPPED = ".base_layer."
"""Between a linear map and its weight, where a low-rank update wraps it."""


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
