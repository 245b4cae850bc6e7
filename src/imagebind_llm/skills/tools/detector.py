"""A detector as a tool: where in a picture is what is described, shown or heard?"""

import io
import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.calls import MadeFile, Outcome
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.skills.tools.chinese import DETECTOR_ROUTES
from imagebind_llm.skills.tools.chosen import NUMBERS, chosen, named_all
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.routes import Route

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant
    from imagebind_llm.skills.detection import Detections, Detector, Proposer

LONGEST = 200
"""Characters of a description."""
SECONDS = 120.0
"""Time of a call."""
_MOST_SAID = 5
"""Boxes that the sentence tells of; the files have all."""
_WHERE = "(where is|where are|where's|where do you see|where can i see|find|locate|point to|point at|detect)"
_IN = "[ in (it|this|that|the picture|the image|the scene|the photo|this picture|this image)]"

ROUTES = (
    Route(f"{_WHERE} {{of:media}}{_IN}[,][ please]", {"of": "{of}"}),
    Route(f"{_WHERE} {{text:described}}{_IN}[,][ please]", {"text": "{text}"}),
    *DETECTOR_ROUTES,
)
"""How people ask for it, in English and Chinese."""
Language = Literal["en", "zh"]


class DetectorTool:
    """Finds things in an attached picture.

    Args:
        proposer: what proposes boxes: ``"nano"``, a folder, or a hub id
            (:func:`~imagebind_llm.skills.detection.proposers.open_proposer`).
    """

    def __init__(self, proposer: str = "nano") -> None:
        self._proposer = proposer
        self._opened: Proposer | None = None
        self._one = threading.Lock()

    def tool(self) -> Tool:
        """As a tool ``detector``."""
        return Tool(
            "detector",
            "Finds where in an attached picture something is that is described, shown or heard.",
            {
                "type": "object",
                "properties": {
                    "text": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": LONGEST,
                        "description": "What to look for, for example: a dog",
                    },
                    "of": {
                        **NUMBERS,
                        "description": "Or numbers of the attached media to look for, from 1.",
                    },
                    "picture": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 64,
                        "description": "Number of the medium to look in. Default: the first picture.",
                    },
                    "language": {"enum": ["en", "zh"], "description": "Of the result. Default: en."},
                },
                "additionalProperties": False,
            },
            self.find,
            seconds=SECONDS,
            media=True,
            assistant=True,
            routes=ROUTES,
        )

    def detector(self, assistant: "Assistant") -> "Detector":
        """The detector of a model. The proposer is kept, the model is not."""
        from imagebind_llm.skills.detection import Detector
        from imagebind_llm.skills.detection.proposers import open_proposer

        with self._one:
            if self._opened is None:
                self._opened = open_proposer(self._proposer, str(assistant.device))
            return Detector(assistant, self._opened)

    def find(
        self,
        *,
        assistant: "Assistant",
        media: Sequence[MediaItem],
        text: str | None = None,
        of: Sequence[int] | None = None,
        picture: int | None = None,
        language: Language = "en",
    ) -> Outcome:
        """Look for something.

        Args:
            assistant: embeds what is in the boxes.
            media: all that are attached.
            text: what to look for, in words.
            of: or numbers of the media that show it, from 1: each is looked for on its own.
            picture: number of the medium to look in; None: the first picture that is not looked for.
            language: of the sentence that tells of it.

        Raises:
            UserError: there is no picture, nothing to look for, or a medium cannot be read.
        """
        from imagebind_llm.skills.detection import Prompt
        from imagebind_llm.skills.detection.names import find

        scene, sought = _told_apart(media, of or (), picture)
        prompts = [Prompt.of(_called(item), **{item.modality.value: item.source}) for item in sought]
        if text:
            prompts.insert(0, Prompt.of(text, text=text))
        if not prompts:
            raise UserError("it is not said what to look for; describe it, or attach a medium that shows it")
        found = find(self.detector(assistant), scene.source, prompts)
        words = [MediaItem(Modality.TEXT, text)] if text else []
        said = named_all([*words, *sought], language)
        return Outcome(sentence(found, said, language), detection_files(found))


def _told_apart(
    media: Sequence[MediaItem], of: Sequence[int], picture: int | None
) -> tuple[MediaItem, list[MediaItem]]:
    """The picture to look in, and the media to look for. Where all pictures are named ("find this"), the
    first one is looked in."""
    chosen(media, of)
    if picture is None:
        places = [place for place, item in enumerate(media, 1) if item.modality is Modality.IMAGE]
        free = [place for place in places if place not in of] or places
        if not free:
            raise UserError("there is no picture to look in; attach one")
        picture = free[0]
    (scene,) = chosen(media, [picture])
    if scene.modality is not Modality.IMAGE:
        raise UserError(f"medium {picture} is no picture, so nothing can be found in it")
    return scene, chosen(media, [number for number in of if number != picture])


def _called(item: MediaItem) -> str:
    return str(item.source) if item.modality is Modality.TEXT else named_all([item])


def sentence(found: "Detections", sought: str, language: Language = "en") -> str:
    """What was found, in one sentence.

    Args:
        found: the boxes.
        sought: what was looked for, in words.
        language: of the sentence.
    """
    if language == "zh":
        return _chinese(found, sought)
    if not len(found):
        return f"I found nothing in the picture that fits {sought}, among {found.proposed} places."
    several = len(found.labels) > 1
    places = [
        f"{one.label + ' ' if several else ''}at x {one.box[0]:.0f} to {one.box[2]:.0f}, "
        f"y {one.box[1]:.0f} to {one.box[3]:.0f} (score {one.score:.2f})"
        for one in found.found[:_MOST_SAID]
    ]
    more = f"; and {len(found) - _MOST_SAID} more" if len(found) > _MOST_SAID else ""
    count = "one place" if len(found) == 1 else f"{len(found)} places"
    return f"I found {sought} in {count}: {'; '.join(places)}{more}."


def _chinese(found: "Detections", sought: str) -> str:
    if not len(found):
        return f"图片里看了{found.proposed}处，没有找到{sought}。"
    several = len(found.labels) > 1
    places = [
        f"{one.label + '：' if several else ''}x {one.box[0]:.0f} 到 {one.box[2]:.0f}，"
        f"y {one.box[1]:.0f} 到 {one.box[3]:.0f}（得分 {one.score:.2f}）"
        for one in found.found[:_MOST_SAID]
    ]
    more = f"；还有{len(found) - _MOST_SAID}处" if len(found) > _MOST_SAID else ""
    return f"找到{sought}，共{len(found)}处：{'；'.join(places)}{more}。"


def detection_files(found: "Detections") -> tuple[MadeFile, ...]:
    """The picture with its boxes, and the boxes as COCO's JSON."""
    from imagebind_llm.skills.detection.coco import to_coco
    from imagebind_llm.skills.detection.overlay import overlay

    stream = io.BytesIO()
    overlay(found).save(stream, "PNG")
    boxes = json.dumps(to_coco(["picture"], [found]), ensure_ascii=False).encode()
    return (
        MadeFile("found.png", "image/png", stream.getvalue()),
        MadeFile("found.json", "application/json", boxes),
    )


DETECTOR = DetectorTool().tool()
"""With nano's own proposer."""
