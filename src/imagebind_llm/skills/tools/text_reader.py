"""Optical character recognition (OCR) as a tool: PaddleOCR's models of printed text, through RapidOCR.

The package ``rapidocr-onnxruntime`` (Apache-2.0) holds its weights: a detector of lines, a classifier of
lines that stand upside down, and a recogniser of Chinese and English (PP-OCRv4). Nothing is downloaded. It is
no reader of handwriting, and often leaves out the spaces between English words.
"""

import json
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagebind_llm.common.errors import MediaError, MissingExtraError, UserError, one_line, reason_of, require
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.base import Limits, name_of
from imagebind_llm.media.image import read_image, to_rgb
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.routes import Route
from imagebind_llm.skills.tools.stopping import check_time

FEATURE = "recognising text"
LIMITS = Limits(max_bytes=64 * 1024 * 1024, max_pixels=50_000_000)
"""Of a picture. The library makes it smaller, to 2,000 pixels on its longer side."""
LONGEST_ASPECT = 20
"""Longer side / shorter side. The library adds a border to narrow pictures, and its area grows with the
square of this."""
LEAST_CONFIDENCE = 0.5
"""Of a line, 0 … 1: the library's own default; less certain ones are left out."""
MOST_LINES = 200
"""That a result has, so that it stays below :data:`MOST_CHARACTERS`."""
MOST_CHARACTERS = 60_000
SECONDS = 60.0


@dataclass(frozen=True)
class Line:
    """A line of text.

    Attributes:
        text: what it says.
        confidence: the recogniser's, 0.5 … 1.
        box: corners (x, y) in pixels of the picture, clockwise from the upper left one of the text.
    """

    text: str
    confidence: float
    box: tuple[tuple[int, int], ...]


class TextReader:
    """Reads printed text, Chinese and English.

    Raises:
        MissingExtraError: the extra ``ocr`` is not installed.
        UserError: it is, but cannot be loaded.
    """

    def __init__(self) -> None:
        import torch

        self._engine: Any = _library().RapidOCR(
            text_score=LEAST_CONFIDENCE, intra_op_num_threads=torch.get_num_threads()
        )
        # the library has no way to end early but an error from one of its three models
        self._engine.text_det.infer = _InTime(self._engine.text_det.infer)
        self._engine.text_cls.infer = _InTime(self._engine.text_cls.infer)
        self._engine.text_rec.session = _InTime(self._engine.text_rec.session)
        self._one = threading.Lock()

    def read(self, source: Any) -> list[Line]:
        """The lines of a picture from top to bottom: a path, bytes, a PIL image or an array.

        Transparent parts are taken as white.

        Raises:
            MediaError: it cannot be read, is too large, or too narrow.
        """
        image = to_rgb(read_image(source, LIMITS), alpha="white")
        if max(image.size) > LONGEST_ASPECT * min(image.size):
            width, height = image.size
            raise MediaError(
                name_of(source),
                f"{width} x {height} pixels",
                f"sides of at most {LONGEST_ASPECT} : 1",
                "cut it into pieces",
            )
        pixels = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])  # the library takes arrays as BGR
        with self._one:
            check_time()
            found, _ = self._engine(pixels)
        return [
            Line(str(text), round(float(score), 3), tuple((round(x), round(y)) for x, y in box))
            for box, text, score in found or ()
            if str(text).strip()
        ]

    def tool(self) -> Tool:
        """As a tool ``ocr``.

        Its result is a JSON object: ``text``, the lines with a line break between them, and ``lines``, each
        with ``text``, ``confidence`` and ``box``.
        """
        return Tool(
            "ocr",
            "Reads the printed text in an attached picture.",
            {
                "type": "object",
                "properties": {
                    "number": {"type": "integer", "minimum": 1, "description": "Which of the pictures."}
                },
                "additionalProperties": False,
            },
            self._called,
            seconds=SECONDS,
            characters=MOST_CHARACTERS,
            media=True,
            routes=ROUTES,
        )

    def _called(self, media: Sequence[MediaItem], number: int = 1) -> str:
        seen = [item for item in media if item.modality is Modality.IMAGE]
        if number > len(seen):
            raise UserError(f"picture {number} is asked for, and {len(seen)} are attached")
        return written(self.read(seen[number - 1].source))


