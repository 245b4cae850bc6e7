"""Whole small benchmarks in the released formats, made of the bundled examples."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

INPUTS = Path(__file__).parents[2] / "examples" / "inputs"
ANIMALS = ("bird", "dog", "horse")
THINGS = (*ANIMALS, "airplane", "car", "ship", "truck")
DIGITS = ("two", "three", "five", "eight")
MME_TASKS = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR",
    "commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning",
)  # fmt: skip


def picture(name: str) -> Path:
    """The bundled photograph or digit called ``name``."""
    return INPUTS / f"{name}.jpg"


def write_mme(folder: Path) -> Path:
    """All fourteen sub-tasks, three pictures each, half of them in each of the two layouts."""
    for number, task in enumerate(MME_TASKS):
        names = [THINGS[(number + step) % len(THINGS)] for step in (0, 2, 5)]
        images, questions = folder / task, folder / task
        if number % 2:
            images, questions = folder / task / "images", folder / task / "questions_answers_YN"
        images.mkdir(parents=True)
        questions.mkdir(parents=True, exist_ok=True)
        for name in names:
            other = THINGS[(THINGS.index(name) + 1) % len(THINGS)]
            shutil.copy(picture(name), images / f"{name}.jpg")
            (questions / f"{name}.txt").write_text(
                f"Is this a {name}? Please answer yes or no.\tYes\n"
                f"Is this a {other}? Please answer yes or no.\tNo\n"
            )
    return folder


def write_captions(folder: Path) -> Path:
    """COCO's captions of the photographs, five of each."""
    (folder / "val2014").mkdir(parents=True)
    images, annotations = [], []
    for number, name in enumerate(THINGS, start=1):
        file = f"COCO_val2014_{number:012d}.jpg"
        shutil.copy(picture(name), folder / "val2014" / file)
        images.append({"id": number, "file_name": file})
        words = (f"It is a {name}.", f"A {name}.", f"A photo of a {name}.", f"One {name} in a picture.")
        for text in (*words, f"This picture shows a {name}."):
            annotations.append({"id": len(annotations), "image_id": number, "caption": text})
    values = {"images": images, "annotations": annotations}
    (folder / "captions_val2014.json").write_text(json.dumps(values))
    return folder


def write_vqa(folder: Path) -> Path:
    """VQA v2's questions and annotations, ten answers each."""
    (folder / "val2014").mkdir(parents=True)
    questions, annotations = [], []
    for number, name in enumerate((*THINGS, *DIGITS), start=1):
        shutil.copy(picture(name), folder / "val2014" / f"COCO_val2014_{number:012d}.jpg")
        kind = "What digit is this?" if name in DIGITS else "What is this?"
        questions.append({"question_id": number, "image_id": number, "question": kind})
        said = [name] * 8 + ["something", "a thing"]
        annotations.append(
            {
                "question_id": number,
                "image_id": number,
                "question_type": "what is this",
                "answer_type": "other",
                "multiple_choice_answer": name,
                "answers": [{"answer": text, "answer_id": n} for n, text in enumerate(said, start=1)],
            }
        )
    (folder / "v2_OpenEnded_mscoco_val2014_questions.json").write_text(json.dumps({"questions": questions}))
    (folder / "v2_mscoco_val2014_annotations.json").write_text(json.dumps({"annotations": annotations}))
    return folder


def write_pope(folder: Path) -> Path:
    """POPE's three files, six questions a picture of which three are about things that are not there."""
    (folder / "val2014").mkdir(parents=True)
    for name in THINGS:
        shutil.copy(picture(name), folder / "val2014" / f"{name}.jpg")
    for step, kind in enumerate(("random", "popular", "adversarial"), start=1):
        lines = []
        for number, name in enumerate(THINGS):
            other = THINGS[(number + step) % len(THINGS)]
            for asked, label in ((name, "yes"), (other, "no")):
                lines.append(
                    {
                        "question_id": len(lines) + 1,
                        "image": f"{name}.jpg",
                        "text": f"Is there a {asked} in the image?",
                        "label": label,
                    }
                )
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"coco_pope_{kind}.json").write_text(text)
    return folder


def write_pairs(folder: Path, pairs: Sequence[tuple[str, str]] = ()) -> Path:
    """A table of pictures and sounds of the same things."""
    folder.mkdir(parents=True)
    rows = pairs or [
        ("bird.jpg", "bird.flac"),
        ("dog.jpg", "dog.ogg"),
        ("eight.jpg", "eight.ogg"),
        ("two.jpg", "two.mp3"),
        ("four.png", "four.wav"),
    ]
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "audio", "text"))
        for image, audio in rows:
            shutil.copy(INPUTS / image, folder)
            shutil.copy(INPUTS / audio, folder)
            writer.writerow((image, audio, f"a {Path(image).stem}"))
    return folder / "pairs.csv"


def write_words(folder: Path) -> Path:
    """Words to read: handwritten digits by name, and words printed by us."""
    folder.mkdir(parents=True)
    lines = []
    for name in DIGITS:
        shutil.copy(picture(name), folder / f"{name}.jpg")
        lines.append(f"{name}.jpg {name}\n")
    for word in ("STOP", "Open"):
        drawn = Image.new("RGB", (96, 32), "white")
        ImageDraw.Draw(drawn).text((10, 8), word, fill="black")
        drawn.save(folder / f"{word}.png")
        lines.append(f"{word}.png {word}\n")
    (folder / "test_label.txt").write_text("".join(lines))
    return folder


PLAN = """
runs:
  - {suite: mme, data: mme, show: [cognition, accuracy]}
  - {suite: coco-caption, data: captions, show: [BLEU-1]}
  - {suite: vqav2, data: vqa}
  - {suite: pope, data: pope, show: [f1, yes_rate]}
  - {suite: retrieval, data: pairs/pairs.csv, options: {query: audio, target: image}, show: [r@5]}
  - {suite: iiit5k, data: words}
"""


def write_all(folder: Path) -> Path:
    """All of them, and ``plan.yaml``."""
    write_mme(folder / "mme")
    write_captions(folder / "captions")
    write_vqa(folder / "vqa")
    write_pope(folder / "pope")
    write_pairs(folder / "pairs")
    write_words(folder / "words")
    (folder / "plan.yaml").write_text(PLAN)
    return folder
