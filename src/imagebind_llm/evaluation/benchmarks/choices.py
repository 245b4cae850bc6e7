"""Questions with given answers: ScienceQA (Lu et al. 2022), IconQA (Lu et al. 2021), VSR (Liu et al. 2023).

Options are listed with letters, as LLaVA asks ScienceQA. The letter or the words of an option are read
(:func:`~imagebind_llm.evaluation.answers.choice`); an answer that names none is wrong. ScienceQA's own script
draws one at random then, which adds chance to the score; ``read`` says how many answers that would concern.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.evaluation.answers import LETTERS, choice, yes_no
from imagebind_llm.evaluation.benchmarks.finding import Media, find_file
from imagebind_llm.evaluation.benchmarks.questions import SHORT, Questions, Split, asked, same_words
from imagebind_llm.evaluation.benchmarks.reading import Row, json_object, json_rows, json_table
from imagebind_llm.evaluation.suite import Facts, Item, Suite, SuiteKind


def _listed(question: str, options: Sequence[str]) -> str:
    # there are more letters than options: _options has looked
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join(
        [question.strip(), *lines, "Answer with the option's letter from the given choices directly."]
    )


def _options(row: Row) -> tuple[Sequence[str], int]:
    options, right = row.texts("choices"), row.whole("answer")
    if not 2 <= len(options) <= len(LETTERS):
        raise row.refused("choices", f"2 to {len(LETTERS)} options")
    if not 0 <= right < len(options):
        raise row.refused("answer", f"the place of one of {len(options)} options, from 0")
    return options, right


def _chosen(answer: str, expected: Any) -> float:
    return float(choice(answer, expected["options"]) == expected["right"])


def _names_one(answer: str, expected: Any) -> float:
    return float(choice(answer, expected["options"]) is not None)


def _letter(answer: str, expected: Any) -> str | None:
    place = choice(answer, expected["options"])
    return None if place is None else LETTERS[place]


def _scienceqa(split: str, folder: Path) -> Iterator[Item]:
    problems = json_table(find_file(folder, "problems.json"))
    splits = json_object(find_file(folder, "pid_splits.json"))
    for key in splits.texts(split):
        if key not in problems:
            raise UserError(f"{splits.where}: {split!r} lists {key!r}, which 'problems.json' does not have")
        row = problems[key]
        if row.values.get("image") is None:  # a question about a text; most models are compared on the others
            continue
        of = row.one_of("split", ("train", "val", "test"))
        media = Media(folder, f"images/{of}", of, f"images/{of}/{of}", "images")
        options, right = _options(row)
        hint, question = row.text("hint", empty=True).strip(), row.text("question")
        question = f"Context: {hint}\n{question}" if hint else question
        path = media.path(row.where, f"{key}/{row.text('image')}")
        yield Item(
            key=key,
            request=asked(_listed(question, options), "image", path, prompt=""),
            expected={"options": options, "right": right},
            group=str(row.values.get("subject") or ""),
        )


def _iconqa(split: str, task: str, folder: Path) -> Iterator[Item]:
    places = [folder / "iconqa_data/iconqa" / split, folder / "iconqa" / split, folder / split, folder]
    found = next((place / task for place in places if (place / task).is_dir()), None)
    if found is None:
        raise UserError(f"there is no '{split}/{task}' in {str(folder)!r}; give the folder of IconQA's data")
    entries = sorted(entry for entry in found.iterdir() if entry.is_dir())
    for entry in sorted(entries, key=lambda entry: (len(entry.name), entry.name)):
        row = json_object(find_file(entry, "data.json"))
        expected: Any
        if task == "choose_txt":
            options, right = _options(row)
            question = _listed(row.text("question"), options)
            expected = {"options": options, "right": right}
        else:
            question, expected = row.text("question"), [row.id("answer")]
        image = Media(entry).path(row.where, "image.png")
        yield Item(
            key=entry.name,
            request=asked(question, "image", image, "" if task == "choose_txt" else SHORT),
            expected=expected,
            group=str(row.values.get("grade") or ""),
        )


def _vsr(split: str, folder: Path) -> Iterator[Item]:
    media = Media(folder, "images", "trainval2017", "train2017", "val2017")
    for number, row in enumerate(json_rows(find_file(folder, f"{split}.jsonl")), start=1):
        picture, label = row.text("image"), row.whole("label")
        if label not in (0, 1):
            raise row.refused("label", "0 or 1")
        statement = row.text("caption").strip()
        yield Item(
            key=str(number),
            request=asked(
                f'Based on the image, is this statement true or false? "{statement}"',
                "image",
                media.path(row.where, picture),
                prompt="",
            ),
            expected="yes" if label else "no",
            unit=picture,
        )


def make_scienceqa(
    split: Annotated[str, "train, val, test, minival or minitest."] = "test",
) -> Suite:
    """Ask those questions of ScienceQA that have a picture (ScienceQA-IMG)."""
    scores = {"accuracy": _chosen, "read": _names_one}
    return Questions("scienceqa", partial(_scienceqa, split), scores, _letter)


def make_iconqa(
    task: Annotated[str, "choose_txt or fill_in_blank."] = "choose_txt",
    split: Split = "test",
) -> Suite:
    """Ask the questions of IconQA about diagrams: with options, or with a blank to fill in."""
    refuse_unknown([task], ("choose_txt", "fill_in_blank"), what="task")
    read = partial(_iconqa, split, task)
    if task == "choose_txt":
        return Questions("iconqa", read, {"accuracy": _chosen, "read": _names_one}, _letter)
    return same_words("iconqa", read)


def make_vsr(split: Annotated[str, "Name before '.jsonl'."] = "test") -> Suite:
    """Ask whether statements of VSR about the places of things are true."""
    scores = {
        "accuracy": lambda answer, expected: float(yes_no(answer) == expected),
        "read": lambda answer, _: float(yes_no(answer) is not None),
    }
    return Questions("vsr", partial(_vsr, split), scores, lambda answer, _: yes_no(answer))


SCIENCEQA = SuiteKind(
    summary="Questions of school science with a picture and options.",
    examples="  imagebind-llm eval scienceqa --data scienceqa\n",
    make=make_scienceqa,
    facts=Facts(
        layout="problems.json, pid_splits.json, images/test/ID/image.png",
        metric="accuracy, by subject; share of answers that name an option",
        source="scienceqa.github.io",
        licence="CC BY-NC-SA 4.0",
    ),
)
ICONQA = SuiteKind(
    summary="Questions about diagrams, with options or a blank.",
    examples="  imagebind-llm eval iconqa --data iconqa_data --task fill_in_blank\n",
    make=make_iconqa,
    facts=Facts(
        layout="iconqa/test/choose_txt/ID/data.json and image.png (likewise fill_in_blank)",
        metric="accuracy (options), or the same words (blank); by grade",
        source="iconqa.github.io",
        licence="CC BY-NC-SA 4.0",
    ),
)
VSR = SuiteKind(
    summary="Whether statements about the places of things are true.",
    examples="  imagebind-llm eval vsr --data vsr\n",
    make=make_vsr,
    facts=Facts(
        layout="test.jsonl (image, caption, label 0 or 1), pictures of COCO in images/",
        metric="accuracy; share of answers that say true or false",
        source="github.com/cambridgeltl/visual-spatial-reasoning",
        licence="Apache-2.0; pictures by their owners",
    ),
)
