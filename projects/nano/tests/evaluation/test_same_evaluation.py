"""What the standard evaluation asks does not change, so that the numbers of two editions can be compared.

The questions of every variant and every dialog are hashed. The media: ``world/test_same_media.py``.
"""

import hashlib

import torch
from eval_worlds import SMALL, Oracle, tiny_material

from nano_lab.evaluation.followups import _draw_talks
from nano_lab.evaluation.run import _mixtures, _plan
from nano_lab.grammar import LANGUAGES, SPLITS, kinds, questions

QUESTIONS = "38fc39ccb455f67d"
DIALOGS = "798a25474f22bef0"
PHRASINGS = "78f5b1597a1c2766"


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def asked(turn) -> str:
    # How it is said that nothing was given may change: any wording of that is right.
    answer = "" if turn.truth == "nothing" else turn.answer
    return repr((turn.question, answer, turn.concepts, turn.kind, turn.phrasing, turn.key, turn.truth))


def question_digest() -> str:
    model = Oracle(cache=True)
    material = tiny_material(model)
    mixed = [found for found in _mixtures(model, material.known, SMALL, 0) if found is not None]
    lines = []
    for variant in _plan(material.known, material.unknown, mixed, SMALL, 0):
        for question in variant.questions:
            shown = "" if question.conditions is None else str(torch.nonzero(question.conditions).tolist())
            lines.append(f"{variant.name} {asked(question.turn)} {shown}")
    assert len(lines) > 3000
    return digest(lines)


def dialog_digest() -> str:
    material = tiny_material(Oracle())
    talks = _draw_talks(material.known, material.unknown, 0, 100)
    return digest([asked(turn) for talk in talks for turn in talk.sample.turns])


def phrasing_digest() -> str:
    return digest(
        [
            question
            for language in LANGUAGES
            for split in SPLITS
            for kind in kinds(language)
            for question in questions(kind, language, split)
        ]
    )


def test_the_questions_are_those_of_the_first_edition() -> None:
    assert question_digest() == QUESTIONS
    assert dialog_digest() == DIALOGS
    assert phrasing_digest() == PHRASINGS
