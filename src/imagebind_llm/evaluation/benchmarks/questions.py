"""A suite of questions about media whose answers are scored one by one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from imagebind_llm.evaluation.answers import exact_match, plain
from imagebind_llm.evaluation.benchmarks.finding import require_data
from imagebind_llm.evaluation.suite import Answer, Floats, Item, Sample, Suite, ratio

SHORT = "\nAnswer the question using a single word or phrase."
"""What is put behind a question for a short answer; LLaVA 1.5 made it the usual one."""
SHORT_TOKENS = 16
"""Most tokens of such an answer."""

Question = Annotated[str, "What is asked of every item"]
Split = Annotated[str, "train, val or test."]
AnsweredSplit = Annotated[str, "val or train; the test part has no answers."]

Score = Callable[[str, Any], float | None]
"""Of an answer and what an item expects, 0 … 1; None: the metric is not about that item."""


def asked(
    question: str, modality: str, path: str, prompt: str = SHORT, tokens: int = SHORT_TOKENS
) -> Mapping[str, Any]:
    """What is asked of an item about one medium: ``question`` and ``prompt``, with up to ``tokens``."""
    return {"question": question.strip() + prompt, modality: path, "max_new_tokens": tokens}


class Questions(Suite):
    """Questions whose metrics are means of scores of single answers.

    Args:
        name: of the suite.
        read: the items of the file or folder that the user gave.
        scores: metric → score of one answer. The first is the main one.
        clean: how an answer is understood, for the record.
        layout: what ``read`` needs, for messages.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[Path], Iterator[Item]],
        scores: Mapping[str, Score],
        clean: Callable[[str, Any], Any],
        layout: str = "the folder that holds its files",
    ) -> None:
        self.name, self.main = name, next(iter(scores))
        self._read, self._scores, self._clean, self._layout = read, scores, clean, layout

    def items(self, data: Path | None) -> Iterator[Item]:
        """The items; all files are looked for at once."""
        yield from self._read(require_data(data, self.name, self._layout))

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """Each metric's score, and whether it is about that item."""
        return [self._sample(item, answer) for item, answer in zip(items, answers, strict=True)]

    def _sample(self, item: Item, answer: Answer) -> Sample:
        given = answer if isinstance(answer, str) else None
        sums: dict[str, float] = {"n": 1.0}
        for metric, score in self._scores.items():
            value = score("" if given is None else given, item.expected)
            if value is not None:
                sums[metric] = 0.0 if given is None else float(value)
                sums[f"n.{metric}"] = 1.0
        return Sample(sums, None if given is None else self._clean(given, item.expected), sums.get(self.main))

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Mean of each score over the items it is about."""
        nothing = 0.0 * sums["n"]
        return {
            metric: ratio(sums.get(metric, nothing), sums.get(f"n.{metric}", nothing))
            for metric in self._scores
        }


def same_words(name: str, read: Callable[[Path], Iterator[Item]]) -> Questions:
    """Questions whose answers are right if they are the same words."""
    return Questions(name, read, {"accuracy": exact_match}, lambda answer, _: plain(answer))
