"""From messages to examples: the same rendering as at inference, with a picture's embedding for its
condition."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.data.packing import Example
from imagebind_llm.mixing import mix
from imagebind_llm.model.dialog import build_dialog

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Embed = Callable[[Sequence[Any]], Tensor]
"""Sources of media parts to unit rows ``[M, D]``."""


def to_example(
    messages: Sequence[Mapping[str, Any]],
    tokenizer: "PreTrainedTokenizerBase",
    embed: Embed | None = None,
    learn_all: bool = False,
) -> Example:
    """Render a dialog and look up its media.

    Args:
        messages: see :mod:`imagebind_llm.messages`.
        embed: gives the embeddings of media sources; several in one message are mixed by their weights.
        learn_all: learn every token, not just the assistant's.

    Raises:
        UserError: the dialog is malformed, has nothing to learn, or brings media while ``embed`` is None.
    """
    dialog = build_dialog(messages, tokenizer)
    learnt = [True] * len(dialog) if learn_all else dialog.labels_mask
    if not any(learnt[1:]):
        raise UserError(
            f"a dialog of {len(messages)} messages has no assistant's token to learn; check its roles"
        )
    conditions = None
    if dialog.conditions:
        if embed is None:
            raise UserError(f"a text-only dialog brings {len(dialog.conditions)} media; leave them out")
        items = [(number, item) for number, group in enumerate(dialog.conditions) for item in group]
        conditions = mix(
            embed([item.source for _, item in items]),
            torch.tensor([item.weight for _, item in items]),
            torch.tensor([number for number, _ in items]),
            len(dialog.conditions),
        )
    return Example(dialog.input_ids, learnt, dialog.condition_ids, conditions)


def pick_kind(rng: np.random.Generator, mixture: Mapping[str, float], known: Sequence[str]) -> str:
    """One of the mixture's kinds by its share.

    Raises:
        ConfigError: a kind that does not exist.
    """
    for name in mixture:
        if name not in known:
            raise ConfigError(f"mixture names {name!r}; known are {', '.join(known)}")
    shares = np.array(list(mixture.values()), dtype=float)
    return list(mixture)[int(np.searchsorted(np.cumsum(shares) / shares.sum(), rng.random(), side="right"))]
