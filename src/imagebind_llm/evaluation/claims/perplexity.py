"""How well a language model foretells text: perplexity of a token, and bits of a byte.

Perplexity depends on how text is cut into tokens, so it compares models of one tokenizer only. Bits of a byte
compare any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.bootstrap import Sums, estimates
from imagebind_llm.evaluation.suite import Floats, Item, Sample, ratio

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from imagebind_llm.model.dialog import Dialog

_AT_ONCE = 32


@dataclass(frozen=True)
class Text:
    """Tokens, and which of them count.

    Attributes:
        ids: the tokens; the first one is given, not foretold.
        counted: for each token whether it must be foretold.
        size: bytes (UTF-8) of what the counted tokens say; control tokens say nothing.
    """

    ids: tuple[int, ...]
    counted: tuple[bool, ...]
    size: int

    @classmethod
    def plain(cls, text: str, tokenizer: PreTrainedTokenizerBase) -> Text:
        """A text without a chat template, after the token that begins texts; every token counts.

        Raises:
            UserError: the tokenizer has no token that begins or ends texts.
        """
        from imagebind_llm.model.dialog import encode_prompt

        ids = encode_prompt(text, tokenizer)
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if start is None:
            raise UserError("the tokenizer has no token that begins texts; its perplexity is not defined")
        if not ids or ids[0] != start:
            ids = [start, *ids]
        return cls(tuple(ids), (False, *[True] * (len(ids) - 1)), len(text.encode()))

    @classmethod
    def answers(cls, dialog: Dialog, answers: Sequence[str]) -> Text:
        """A dialog of which only the assistant's words, and their ends, count."""
        size = sum(len(answer.encode()) for answer in answers)
        return cls(tuple(dialog.input_ids), (False, *dialog.labels_mask[1:]), size)

    @classmethod
    def whole(cls, dialog: Dialog, words: Sequence[str]) -> Text:
        """A dialog of which everything counts that both sides say (``words``), and its control tokens."""
        ids = dialog.input_ids
        return cls(tuple(ids), (False, *[True] * (len(ids) - 1)), sum(len(word.encode()) for word in words))


def surprises(model: Any, texts: Sequence[Text], conditions: Tensor | None = None) -> Floats:
    """Natural logarithms of one over the probability of each text's counted tokens: ``[N]``, in nats.

    Args:
        model: a language model of transformers, or a whole ImageBind-LLM, in evaluation mode.
        texts: no longer than the model's context.
        conditions: ``[N, D]``; every token of text ``n`` sees condition ``n``. None: the plain model.

    Raises:
        UserError: a text is longer than the context, or has nothing to foretell.
    """
    import torch

    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for text in texts:
        if limit is not None and len(text.ids) > limit:
            raise UserError(f"a text of {len(text.ids)} tokens; the model's context is {limit}")
        if not any(text.counted):
            raise UserError("a text without a token to foretell; leave it out")
    found = np.zeros(len(texts))
    order = sorted(range(len(texts)), key=lambda number: len(texts[number].ids))
    with torch.inference_mode():
        for start in range(0, len(order), _AT_ONCE):
            part = order[start : start + _AT_ONCE]
            width = max(len(texts[number].ids) for number in part)
            ids = torch.zeros(len(part), width, dtype=torch.long)
            there, counted = torch.zeros_like(ids), torch.zeros(len(part), width, dtype=torch.bool)
            for row, number in enumerate(part):
                length = len(texts[number].ids)
                ids[row, :length] = torch.tensor(texts[number].ids)
                there[row, :length] = 1
                counted[row, :length] = torch.tensor(texts[number].counted)
            given = {} if conditions is None else {"conditions": conditions[part].to(model.device)}
            logits = model(
                input_ids=ids.to(model.device), attention_mask=there.to(model.device), **given
            ).logits[:, :-1]
            chances = torch.log_softmax(logits.double(), dim=-1).cpu()
            nats = -chances.gather(2, ids[:, 1:, None])[..., 0]
            found[part] = (nats * counted[:, 1:]).sum(1).numpy()
    return found


def metrics(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """``perplexity`` of a token and ``bits`` of a byte, from sums of ``nats``, ``tokens`` and ``bytes``."""
    return {
        "perplexity": np.exp(ratio(sums["nats"], sums["tokens"])),
        "bits": ratio(sums["nats"], sums["bytes"]) / math.log(2),
    }


def sums_of(texts: Sequence[Text], nats: Floats) -> Sums:
    """What each text adds to the sums of :func:`metrics`."""
    items = [Item(str(number), {}) for number in range(len(texts))]
    samples = [
        Sample({"nats": float(value), "tokens": sum(text.counted), "bytes": text.size})
        for text, value in zip(texts, nats, strict=True)
    ]
    return Sums.of(items, samples)


def summary(texts: Sequence[Text], nats: Floats, seed: int = 0) -> dict[str, Any]:
    """``texts``, ``tokens``, and each metric with its 95 % bootstrap interval over texts."""
    found = estimates(sums_of(texts, nats), metrics, seed)
    return {
        "texts": len(texts),
        "tokens": sum(sum(text.counted) for text in texts),
        **{name: estimate.to_dict() for name, estimate in found.items()},
    }
