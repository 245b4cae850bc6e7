"""Captions of the official test pictures of Flickr8k, beside what the same words would be worth without
seeing.

Rows: greedy and three beams; the picture moved towards the visual cache; somebody else's picture; no picture;
and SmolLM2, which has never been trained with pictures, asked the same without one.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.caption_scores import caption_metrics, caption_sums, require_scorers
from imagebind_llm.evaluation.suite import Answer, Floats, Item, Sample
from mini_lab.measures.context import Context, Listed
from mini_lab.measures.tables import Part, goal, row_of_results, row_of_samples, table

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant

LONGEST = 40
"""Tokens of a caption; those of people have about 12."""
BEAMS = 3
_BEAM_BATCH = 8
METRICS = {
    "BLEU-1": "share", "BLEU-2": "share", "BLEU-3": "share", "BLEU-4": "share", "METEOR": "share",
    "ROUGE-L": "share", "CIDEr": "points",
}  # fmt: skip
GOALS = {"BLEU-1": 0.62, "BLEU-4": 0.19, "CIDEr": 0.50}
_LANGUAGE_MODEL = "smollm2-135m-instruct"


class Captions(Listed):
    """Pictures that are to be described, scored as in the field."""

    main = "CIDEr"

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        texts = [answer if isinstance(answer, str) else "" for answer in answers]
        return [
            Sample(found, None, found["rouge_l"])
            for found in caption_sums(texts, [item.expected for item in items])
        ]

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        return caption_metrics(sums)


class Beams:
    """An engine that answers by beam search, through the model's own ``generate``.

    Args:
        bot: the model.
        beams: how many.
        length_penalty: of transformers; 1: the mean log-probability of a token counts.
    """

    def __init__(self, bot: Assistant, beams: int = BEAMS, length_penalty: float = 1.0) -> None:
        self.bot, self._beams, self._penalty = bot, beams, length_penalty

    @property
    def modalities(self) -> Sequence[str]:
        """See :class:`imagebind_llm.evaluation.engine.Engine`."""
        return self.bot.modalities

    def embeddings(self, requests: Iterable[Mapping[str, Any]]) -> Iterator[Floats | Exception]:
        """Embeddings have no beams."""
        raise UserError("beams are for answers; ask for embeddings without them")

    def answers(self, requests: Iterable[Mapping[str, Any]]) -> Iterator[str | Exception]:
        """See :class:`imagebind_llm.evaluation.engine.Engine`."""
        waiting: list[Mapping[str, Any]] = []
        for request in requests:
            waiting.append(request)
            if len(waiting) == _BEAM_BATCH:
                yield from self._some(waiting)
                waiting = []
        if waiting:
            yield from self._some(waiting)

    def _some(self, requests: Sequence[Mapping[str, Any]]) -> Iterator[str | Exception]:
        """Answers to a few requests, which may differ in length; errors stay in their places."""
        pipeline = self.bot.pipeline
        prepared = pipeline.prepare_all(requests)
        good = [one for one in prepared if not isinstance(one, Exception)]
        seen = iter(pipeline.perception.finish_conditions([one.conditions for one in good]))
        asked: list[Any] = []
        for one in prepared:
            conditions = one if isinstance(one, Exception) else next(seen)
            if isinstance(one, Exception) or isinstance(conditions, Exception):
                asked.append(conditions)
            else:
                asked.append(pipeline.token_request(one, conditions, reuse=False))
        texts = iter(self._generate([one for one in asked if not isinstance(one, Exception)]))
        for found in asked:
            yield found if isinstance(found, Exception) else next(texts)

    def _generate(self, asked: Sequence[Any]) -> list[str]:
        import torch

        if not asked:
            return []
        model, width = self.bot.model, max(len(one.input_ids) for one in asked)
        ids = torch.zeros(len(asked), width, dtype=torch.long)
        there, seen = torch.zeros_like(ids), torch.full_like(ids, -1)
        rows: list[Any] = []
        for row, one in enumerate(asked):
            length = len(one.input_ids)
            ids[row, -length:] = torch.tensor(one.input_ids)
            there[row, -length:] = 1
            if one.conditions is not None and one.condition_ids is not None:
                own = torch.tensor(one.condition_ids)
                seen[row, -length:] = torch.where(own >= 0, own + sum(map(len, rows)), own)
                rows.append(one.conditions)
        given: dict[str, Any] = {}
        if rows:
            given = {"conditions": torch.cat(rows).to(model.device), "condition_ids": seen.to(model.device)}
        ends = sorted(self.bot.pipeline.end_tokens)
        longest = max(one.sampling.max_new_tokens or LONGEST for one in asked)
        with torch.inference_mode():
            made = model.generate(
                ids.to(model.device),
                attention_mask=there.to(model.device),
                max_new_tokens=longest,
                do_sample=False,
                num_beams=self._beams,
                length_penalty=self._penalty,
                eos_token_id=ends,
                pad_token_id=ends[0],
                **given,
            )
        processor = self.bot.processor
        return [processor.decode(row, skip_special_tokens=True).strip() for row in made[:, width:].tolist()]


def measure(context: Context) -> Part:
    """Ask all ways and score.

    Raises:
        UserError: the scorer, the pictures or SmolLM2 are not there.
    """
    require_scorers()
    plain = context.parts / _LANGUAGE_MODEL
    if not plain.is_dir():
        raise UserError(
            f"there is no {str(plain)!r}, which is asked without pictures; pull it: imagebind-llm pull "
            f"{_LANGUAGE_MODEL} --out {plain}"
        )
    items = pictures(context)
    if len(items) < 2:
        raise UserError(f"{len(items)} picture; shuffling needs two (give --items 2 or more)")
    rows = [
        row_of_results("mini, greedy", _ask(context, "captions-greedy", items)),
        row_of_results(
            f"mini, {BEAMS} beams", _ask(context, "captions-beams", items, engine=Beams(context.bot))
        ),
    ]
    if context.bot.cache is not None:
        rows.append(
            row_of_results(
                "mini, greedy, visual cache on", _ask(context, "captions-cache", items, {"cache": True})
            )
        )
    rows.append(
        row_of_results(
            "mini, shown another picture", _ask(context, "captions-shuffled", shuffled(items, seed=0))
        )
    )
    rows.append(
        _same_for_all(
            "mini, no picture", items, context.bot.ask(context.caption_question, max_new_tokens=LONGEST).text
        )
    )
    rows.append(_same_for_all("SmolLM2, no picture", items, plain_answer(plain, context.caption_question)))
    best = max(rows[:2], key=lambda row: row["metrics"]["CIDEr"]["value"] or 0.0)
    return {
        "title": "Captions",
        "notes": [
            f"Official test pictures of Flickr8k that are at hand ({len(items)}), five references each; the "
            f"question is “{context.caption_question}”. The standard scorer (PTB tokenizer, "
            "pycocoevalcap). Published on the "
            "whole official test set of 1,000: NIC (Vinyals et al. 2015) BLEU-1 63.",
            "*Shown another picture* is the control: the same questions about somebody else's picture. "
            "Without a picture the answer is the same for all.",
        ],
        "tables": [table("Flickr8k, test", METRICS, rows, "pictures")],
        "goals": [
            goal(f"{name} ({best['name']})", bound, best, name, unit=METRICS[name])
            for name, bound in GOALS.items()
        ],
        "said": {"no picture": rows[-2]["said"], "SmolLM2": rows[-1]["said"]},
    }


def pictures(context: Context) -> list[Item]:
    """An item for each test picture."""
    return [
        Item(
            str(row["file"]),
            {"question": context.caption_question, "image": row["image"]["bytes"], "cache": False},
            [text for text in row["captions"] if text.strip(" .")],
        )
        for row in context.rows("flickr8k")
    ]


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """The same items, each with the picture of another one."""
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    taken = dict(zip(order, order[1:] + order[:1], strict=True))
    return [
        Item(item.key, {**item.request, "image": items[taken[number]].request["image"]}, item.expected)
        for number, item in enumerate(items)
    ]


def _ask(
    context: Context,
    name: str,
    items: Sequence[Item],
    more: Mapping[str, Any] | None = None,
    engine: Any = None,
) -> dict[str, Any]:
    asked = [Item(item.key, {**item.request, **(more or {})}, item.expected) for item in items]
    return context.ask(name, Captions(name, asked), engine, {"max_new_tokens": LONGEST})


def _same_for_all(name: str, items: Sequence[Item], text: str) -> dict[str, Any]:
    suite = Captions(name, items)
    samples = suite.judge(items, [text] * len(items))
    return {**row_of_samples(name, items, samples, suite.metrics), "said": text}


def plain_answer(folder: Path, question: str) -> str:
    """What a language model of transformers answers greedily, with its own chat template."""
    import torch
    from transformers import AutoTokenizer

    from imagebind_llm.model.bases import whole_language_model

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = whole_language_model(str(folder), dtype=torch.float32)
    asked: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.inference_mode():
        made = model.generate(
            **asked, max_new_tokens=LONGEST, do_sample=False, pad_token_id=tokenizer.eos_token_id
        )
    return str(tokenizer.decode(made[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)).strip()
