"""The tasks of this package: name what a medium shows, one of the classes in the data.

Each line of the data is ``{"media": path, "answer": class}``. The classes are all answers of the file.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from imagebind_llm.common.errors import UserError


def with_choices(dataset: Any) -> Any:
    """The data with a column ``choices``, after all media were looked for.

    Args:
        dataset: a ``datasets.Dataset`` with the columns ``media`` and ``answer``.

    Raises:
        UserError: a column or a file is missing, or an answer is empty.
    """
    missing = {"media", "answer"} - set(dataset.column_names)
    if missing:
        raise UserError(
            f"the data have no {' and no '.join(map(repr, sorted(missing)))} "
            f"(found {', '.join(dataset.column_names)}); "
            'each line is {"media": path, "answer": class}'
        )
    for number, (path, answer) in enumerate(zip(dataset["media"], dataset["answer"], strict=True), 1):
        if not isinstance(path, str) or not os.path.isfile(path):
            raise UserError(
                f"data line {number}: there is no file {path!r}; paths are seen from the current folder"
            )
        if not isinstance(answer, str) or not _words(answer):
            raise UserError(f"data line {number}: the answer is {answer!r}; expected the name of a class")
    choices = sorted(set(dataset["answer"]))
    return dataset.add_column("choices", [choices] * len(dataset))


def medium(doc: Mapping[str, Any], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The medium, of the task's modality."""
    return [{"type": settings["modality"], "url": doc["media"]}]


def asked(doc: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The task's question, with all classes."""
    names = ", ".join(" ".join(_words(name)) for name in doc["choices"])
    return f"{settings['question']} Answer with one of these: {names}."


def scores(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """``exact_match``: the answer is the name of the class, apart from case, punctuation and an article.
    ``named``: it holds that name and no other of the classes."""
    said = _words(results[0])
    right = _words(doc["answer"])
    names = [_words(name) for name in doc["choices"]]
    found = [name for name in names if _holds(said, name)]
    found = [name for name in found if not any(name != other and _holds(other, name) for other in found)]
    if said[:1] in (["a"], ["an"], ["the"]):
        said = said[1:]
    return {"exact_match": float(said == right), "named": float(found == [right])}


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _holds(words: Sequence[str], part: Sequence[str]) -> bool:
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))
