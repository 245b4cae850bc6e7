"""What the places of a route stand for: something written in the question, or something perceived.

"The number you hear" is not in the question: the model itself is asked what number it hears, about that
medium alone. Such a question is a :class:`Perception`; whoever runs the model answers it, nothing here does
(:class:`~imagebind_llm.skills.tools.perceived.Plan`).

What a place means is decided by words, in this order: a medium by its sense ("hear", "picture", "feel", …) or
by its place ("first", "second", "last"); a number in the question; else the media in their order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from imagebind_llm.common.errors import UserError, one_line
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.request import describe
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.skills.tools.numbers import one_number

_SENSES: dict[str, tuple[str, tuple[Modality, ...]]] = {
    "heard": (
        r"hear|hears|heard|hearing|listen|sound|sounds|audio|recording|spoken|said|say|says|"
        r"voice|speech|clip|pronounced|uttered|told",
        (Modality.AUDIO,),
    ),
    "seen": (
        r"see|sees|seen|seeing|look|picture|pictures|image|images|photo|photos|drawing|drawn|shown|written|"
        r"handwritten|screen|video|film|depth map|thermal image|drew|draw|wrote|write|displayed|depicted",
        (Modality.IMAGE, Modality.VIDEO, Modality.DEPTH, Modality.THERMAL),
    ),
    "felt": (r"feel|feels|felt|motion|movement|moved|traced", (Modality.IMU,)),
    "shaped": (r"shape|shapes|point cloud|mesh|3d|solid", (Modality.POINT,)),
}
"""Sense → words for it, and the modalities that it is about."""
_CHINESE = {
    "heard": r"听到|听见|听的|声音|音频|录音|语音",
    "seen": r"看到|看见|看的|图片|图像|图画|照片|画面|[张幅]图|图[里中上]|视频|手写|截图|深度图|热像",
    "felt": r"感觉到|感受到|动作",
    "shaped": r"形状|点云|网格|立体|三维",
}
"""The same words in Chinese, which have no borders."""
_WORDS = {
    name: re.compile(rf"\b(?:{words})\b|{_CHINESE[name]}", re.IGNORECASE)
    for name, (words, _) in _SENSES.items()
}
_ORDER = {
    0: re.compile(r"\b(?:first|1st|former)\b|第一", re.IGNORECASE),
    1: re.compile(r"\b(?:second|2nd|latter|other)\b|第二|另一", re.IGNORECASE),
    2: re.compile(r"\b(?:third|3rd)\b|第三", re.IGNORECASE),
    -1: re.compile(r"\blast\b|最后", re.IGNORECASE),
}
_PRONOUN = re.compile(
    r"\b(?:the|this|that|first|second|third|other|last|which|both) (?:(?!number|digit)[a-z]+ ){0,2}"
    r"(?:ones?|numbers?|digits?)\b|\bone (?=\w)"
    r"|\b(?:it|this|that|they|them|these|those)\b",
    re.IGNORECASE,
)
_POINTING = re.compile(
    r"^(?:it|this|that|them|these|those|all|everything|all of (?:it|this|them|these)|both|the mixture)$"
    r"|\battached\b|^(?:this|that|these|those) "
    r"|^(?:这|那|它)|^(?:全部|所有|两者|两个)$|附件|上传",
    re.IGNORECASE,
)
"""Words that stand for the media and for nothing else."""
ASKED = {"number": "What number is this?", "thing": "What is this?"}
"""What the model is asked about a medium, alone."""
_SENTENCE = re.compile(
    r"^(?:i think |i believe )?(?:it|this|that)(?: is|'s| looks like| sounds like) (?:a |an |the )?|[.!?]+$",
    re.IGNORECASE,
)


def points_at_media(words: str) -> bool:
    """Whether words speak of what is attached ("what I hear", "this") and not of a thing ("a seven")."""
    return bool(_POINTING.search(words)) or any(pattern.search(words) for pattern in _WORDS.values())


@dataclass(frozen=True)
class Perception:
    """A question to the model about one medium.

    Attributes:
        item: the medium.
        kind: ``"number"`` or ``"thing"``.
    """

    item: MediaItem
    kind: str

    @property
    def question(self) -> str:
        """What is asked."""
        return ASKED[self.kind]

    def read(self, answer: str) -> Any:
        """The number or the name in the model's answer.

        Raises:
            UserError: there is none.
        """
        if self.kind == "number":
            number = one_number(answer)
            if number is None:
                said = one_line(answer, 80)
                raise UserError(f"no number is perceived in {describe(self.item)}: the model says {said!r}")
            return number
        name = _SENTENCE.sub("", " ".join(answer.split()))
        if not name:
            raise UserError(f"nothing is perceived in {describe(self.item)}: the model says {answer!r}")
        return name


class Operands:
    """Finds what places stand for, in one question.

    Args:
        media: of the question, in their order.

    Attributes:
        unknown: why the last place that was given up stands for nothing, in a few words.
    """

    def __init__(self, media: Sequence[MediaItem]) -> None:
        self._media = list(media)
        self._used: set[int] = set()
        self.unknown = ""

    def numbered(self, number: int, kind: str) -> Perception | None:
        """The medium at a place, from 1."""
        if number > len(self._media):
            self.unknown = f"it speaks of {number} media, and {len(self._media)} are attached"
            return None
        self._used.add(number - 1)
        return Perception(self._media[number - 1], kind)

    def find(self, words: str, kind: str) -> Decimal | str | list[int] | Perception | None:
        """What ``words`` stand for; None if that is not clear."""
        if kind == "words":
            return words or None
        if kind == "media":
            return self._meant(words)
        if kind == "described":
            if points_at_media(words):
                self.unknown = f"{one_line(words, 60)!r} does not describe a thing"
                return None
            return words or None
        senses = [name for name, pattern in _WORDS.items() if pattern.search(words)]
        order = next((place for place, pattern in _ORDER.items() if pattern.search(words)), None)
        if len(senses) > 1:
            self.unknown = f"{one_line(words, 60)!r} speaks of several senses"
            return None
        number = one_number(_PRONOUN.sub(" ", words)) if kind == "number" else None
        if senses and number is not None:
            self.unknown = f"{one_line(words, 60)!r} speaks of a number and of something {senses[0]}"
            return None
        if senses:
            return self._sensed(senses[0], order, kind)
        if number is not None:
            return number
        if order is not None:
            return self._at(list(range(len(self._media))), order, kind)
        if _PRONOUN.search(words) or kind == "thing":
            return self._next(kind)
        self.unknown = f"{one_line(words, 60)!r} is neither a number nor one of the media"
        return None

    def _meant(self, words: str) -> list[int] | None:
        """Numbers from 1 of the media that ``words`` speak of: all of the senses that are named, the one at a
        place, or simply all ("this"). None where there is none, or they speak of no medium."""
        senses = [name for name, pattern in _WORDS.items() if pattern.search(words)]
        order = next((place for place, pattern in _ORDER.items() if pattern.search(words)), None)
        if not senses and order is None and not _POINTING.search(words):
            self.unknown = f"{one_line(words, 60)!r} speaks of none of the attached media"
            return None
        found: list[int] = []
        for sense in senses or [""]:
            fitting = [
                place
                for place, item in enumerate(self._media)
                if not sense or item.modality in _SENSES[sense][1]
            ]
            if not fitting:
                what = f"something {sense}" if sense else "a medium"
                self.unknown = f"it speaks of {what}, and no such medium is attached"
                return None
            if order is not None and order >= len(fitting):
                self.unknown = f"it speaks of medium {order + 1} of its kind, and {len(fitting)} are attached"
                return None
            found += fitting if order is None else [fitting[order]]
        return [place + 1 for place in sorted(set(found))]

    def _sensed(self, sense: str, order: int | None, kind: str) -> Perception | None:
        fitting = [i for i, item in enumerate(self._media) if item.modality in _SENSES[sense][1]]
        if not fitting:
            self.unknown = f"it speaks of something {sense}, and no such medium is attached"
            return None
        if order is None:
            order = next((i for i, place in enumerate(fitting) if place not in self._used), 0)
        return self._at(fitting, order, kind)

    def _at(self, places: list[int], order: int, kind: str) -> Perception | None:
        if order >= len(places):
            self.unknown = f"it speaks of medium {order + 1} of its kind, and {len(places)} are attached"
            return None
        if not places:
            self.unknown = "no medium is attached"
            return None
        self._used.add(places[order])
        return Perception(self._media[places[order]], kind)

    def _next(self, kind: str) -> Perception | None:
        place = next((i for i in range(len(self._media)) if i not in self._used), None)
        if place is None:
            self.unknown = "it speaks of more media than are attached"
            return None
        self._used.add(place)
        return Perception(self._media[place], kind)
