"""The instruction language of nano's small world, English and Chinese, generated with its truth.

``media_sample``, ``statement_sample``, ``text_sample``, ``caption_sample``, ``check_sample`` and
``claim_sample`` draw dialogs; ``messages`` turns one into chat messages; ``judge``, ``correct`` and
``is_doubt`` check generated answers; ``questions`` lists one question per phrasing of a kind.
"""

from nano_lab.grammar.ask import (
    CAPTION_KINDS,
    CHAT_KINDS,
    CHECK_KINDS,
    DIGIT_KINDS,
    MIXTURE_KINDS,
    NAMING_KINDS,
    OBJECT_KINDS,
    PROPERTY_KINDS,
    SINGLE_KINDS,
    TEXT_KINDS,
)
from nano_lab.grammar.checking import check_sample, claim_sample
from nano_lab.grammar.dialogs import Sample, Turn, answer_to
from nano_lab.grammar.judge import correct, is_doubt, is_nothing_given, judge, named
from nano_lab.grammar.phrasing import SPLITS, Split, kinds, patterns
from nano_lab.grammar.samples import (
    caption_sample,
    media_sample,
    messages,
    questions,
    statement_sample,
    text_sample,
)
from nano_lab.grammar.words import LANGUAGES, Language

__all__ = [
    "CAPTION_KINDS",
    "CHAT_KINDS",
    "CHECK_KINDS",
    "DIGIT_KINDS",
    "LANGUAGES",
    "MIXTURE_KINDS",
    "NAMING_KINDS",
    "OBJECT_KINDS",
    "PROPERTY_KINDS",
    "SINGLE_KINDS",
    "SPLITS",
    "TEXT_KINDS",
    "Language",
    "Sample",
    "Split",
    "Turn",
    "answer_to",
    "caption_sample",
    "check_sample",
    "claim_sample",
    "correct",
    "is_doubt",
    "is_nothing_given",
    "judge",
    "kinds",
    "media_sample",
    "messages",
    "named",
    "patterns",
    "questions",
    "statement_sample",
    "text_sample",
]
