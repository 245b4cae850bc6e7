"""Questions about pictures: VQA v2, OK-VQA, VizWiz, TextVQA (agreement with ten people), GQA, OCR-VQA (the
same words).

VQA v2, OK-VQA and VizWiz are scored by the script of VQA v2; TextVQA by its script in MMF, known as M4C's.
The two differ in what they do to references: see :func:`~imagebind_llm.evaluation.answers.vqa_accuracy`.
lmms-eval scores OK-VQA by M4C's, too.

Each question is followed by LLaVA 1.5's ``Answer the question using a single word or phrase.``
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.evaluation.answers import (
    evalai_normal,
    textvqa_accuracy,
    vqa_accuracy,
    vqa_normal,
)
from imagebind_llm.evaluation.benchmarks.finding import Media, find_file
from imagebind_llm.evaluation.benchmarks.questions import (
    SHORT,
    AnsweredSplit,
    Questions,
    Split,
    asked,
    same_words,
)
from imagebind_llm.evaluation.benchmarks.reading import Row, by_id, json_object, json_rows, json_table
from imagebind_llm.evaluation.suite import Facts, Item, Suite, SuiteKind

_PEOPLE = 10
"""Answers to a question; the accuracies are defined for that many."""


def _ten(answers: Sequence[str], row: Row) -> Sequence[str]:
    if len(answers) != _PEOPLE:
        raise row.refused("answers", f"{_PEOPLE} answers, not {len(answers)}")
    return answers


def _coco(prefix: str, split: str, folder: Path) -> Iterator[Item]:
    """The layout of VQA v2 and OK-VQA: questions, annotations, and pictures of COCO.

    Sets of others in this format may be called ``SPLIT_questions.json`` and ``SPLIT_annotations.json``, and
    name the picture of a question as its ``image``.
    """
    questions = json_object(
        find_file(folder, f"{prefix}OpenEnded_mscoco_{split}_questions.json", f"{split}_questions.json")
    )
    annotations = json_object(
        find_file(folder, f"{prefix}mscoco_{split}_annotations.json", f"{split}_annotations.json")
    )
    answered = by_id(annotations.rows("annotations"), "question_id")
    kinds = annotations.values.get("question_types")  # OK-VQA has names for its kinds of knowledge
    media = Media(folder, split, f"images/{split}", "images", f"coco/{split}")
    for key, row in by_id(questions.rows("questions"), "question_id").items():
        if key not in answered:
            raise row.refused("question_id", "one that the annotations have, too")
        found, picture = answered[key], row.whole("image_id")
        if found.whole("image_id") != picture:
            raise found.refused("image_id", f"{picture}, as the question has it")
        answers = [answer.text("answer", empty=True) for answer in found.rows("answers")]
        group = (
            kinds.get(found.text("question_type")) if isinstance(kinds, dict) else found.text("answer_type")
        )
        file = row.text("image") if "image" in row.values else f"COCO_{split}_{picture:012d}.jpg"
        yield Item(
            key=key,
            request=asked(row.text("question"), "image", media.path(row.where, file)),
            expected=_ten(answers, found),
            group=str(group or "other"),
            unit=str(picture),
        )


def _vizwiz(split: str, folder: Path) -> Iterator[Item]:
    media = Media(folder, split, f"images/{split}", "images")
    prompt = "\nWhen the provided information is insufficient, respond with 'Unanswerable'." + SHORT
    for key, row in by_id(json_rows(find_file(folder, f"{split}.json")), "image").items():
        answers = [answer.text("answer", empty=True) for answer in row.rows("answers")]
        yield Item(
            key=key,
            request=asked(row.text("question"), "image", media.path(row.where, key), prompt),
            expected=_ten(answers, row),
            group=row.text("answer_type"),
            unit=key,
        )


def _textvqa(split: str, folder: Path) -> Iterator[Item]:
    rows = json_object(find_file(folder, f"TextVQA_0.5.1_{split}.json")).rows("data")
    media = Media(folder, "train_images", "test_images", "images")
    for key, row in by_id(rows, "question_id").items():
        picture = row.id("image_id")
        yield Item(
            key=key,
            request=asked(row.text("question"), "image", media.path(row.where, f"{picture}.jpg")),
            expected=_ten(row.texts("answers"), row),
            unit=picture,
        )


def _gqa(split: str, folder: Path) -> Iterator[Item]:
    media = Media(folder, "images")
    for key, row in json_table(find_file(folder, f"{split}_questions.json")).items():
        picture, types = row.id("imageId"), row.values.get("types")
        yield Item(
            key=key,
            request=asked(row.text("question"), "image", media.path(row.where, f"{picture}.jpg")),
            expected=[row.text("answer")],
            group=str(types.get("structural") or "") if isinstance(types, dict) else "",
            unit=picture,
        )


_OCR_SPLITS = {"train": 1, "val": 2, "test": 3}


def _ocrvqa(split: str, folder: Path) -> Iterator[Item]:
    media = Media(folder, "images")
    for key, row in json_table(find_file(folder, "dataset.json")).items():
        if row.whole("split") != _OCR_SPLITS[split]:
            continue
        questions, answers = row.texts("questions"), row.texts("answers")
        if len(answers) != len(questions):
            raise row.refused("answers", f"as many as questions, {len(questions)}")
        suffix = PurePosixPath(row.text("imageURL")).suffix
        picture = media.path(row.where, f"{key}{suffix}", f"{key}.jpg")
        for number, (question, answer) in enumerate(zip(questions, answers, strict=True), start=1):
            yield Item(f"{key}/{number}", asked(question, "image", picture), [answer], unit=key)


def _agreement(name: str, read: Any) -> Suite:
    return Questions(name, read, {"accuracy": vqa_accuracy}, lambda answer, _: vqa_normal(answer))


CocoSplit = Annotated[str, "val2014 or train2014; of sets of others, what their files begin with."]


def make_vqav2(split: CocoSplit = "val2014") -> Suite:
    """Ask the questions of VQA v2 about pictures of COCO (the test part has no answers)."""
    return _agreement("vqav2", partial(_coco, "v2_", split))


def make_okvqa(split: CocoSplit = "val2014") -> Suite:
    """Ask the questions of OK-VQA, which need knowledge from outside of the picture."""
    return _agreement("okvqa", partial(_coco, "", split))


def make_vizwiz(split: AnsweredSplit = "val") -> Suite:
    """Ask the questions of VizWiz, from pictures that blind people took."""
    return _agreement("vizwiz", partial(_vizwiz, split))


def make_textvqa(split: AnsweredSplit = "val") -> Suite:
    """Ask the questions of TextVQA, which need the reading of text in the picture."""
    return Questions(
        "textvqa",
        partial(_textvqa, split),
        {"accuracy": textvqa_accuracy},
        lambda answer, _: evalai_normal(answer),
    )


def make_gqa(split: Annotated[str, "Name before '_questions.json'."] = "testdev_balanced") -> Suite:
    """Ask the questions of GQA, made from the scene graphs of pictures."""
    return same_words("gqa", partial(_gqa, split))


def make_ocrvqa(split: Split = "test") -> Suite:
    """Ask the questions of OCR-VQA about covers of books."""
    refuse_unknown([split], tuple(_OCR_SPLITS), what="part")
    return same_words("ocrvqa", partial(_ocrvqa, split))


VQAV2 = SuiteKind(
    summary="Open questions about pictures of COCO.",
    examples="  imagebind-llm eval vqav2 --data vqa\n",
    make=make_vqav2,
    facts=Facts(
        layout="v2_OpenEnded_mscoco_val2014_questions.json, v2_mscoco_val2014_annotations.json, pictures in "
        "val2014/",
        metric="accuracy: agreement with ten people (script of VQA v2); by type of answer",
        source="visualqa.org",
        licence="CC BY 4.0; pictures by their owners",
    ),
)
OKVQA = SuiteKind(
    summary="Questions that need knowledge from outside of the picture.",
    examples="  imagebind-llm eval okvqa --data okvqa\n",
    make=make_okvqa,
    facts=Facts(
        layout="OpenEnded_mscoco_val2014_questions.json, mscoco_val2014_annotations.json, pictures in "
        "val2014/",
        metric="accuracy: agreement with ten answers (script of VQA v2); by kind of knowledge",
        source="okvqa.allenai.org",
        licence="not stated; pictures by their owners",
        published="51.7 (third party: table of MKS2)",
    ),
)
VIZWIZ = SuiteKind(
    summary="Questions of blind people about pictures that they took.",
    examples="  imagebind-llm eval vizwiz --data vizwiz\n",
    make=make_vizwiz,
    facts=Facts(
        layout="val.json, pictures in val/",
        metric="accuracy: agreement with ten people (script of VQA v2); by type of answer",
        source="vizwiz.org",
        licence="CC BY 4.0",
        published="51.4 (third party: an aggregator; doubtful)",
    ),
)
TEXTVQA = SuiteKind(
    summary="Questions about text in pictures.",
    examples="  imagebind-llm eval textvqa --data textvqa\n",
    make=make_textvqa,
    facts=Facts(
        layout="TextVQA_0.5.1_val.json, pictures in train_images/",
        metric="accuracy: agreement with ten people (TextVQA's script)",
        source="textvqa.org",
        licence="CC BY 4.0",
        published="24.0 (third party: table of MKS2, and an aggregator)",
    ),
)
GQA = SuiteKind(
    summary="Questions made from scene graphs of pictures.",
    examples="  imagebind-llm eval gqa --data gqa\n",
    make=make_gqa,
    facts=Facts(
        layout="testdev_balanced_questions.json, pictures in images/",
        metric="accuracy: the same words; by structure of the question",
        source="cs.stanford.edu/people/dorarad/gqa",
        licence="CC BY 4.0; pictures by their owners",
        published="41.1 (third party: an aggregator)",
    ),
)
OCRVQA = SuiteKind(
    summary="Questions about covers of books.",
    examples="  imagebind-llm eval ocrvqa --data ocrvqa\n",
    make=make_ocrvqa,
    facts=Facts(
        layout="dataset.json, pictures in images/, each named by the key of its book",
        metric="accuracy: the same words",
        source="ocr-vqa.github.io",
        licence="see the release; covers by their owners",
        published="23.2 (third party: table of MKS2)",
    ),
)
