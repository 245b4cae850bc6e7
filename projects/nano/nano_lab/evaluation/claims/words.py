"""Text ability: how well nano and its base foretell text that neither has seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.bootstrap import changes
from imagebind_llm.evaluation.claims.base import Base
from imagebind_llm.evaluation.claims.perplexity import Text, metrics, summary, sums_of, surprises
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.model.dialog import build_dialog
from nano_lab.evaluation.sets import EmbeddedSet
from nano_lab.evaluation.variants import generator
from nano_lab.grammar import Language, messages, statement_sample, text_sample

CAPTIONS = "flickr8k/test.parquet"
"""Real English of people, in the data folder; left out where it is not there."""
MOST = 300
"""Texts of each kind."""


def text_ability(
    bot: Assistant, base: Base, pictures: EmbeddedSet, data: Path, seed: int, items: int | None
) -> dict[str, Any]:
    """Perplexity and bits of a byte of unseen text, by kind and by who foretells it.

    Args:
        bot: nano.
        base: the language model that it was made from, if there is one.
        pictures: conditions for the arm that has a picture in view.
        data: data folder.
        seed: of texts and pictures.
        items: most texts of each kind; None: :data:`MOST`.

    Returns:
        ``base`` (what it is, ``exact``) and ``kinds``: rows with ``name``, ``tuned``, ``seeing`` (a picture
        in view) and, with a base, ``base`` and ``change`` (of ``tuned`` against ``base``).
    """
    count = MOST if items is None else min(items, MOST)
    rows = []
    for name, texts in _kinds(bot, data, seed, count):
        rng = generator(seed, "perplexity", name)
        seen: Tensor = pictures.plain[torch.from_numpy(rng.integers(len(pictures), size=len(texts)))]
        arms = {"tuned": surprises(bot.model, texts), "seeing": surprises(bot.model, texts, seen)}
        if base.model is not None:
            arms["base"] = surprises(base.model, texts)
        row: dict[str, Any] = {"name": name}
        row |= {arm: summary(texts, nats, seed) for arm, nats in arms.items()}
        if "base" in arms:
            before, after = (sums_of(texts, arms[arm]) for arm in ("base", "tuned"))
            found = changes(before, after, metrics, seed)
            row["change"] = {metric: change.to_dict() for metric, change in found.items()}
        rows.append(row)
    return {"base": {"says": base.says, "exact": base.exact}, "kinds": rows}


def _kinds(bot: Assistant, data: Path, seed: int, count: int) -> Iterator[tuple[str, list[Text]]]:
    languages: tuple[tuple[Language, str], ...] = (("en", "English"), ("zh", "Chinese"))
    for language, called in languages:
        whole, answers = _dialogs(bot, seed, language, count)
        yield f"nano's grammar, {called}, unseen phrasings: whole dialogs", whole
        yield f"nano's grammar, {called}, unseen phrasings: answers", answers
    if (data / CAPTIONS).is_file():
        yield "Flickr8k test captions, English of people", _captions(bot, data / CAPTIONS, count)


def _dialogs(bot: Assistant, seed: int, language: Language, count: int) -> tuple[list[Text], list[Text]]:
    rng = generator(seed, "text ability", language)
    whole, answers = [], []
    for number in range(count):
        draw = statement_sample if number % 2 else text_sample
        sample = draw(rng, split="heldout", language=language)
        dialog = build_dialog(messages(sample), bot.processor.tokenizer)
        replies = [turn.answer for turn in sample.turns]
        answers.append(Text.answers(dialog, replies))
        whole.append(Text.whole(dialog, [*(turn.question for turn in sample.turns), *replies]))
    return whole, answers


def _captions(bot: Assistant, file: Path, count: int) -> list[Text]:
    """The first caption of each picture: several of one picture would not be independent."""
    import pyarrow.parquet as parquet

    try:
        column = parquet.read_table(file, columns=["captions"])["captions"].slice(0, count).to_pylist()
        lines = [str(captions[0]) for captions in column]
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"{str(file)!r} has no captions ({reason}); copy it again, or remove it") from None
    return [Text.plain(line, bot.processor.tokenizer) for line in lines]
