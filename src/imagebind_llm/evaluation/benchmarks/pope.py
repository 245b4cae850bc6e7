"""POPE: is an object in the picture, or only likely to be (Li et al. 2023)?

Three files ask about the same pictures of COCO: objects that are not there are drawn at random, from the most
popular ones, or from those that often come with what is there (adversarial). Scored as its ``evaluate.py``
does, which takes every answer without a no for a yes. Questions are asked as they stand.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.answers import pope_yes_no, yes_no
from imagebind_llm.evaluation.benchmarks.finding import Media, look_for, require_data
from imagebind_llm.evaluation.benchmarks.questions import SHORT_TOKENS
from imagebind_llm.evaluation.benchmarks.reading import by_id, json_rows
from imagebind_llm.evaluation.suite import Answer, Facts, Floats, Item, Sample, Suite, SuiteKind, ratio

_KINDS = ("random", "popular", "adversarial")


class POPE(Suite):
    """Yes-or-no questions about objects; yes is the positive class."""

    name = "pope"

    def items(self, data: Path | None) -> Iterator[Item]:
        """The items of the files that are there, each file a group."""
        folder = require_data(data, self.name, "the folder that holds its files")
        media = Media(folder, "val2014", "images", "coco/val2014")
        files = {kind: file for kind in _KINDS if (file := look_for(folder, f"*_pope_{kind}.json"))}
        if not files:
            raise UserError(
                f"{str(folder)!r} has no file of POPE; expected 'coco_pope_random.json', "
                "'coco_pope_popular.json' and 'coco_pope_adversarial.json'"
            )
        for kind, file in files.items():
            for number, row in by_id(json_rows(file), "question_id").items():
                image = media.path(row.where, row.text("image"))
                yield Item(
                    key=f"{kind}/{number}",
                    request={"question": row.text("text"), "image": image, "max_new_tokens": SHORT_TOKENS},
                    expected=row.one_of("label", ("yes", "no")),
                    group=kind,
                    unit=row.text("image"),
                )

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """Official and tolerant reading of each answer. No answer at all is neither yes nor no."""
        samples = []
        for item, answer in zip(items, answers, strict=True):
            given = isinstance(answer, str)
            said = pope_yes_no(answer) if isinstance(answer, str) else None
            read = yes_no(answer) if isinstance(answer, str) else None
            right, positive = said == item.expected, item.expected == "yes"
            sums = {
                "n": 1.0,
                "right": float(right),
                "right.lenient": float(read == item.expected),
                "given": float(given),
                "positive": float(positive),
                "yes": float(said == "yes"),
                "yes.right": float(right and positive),
            }
            samples.append(Sample(sums, read, float(right)))
        return samples

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """``accuracy``, ``precision``, ``recall``, ``f1`` and ``yes_rate`` as POPE's script has them.

        Of all files together they are those of the pooled questions, not means over files.
        ``accuracy_lenient`` is accuracy by the tolerant reading of an answer.
        """
        return {
            "accuracy": ratio(sums["right"], sums["n"]),
            "precision": ratio(sums["yes.right"], sums["yes"]),
            "recall": ratio(sums["yes.right"], sums["positive"]),
            "f1": ratio(2 * sums["yes.right"], sums["yes"] + sums["positive"]),
            "yes_rate": ratio(sums["yes"], sums["given"]),
            "accuracy_lenient": ratio(sums["right.lenient"], sums["n"]),
        }


def make_pope() -> Suite:
    """Ask POPE's questions: whether an object is in the picture. Measures objects that a model makes up."""
    return POPE()


POPE_KIND = SuiteKind(
    summary="Whether objects are in the picture; finds those that a model makes up.",
    examples="  imagebind-llm eval pope --data pope\n",
    make=make_pope,
    facts=Facts(
        layout="coco_pope_random.json, coco_pope_popular.json, coco_pope_adversarial.json (JSON lines); "
        "pictures in val2014/",
        metric="accuracy, precision, recall, F1, share of yes; by file",
        source="github.com/AoiDragon/POPE; pictures: COCO val2014",
        licence="MIT; annotations of COCO CC BY 4.0, pictures by their owners",
    ),
)
