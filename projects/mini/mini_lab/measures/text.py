"""What training with pictures did to the language: perplexity beside that of SmolLM2 itself.

Both read the same tokens. The ratio of their perplexities has a paired interval: passages are drawn for both
at once. Mini's updates act only on tokens that see something, so on plain text with nothing attached it
should be 1. Beside it stands what the same text is to mini while a picture is attached, which has nothing to
do with the text: what the updates, the gates and the picture itself do to language.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.claims.base import base_of
from imagebind_llm.evaluation.claims.perplexity import Text, surprises
from imagebind_llm.evaluation.suite import Floats, Item, Sample, ratio
from mini_lab.measures.captions import pictures
from mini_lab.measures.context import Context
from mini_lab.measures.plain_text import PACKAGE, debian_faq, own_text, passages
from mini_lab.measures.tables import Part, Row, goal, row_of_samples, table

if TYPE_CHECKING:
    from torch import Tensor

METRICS = {"mini": "points", "SmolLM2": "points", "ratio": "points", "bits a byte": "points"}
GOAL = 1.03
LONGEST = 512
"""Tokens of a passage; what is longer is cut."""
_AT_ONCE = 4
"""Texts read at once: logits of 512 tokens are 200 MB each, with 49,152 words and float64."""
_LANGUAGE_MODEL = "smollm2-135m-instruct"


def measure(context: Context) -> Part:
    """Read the texts with both models.

    Raises:
        UserError: no text, or no SmolLM2, or another language model than mini was made from.
    """
    place = context.parts / _LANGUAGE_MODEL
    if not place.is_dir():
        raise UserError(
            f"there is no {str(place)!r}; pull it: imagebind-llm pull {_LANGUAGE_MODEL} --out {place}"
        )
    model = context.bot.model
    base = base_of(model, context.folder, place)
    tokenizer = context.bot.processor.tokenizer
    said = debian_faq() if context.text is None else own_text(context.text)
    plain = [
        _cut(Text.plain(passage, tokenizer), passage, tokenizer) for passage in context.some(passages(said))
    ]
    if not plain:
        raise UserError("the text holds no paragraph of a dozen words; give a longer one as --text")
    shown = _attached(context, len(plain))
    smol = _nats("SmolLM2", base.model, plain, context.progress)
    rows = [
        _compared(name, plain, _nats(name, model, plain, context.progress, given), smol)
        for name, given in (("nothing attached", None), ("a picture attached", shown))
    ]
    source = (
        f"the Debian FAQ (package {PACKAGE.name} {PACKAGE.version})"
        if context.text is None
        else "a text that was given (--text)"
    )
    return {
        "title": "Text",
        "notes": [
            f"Perplexity of a token on {source}, {len(plain)} passages. *Ratio*: mini's "
            "over SmolLM2's, on the same tokens, passages drawn for both at once. SmolLM2 is the part "
            "that was "
            "pulled, the very weights that mini was trained on (unpacked from Q4_1).",
            "Low-rank updates act on tokens that see something. *A picture attached*: every passage is read "
            "while a test picture of Flickr8k, another each, is attached, which has nothing to do with it.",
        ],
        "tables": [table("Perplexity", METRICS, rows, "texts")],
        "goals": [goal("perplexity over SmolLM2's, plain text", GOAL, rows[0], "ratio", True, "points")],
    }


def _cut(text: Text, passage: str, tokenizer: Any) -> Text:
    """A text of no more than :data:`LONGEST` tokens, with the bytes of what is left."""
    if len(text.ids) <= LONGEST:
        return text
    ids = text.ids[:LONGEST]
    size = len(tokenizer.decode(list(ids), skip_special_tokens=True).encode())
    return Text(ids, text.counted[:LONGEST], size)


def _attached(context: Context, count: int) -> Tensor:
    """``[count, D]``: the embeddings of test pictures, again from the first where there are too few."""
    items = pictures(context)
    found = context.bot.embed(image=[item.request["image"] for item in items[:count]])
    return found.repeat(-(-count // len(found)), 1)[:count]


def _compared(name: str, texts: Sequence[Text], own: Floats, plain: Floats) -> Row:
    items = [Item(str(number), {}) for number in range(len(texts))]
    samples = [
        Sample({"mini": float(a), "base": float(b), "tokens": sum(text.counted), "bytes": text.size})
        for text, a, b in zip(texts, own, plain, strict=True)
    ]
    return row_of_samples(name, items, samples, metrics, METRICS)


def metrics(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """Both perplexities, their ratio, and mini's bits of a byte."""
    mini, base = (np.exp(ratio(sums[name], sums["tokens"])) for name in ("mini", "base"))
    bits = ratio(sums["mini"], sums["bytes"]) / math.log(2)
    return {"mini": mini, "SmolLM2": base, "ratio": mini / base, "bits a byte": bits}


def _nats(
    name: str, model: Any, texts: Sequence[Text], progress: bool, conditions: Tensor | None = None
) -> Floats:
    from tqdm import tqdm

    order = sorted(range(len(texts)), key=lambda number: len(texts[number].ids))
    found = np.zeros(len(texts))
    with tqdm(total=len(texts), unit="text", desc=name, disable=None if progress else True) as bar:
        for start in range(0, len(order), _AT_ONCE):
            part = order[start : start + _AT_ONCE]
            given = None if conditions is None else conditions[part]
            found[part] = surprises(model, [texts[number] for number in part], given)
            bar.update(len(part))
    return found