def ocr() -> Tool:
    """A tool that reads the text in pictures.

    Raises:
        MissingExtraError: the extra ``ocr`` is not installed.
    """
    return TextReader().tool()


def written(lines: Sequence[Line]) -> str:
    """The result of the tool: JSON. Of more than :data:`MOST_LINES` lines the first are there, and
    ``left_out`` says how many are not."""
    kept = lines[:MOST_LINES]
    found: dict[str, Any] = {
        "text": "\n".join(line.text for line in kept),
        "lines": [vars(line) for line in kept],
    }
    if len(lines) > len(kept):
        found["left_out"] = len(lines) - len(kept)
    return json.dumps(found, ensure_ascii=False)


class _InTime:
    """A model of the library that is not run when the time of the call is over."""

    def __init__(self, model: Callable[[Any], Any]) -> None:
        self._model = model

    def __call__(self, values: Any) -> Any:
        check_time()
        return self._model(values)


def _library() -> Any:
    try:
        return require("rapidocr_onnxruntime", "ocr", FEATURE)
    except MissingExtraError:
        if sys.version_info >= (3, 13):
            raise MissingExtraError(
                f"{FEATURE} needs the package rapidocr-onnxruntime, which there is for Python up to 3.12 only"
            ) from None
        raise
    except ImportError as error:  # OpenCV's usual wheel needs libraries of a desktop, as libGL
        raise UserError(
            f"OpenCV cannot be loaded ({one_line(reason_of(error), 100)}); "
            "run: pip uninstall -y opencv-python, then: pip install opencv-python-headless"
        ) from error


_WHERE = (
    "[ (in|on|of|from|at) (the|this|that|my) (picture|image|photo|photograph|screenshot|scan|sign|page|label|"
    "document|poster|screen|board|paper)]"
)
_TEXT = "(text|words|writing|letters|inscription|sign|label|caption|page|document|receipt|poster|line)"
_THING = (
    "(it|sign|text|writing|label|picture|image|photo|screenshot|page|note|screen|poster|board|caption|document|"
    "receipt|paper|inscription|notice|banner|headline|title)"
)
_PLACE = "[图片|图像|照片|图|牌子|路牌|标志|屏幕|纸][中|里|上|上面|里面|中的|里的|上的]"
_HERE = "[这|这里|这儿|这张|这个|上面|那个]"
_PLEASE = "[请|请你|请帮我|帮我|你能|能不能]"


def _route(phrase: str) -> Route:
    return Route(phrase, {}, "{text}")


ROUTES = (
    _route(
        "(read|transcribe|extract|recognise|recognize|copy|type out|write down|ocr)[ out][ me][ all][ of]"
        f"[ the| this| that| any][ printed] {_TEXT}[ out][ aloud][ to me]{_WHERE}"
    ),
    _route(
        "(read|ocr)[ out] (it|this|[the|this] (picture|image|photo|screenshot|scan))[ out][ aloud][ to me]"
    ),
    _route(f"(what is|what's|what was|what) (written|printed)[ down][ here|there|on it|in it]{_WHERE}"),
    _route(
        "(what|which) (text|words|letters) (is|are|stands|stand|do you see|can you see|can you read|"
        f"do you read|appears|appear)[ there][ written|printed|shown|on it|in it][ here]{_WHERE}"
    ),
    _route(f"what (do|does)[ the| this| that] {_THING}{_WHERE} (say|read|spell)[ here]"),
    _route(f"what[ the| this| that] {_THING}{_WHERE} (says|reads|spells)"),
    _route(f"what (can|do) you read[ here|there]{_WHERE}"),
    _route(f"(give|tell|show)[ me][ all][ the] (text|words|writing|inscription){_WHERE}"),
    _route(
        f"{_PLEASE}(读出|读一下|念出|念一下|识别|提取|抄写|读)[这张|这个]{_PLACE}[的](文字|文本|字)[吗|吧]"
    ),
    _route(
        f"{_PLEASE}把[这张|这个]{_PLACE}[的](文字|文本|字)"
        "(读出来|念出来|识别出来|提取出来|写下来|读一下)[吗|吧]"
    ),
    _route(f"{_HERE}{_PLACE}[都](写着|写了|写的是|写|印着|印的是)(什么|了什么|些什么)[字|文字|内容|呢]"),
    _route(f"{_HERE}{_PLACE}有(什么|哪些)(字|文字)[呢]"),
)
"""How people ask for it, in English and Chinese."""
