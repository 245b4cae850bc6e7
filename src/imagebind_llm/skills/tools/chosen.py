"""Media that the arguments of a call name by their numbers."""

from collections.abc import Sequence
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.model.messages import MediaItem

NUMBERS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1, "maximum": 64},
    "maxItems": 64,
    "uniqueItems": True,
}
"""JSON schema of numbers of attached media."""
_NAMES = {
    Modality.IMAGE: "picture",
    Modality.AUDIO: "sound",
    Modality.VIDEO: "video",
    Modality.POINT: "3D shape",
    Modality.DEPTH: "depth map",
    Modality.THERMAL: "thermal image",
    Modality.IMU: "motion",
}


_CHINESE = {
    Modality.IMAGE: "图片",
    Modality.AUDIO: "声音",
    Modality.VIDEO: "视频",
    Modality.POINT: "立体形状",
    Modality.DEPTH: "深度图",
    Modality.THERMAL: "热像图",
    Modality.IMU: "动作",
}


def chosen(media: Sequence[MediaItem], numbers: Sequence[int]) -> list[MediaItem]:
    """The media at these places, from 1.

    Raises:
        UserError: there are fewer.
    """
    far = max(numbers, default=0)
    if far > len(media):
        raise UserError(f"medium {far} is asked for, and {len(media)} are attached")
    return [media[number - 1] for number in numbers]


def by_modality(items: Sequence[MediaItem]) -> dict[str, list[tuple[Any, float]]]:
    """Media as :meth:`~imagebind_llm.inference.assistant.Assistant.ask` takes them."""
    found: dict[str, list[tuple[Any, float]]] = {}
    for item in items:
        found.setdefault(item.modality.value, []).append((item.source, item.weight))
    return found


def named(item: MediaItem) -> str:
    """A medium in a sentence: "the sound", or the words themselves."""
    if item.modality is Modality.TEXT:
        return f"“{item.source}”"
    return f"the {_NAMES.get(item.modality, item.modality.value)}"


def named_all(items: Sequence[MediaItem], language: str = "en") -> str:
    """Media in a sentence: "the sound and the picture", "the 2 sounds"; in Chinese (``zh``) 声音和图片."""
    if language == "zh":
        return "和".join(
            dict.fromkeys(
                f"“{item.source}”"
                if item.modality is Modality.TEXT
                else _CHINESE.get(item.modality, item.modality.value)
                for item in items
            )
        )
    words = [named(item) for item in items]
    counted = [
        f"the {words.count(one)} {one.removeprefix('the ')}s" if words.count(one) > 1 else one
        for one in dict.fromkeys(words)
    ]
    return " and ".join(filter(None, [", ".join(counted[:-1]), counted[-1]]))
