"""easy-VQA: questions about pictures of one shape, in the format of VQA v2.

``questions.json`` is a list of question, answer and number of the picture. There is one answer a question; it
is written ten times, as VQA's score wants, so that score is 1 for it and 0 for any other.
"""

import shutil
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import load_json
from imagebind_llm.data.fetch.tables import write_plain

_ANSWERS = 10
_QUESTIONS_OF_A_PICTURE = 1000
"""A question's number is its picture's times this, and its place among the picture's."""


def write(unpacked: Path, out: Path) -> dict[str, int]:
    """See :attr:`imagebind_llm.data.fetch.catalogue.DataSet.writer`."""
    counts: dict[str, int] = {}
    for split in ("train", "test"):
        root = unpacked / "easy_vqa/data" / split
        questions, annotations = _rows(root / "questions.json", split)
        shutil.copytree(root / "images", out / "images" / split)
        head = {
            "info": {"description": "easy-VQA 1.0"},
            "license": {"name": "MIT"},
            "data_type": "easy-vqa",
            "data_subtype": split,
        }
        write_plain(
            out / f"{split}_questions.json", {**head, "task_type": "Open-Ended", "questions": questions}
        )
        write_plain(out / f"{split}_annotations.json", {**head, "annotations": annotations})
        write_plain(out / f"{split}_dialogs.json", _dialogs(questions, annotations))
        counts[f"{split} questions"] = len(questions)
        counts[f"{split} pictures"] = len({question["image_id"] for question in questions})
    return counts


def _rows(path: Path, split: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The questions and annotations of a split."""
    questions: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    asked: dict[int, int] = {}
    for row in load_json(path):
        if not (isinstance(row, list) and [type(value) for value in row] == [str, str, int]):
            raise UserError(f"{path.name} of easy-VQA holds {row!r}; expected question, answer and a number")
        question, answer, image = row
        number = image * _QUESTIONS_OF_A_PICTURE + asked.get(image, 0)
        asked[image] = asked.get(image, 0) + 1
        file_name = f"images/{split}/{image}.png"
        questions.append({"image_id": image, "question": question, "question_id": number, "image": file_name})
        given = {"answer": answer, "answer_confidence": "yes"}
        answers = [{**given, "answer_id": place} for place in range(1, _ANSWERS + 1)]
        annotations.append(
            {
                "question_id": number,
                "image_id": image,
                "question_type": " ".join(question.split()[:2]),
                "answer_type": "yes/no" if answer in ("yes", "no") else "other",
                "multiple_choice_answer": answer,
                "answers": answers,
            }
        )
    return questions, annotations


def _dialogs(questions: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same as LLaVA's conversations, to train on."""
    return [
        {
            "id": str(question["question_id"]),
            "image": question["image"],
            "conversations": [
                {"from": "human", "value": f"<image>\n{question['question']}"},
                {"from": "gpt", "value": annotation["multiple_choice_answer"]},
            ],
        }
        for question, annotation in zip(questions, annotations, strict=True)
    ]
