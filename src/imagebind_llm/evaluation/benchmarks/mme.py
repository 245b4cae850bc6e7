"""MME: fourteen sub-tasks of yes-or-no questions, two a picture (Fu et al. 2023).

Scored as its ``eval_tool/calculation.py`` does. A sub-task's score, of 200, is its accuracy plus its
accuracy+ (the share of pictures with both answers right), both in per cent. Perception is the sum of ten
scores (of 2000), cognition of four (of 800). To say yes to everything gives 50 a sub-task, and to guess about
75.

Questions are asked as they stand in the release, where each ends in ``Please answer yes or no.``
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.evaluation.answers import mme_yes_no, yes_no
from imagebind_llm.evaluation.benchmarks.finding import PICTURES, Media, require_data, with_suffixes
from imagebind_llm.evaluation.benchmarks.questions import SHORT_TOKENS
from imagebind_llm.evaluation.benchmarks.reading import text_lines
from imagebind_llm.evaluation.suite import Answer, Facts, Floats, Item, Sample, Suite, SuiteKind, ratio

PERCEPTION = (
    *("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork"),
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
_TASKS = (*PERCEPTION, *COGNITION)


class MME(Suite):
    """Yes-or-no questions about perception and cognition; scores by the official script."""

    name = "mme"
    main = "perception"
    units = dict.fromkeys(("perception", "cognition", *_TASKS), "points")

    def items(self, data: Path | None) -> Iterator[Item]:
        """Two items a picture, sub-task by sub-task. Sub-tasks whose folders are not there are left out."""
        folder = require_data(data, self.name, "the folder of the release")
        inner = folder / "MME_Benchmark_release_version"
        folder = inner if inner.is_dir() else folder
        there = [task for task in _TASKS if (folder / task).is_dir()]
        if not there:
            raise UserError(
                f"{str(folder)!r} has none of MME's folders ({', '.join(_TASKS[:3])}, …); give the folder "
                "'MME_Benchmark_release_version'"
            )
        for task in there:
            yield from _items_of(folder / task, task)

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """What each answer adds. A picture's first item adds what both of its answers make together."""
        said = [mme_yes_no(answer) if isinstance(answer, str) else "other" for answer in answers]
        right = [read == item.expected for item, read in zip(items, said, strict=True)]
        of_picture: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            of_picture.setdefault(item.unit, []).append(place)
        samples = []
        for place, item in enumerate(items):
            answer, both = answers[place], of_picture[item.unit]
            read = yes_no(answer) if isinstance(answer, str) else None
            sums = {
                "n": 1.0,
                "right": float(right[place]),
                "yes": float(said[place] == "yes"),
                "other": float(said[place] == "other"),
                "right.lenient": float(read == item.expected),
                f"{item.group}.n": 1.0,
                f"{item.group}.right": float(right[place]),
            }
            if (
                place == both[0] and len(both) == 2
            ):  # a picture of which one question was left out has no pair
                sums["pairs"] = sums[f"{item.group}.pairs"] = 1.0
                sums["pairs.right"] = sums[f"{item.group}.pairs.right"] = float(all(right[at] for at in both))
            samples.append(Sample(sums, read, float(right[place])))
        return samples

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Scores in points of the sub-tasks that are there; totals if all are; shares over all questions.

        ``accuracy_lenient`` is accuracy by the tolerant reading of an answer; all else is official.
        """
        import numpy as np

        nothing = 0.0 * sums["n"]

        def points(task: str) -> Floats:
            right = ratio(sums.get(f"{task}.right", nothing), sums.get(f"{task}.n", nothing))
            pairs = ratio(sums.get(f"{task}.pairs.right", nothing), sums.get(f"{task}.pairs", nothing))
            return 100 * (right + pairs)

        scores = {task: points(task) for task in _TASKS}
        return {
            "perception": np.sum([scores[task] for task in PERCEPTION], axis=0),
            "cognition": np.sum([scores[task] for task in COGNITION], axis=0),
            **{task: score for task, score in scores.items() if f"{task}.n" in sums},
            "accuracy": ratio(sums["right"], sums["n"]),
            "accuracy_plus": ratio(sums.get("pairs.right", nothing), sums.get("pairs", nothing)),
            "accuracy_lenient": ratio(sums["right.lenient"], sums["n"]),
            "yes_rate": ratio(sums["yes"], sums["n"]),
            "neither": ratio(sums["other"], sums["n"]),
        }


def _items_of(folder: Path, task: str) -> Iterator[Item]:
    questions, pictures = folder / "questions_answers_YN", folder / "images"
    if not questions.is_dir() or not pictures.is_dir():  # as four of the sub-tasks of perception are released
        questions = pictures = folder
    files = sorted(file for file in questions.glob("*.txt") if not file.name.startswith("."))
    if not files:
        raise UserError(f"{str(questions)!r} has no questions (*.txt); get the release again")
    media = Media(pictures)
    for file in files:
        picture = media.path(repr(str(file)), *with_suffixes(PICTURES, file.stem))
        pairs = [_pair(line, where) for where, line in text_lines(file)]
        if len(pairs) != 2:
            raise UserError(f"{str(file)!r} has {len(pairs)} questions; MME has two a picture")
        for number, (question, expected) in enumerate(pairs, start=1):
            yield Item(
                key=f"{task}/{file.stem}/{number}",
                request={"question": question, "image": picture, "max_new_tokens": SHORT_TOKENS},
                expected=expected,
                group=task,
                unit=f"{task}/{file.stem}",
            )


def _pair(line: str, where: str) -> tuple[str, str]:
    question, _, answer = line.rpartition("\t")
    expected = answer.strip().lower()
    if not question.strip() or expected not in ("yes", "no"):
        raise UserError(f"{where} is {short(line)}; expected a question, a tab, Yes or No")
    return question.strip(), expected


def make_mme() -> Suite:
    """Ask MME's yes-or-no questions: ten sub-tasks of perception and four of cognition."""
    return MME()


MME_KIND = SuiteKind(
    summary="Yes-or-no questions about perception and cognition, in points.",
    examples="  imagebind-llm eval mme --data MME_Benchmark_release_version\n",
    make=make_mme,
    facts=Facts(
        layout="a folder a sub-task: images/ and questions_answers_YN/, or pictures and .txt side by side; "
        "two lines a .txt: question, tab, Yes or No",
        metric="perception (of 2000) and cognition (of 800): accuracy + accuracy+ of each sub-task",
        source="its authors, on request (BradyFU/Awesome-Multimodal-Large-Language-Models)",
        licence="research only; pictures of COCO and of their owners",
        published="775.77 perception, 213.57 cognition (MME's leaderboard, 2023-06-30; not the paper): "
        "existence 128.33, count 60.00, position 46.67, color 73.33, posters 64.97, celebrity 76.47, "
        "scene 113.25, landmark 62.00, artwork 70.75, OCR 80.00; commonsense reasoning 48.57, numerical "
        "calculation 55.00, text translation 50.00, code reasoning 60.00",
    ),
)
