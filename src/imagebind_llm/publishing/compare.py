"""Folding low-rank updates into the weights, and looking whether the model still says the same."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.model.adaptation import merge_lora

if TYPE_CHECKING:
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

_ROWS, _LENGTH = 4, 24
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1.5e-1}
"""Largest change of a logit, as a share of the spread of the logits. Rounding the weights of every map shifts
sums of many terms; these bounds are some times what was seen on small models."""


@dataclass(frozen=True)
class Comparison:
    """Logits before and after, on random tokens with and without conditions.

    Attributes:
        largest: largest absolute difference of a logit.
        spread: standard deviation of the logits before.
        agreement: share of positions with the same likeliest token.
        allowed: largest difference that would have passed.
    """

    largest: float
    spread: float
    agreement: float
    allowed: float


def merge_and_compare(model: "ImageBindLLMForConditionalGeneration") -> Comparison:
    """Merge in place (:func:`~imagebind_llm.model.adaptation.merge_lora`) and compare.

    Raises:
        CheckpointError: the model has no low-rank updates, or its logits changed by more than rounding does.
    """
    if model.config.lora is None:
        raise CheckpointError("the model has no low-rank updates to merge; export it with --full")
    before = probe_logits(model)
    merge_lora(model)
    after = probe_logits(model)
    spread = float(before.std())
    dtype = next(model.language_model.parameters()).dtype
    allowed = _TOLERANCE.get(dtype, _TOLERANCE[torch.float32]) * spread
    found = Comparison(
        largest=float((after - before).abs().max()),
        spread=spread,
        agreement=float((after.argmax(-1) == before.argmax(-1)).float().mean()),
        allowed=allowed,
    )
    if not found.largest <= allowed:  # also when it is not a number
        raise CheckpointError(
            f"the merged model answers differently: logits differ by up to {found.largest:.3g}, rounding "
            f"explains {allowed:.3g}; export with --full, or in a finer --dtype"
        )
    return found


@torch.no_grad()
def probe_logits(model: "ImageBindLLMForConditionalGeneration") -> Tensor:
    """Logits ``[rows, length, vocabulary]``, float32, of fixed random tokens; half the rows see a
    condition."""
    generator = torch.Generator().manual_seed(0)
    config = model.config.text_config
    limit = getattr(config, "max_position_embeddings", None) or _LENGTH
    device = model.language_model.device
    ids = torch.randint(config.vocab_size, (_ROWS, min(_LENGTH, limit)), generator=generator)
    vectors = torch.randn(_ROWS // 2, model.config.embedding_dim, generator=generator)
    conditions = torch.nn.functional.normalize(vectors, dim=-1).to(device, model.bind.project.weight.dtype)
    rows = torch.tensor([[0], [1], [-1], [-1]]).expand_as(ids)
    outputs = model(ids.to(device), conditions=conditions, condition_ids=rows.to(device))
    logits: Tensor = outputs.logits.float().cpu()
    return logits
