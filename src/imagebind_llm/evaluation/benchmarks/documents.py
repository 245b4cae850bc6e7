"""Questions about text in scenes and documents: ST-VQA (Biten et al. 2019), DocVQA (Mathew et al. 2021).

They are scored by ANLS as in the Robust Reading Competition's script, with its threshold of 0.5. The parts
for the competition have no answers; those for training and validation have.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from imagebind_llm.evaluation.answers import anls, exact_match, plain
from imagebind_llm.evaluation.benchmarks.finding import Media, find_file
from imagebind_llm.evaluation.benchmarks.questions import AnsweredSplit, Questions, asked
from imagebind_llm.evaluation.benchmarks.reading import by_id, json_object
from imagebind_llm.evaluation.suite import Facts, Item, Suite, SuiteKind

_TOKENS = 32
"""Most of an answer: addresses and names of firms are long."""


def _stvqa(file: str, folder: Path) -> Iterator[Item]:
    rows = json_object(find_file(folder, file)).rows("data")
    media = Media(folder, "images", "train")
    for key, row in by_id(rows, "question_id").items():
        picture = row.text("file_path")
        yield Item(
            key=key,
            request=asked(row.text("question"), "image", media.path(row.where, picture), tokens=_TOKENS),
            expected=row.texts("answers"),
            group=str(row.values.get("dataset") or ""),
            unit=picture,
        )


def _docvqa(split: str, folder: Path) -> Iterator[Item]:
    file = find_file(folder, f"{split}_v1.0.json", f"{split}_v1.0_withQT.json")
    media = Media(folder, split, "spdocvqa_images", "images")
    for key, row in by_id(json_object(file).rows("data"), "questionId").items():
        picture = row.text("image")
        path = media.path(row.where, picture, PurePosixPath(picture).name)
        yield Item(
            key=key,
            request=asked(row.text("question"), "image", path, tokens=_TOKENS),
            expected=row.texts("answers"),
            unit=picture,
        )


def make_stvqa(
    file: Annotated[str, "Questions with answers, a file of the release."] = "train_task_3.json",
) -> Suite:
    """Ask the questions of Scene Text VQA."""
    scores = {"anls": anls, "accuracy": exact_match}
    return Questions("stvqa", partial(_stvqa, file), scores, lambda answer, _: plain(answer))


def make_docvqa(split: AnsweredSplit = "val") -> Suite:
    """Ask the questions of DocVQA about scanned documents."""
    scores = {"anls": anls, "accuracy": exact_match}
    return Questions("docvqa", partial(_docvqa, split), scores, lambda answer, _: plain(answer))


STVQA = SuiteKind(
    summary="Questions about text in scenes.",
    examples="  imagebind-llm eval stvqa --data stvqa\n",
    make=make_stvqa,
    facts=Facts(
        layout="train_task_3.json (or another part with answers), pictures below by their file_path",
        metric="ANLS (threshold 0.5), accuracy: the same words",
        source="rrc.cvc.uab.es, challenge 11",
        licence="CC BY 4.0; pictures by their owners",
        published="15.5 (third party: table of MKS2, which does not say by which metric)",
    ),
)
DOCVQA = SuiteKind(
    summary="Questions about scanned documents.",
    examples="  imagebind-llm eval docvqa --data docvqa\n",
    make=make_docvqa,
    facts=Facts(
        layout="val_v1.0.json (or val_v1.0_withQT.json), pictures in documents/ or spdocvqa_images/",
        metric="ANLS (threshold 0.5), accuracy: the same words",
        source="docvqa.org; rrc.cvc.uab.es, challenge 17",
        licence="research only; documents of the UCSF Industry Documents Library",
        published="4.0 (third party: table of MKS2)",
    ),
)
