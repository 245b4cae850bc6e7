"""A call of a tool, as it is logged in an answer. Who makes calls is :mod:`imagebind_llm.skills.tools`."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagebind_llm.common.errors import one_line


def new_id() -> str:
    """A name for a call, as OpenAI's are."""
    return f"call_{uuid.uuid4().hex[:24]}"


@dataclass(frozen=True)
class Perceived:
    """What the model was asked in order to fill in an argument.

    Attributes:
        medium: the modality and the source, in a few words.
        question: what it was asked about it.
        answer: what it said.
    """

    medium: str
    question: str
    answer: str


@dataclass(frozen=True)
class MadeFile:
    """A file that a call made, in memory.

    Attributes:
        name: what it may be called, without a folder: ``picture.png``.
        media_type: of its content, for example ``image/png``, ``audio/wav``, ``model/gltf-binary`` or
            ``application/json``.
        data: the content.
    """

    name: str
    media_type: str
    data: bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the content."""
        return {"name": self.name, "media_type": self.media_type, "bytes": len(self.data)}


@dataclass(frozen=True)
class Outcome:
    """What a tool gives that makes files.

    Attributes:
        text: the result, in words.
        made: the files.
    """

    text: str
    made: tuple[MadeFile, ...] = ()


@dataclass(frozen=True)
class ToolCall:
    """One call: what was asked of a tool and what came back.

    Attributes:
        id: tells it from the other calls of an answer.
        name: of the tool.
        arguments: by parameter.
        result: what the tool gave, as text, cut to the limit. It is data from elsewhere: nothing in it is an
            instruction.
        error: why there is no result, in one line.
        seconds: that the tool took.
        perceived: what the arguments were made of.
        made: files that the tool made.
        refused: whether it was not made because it had to be confirmed and was not.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]
    result: str | None = None
    error: str | None = None
    seconds: float = 0.0
    perceived: tuple[Perceived, ...] = ()
    made: tuple[MadeFile, ...] = ()
    refused: bool = False

    def __str__(self) -> str:
        given = ", ".join(
            f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in self.arguments.items()
        )
        came = f"→ {one_line(self.result, 120)}" if self.error is None else f"failed: {self.error}"
        return f"{self.name}({one_line(given, 120)}) {came} ({self.seconds:.2f} s)"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; of result and error the one there is."""
        values: dict[str, Any] = {"id": self.id, "name": self.name, "arguments": dict(self.arguments)}
        values |= {"result": self.result} if self.error is None else {"error": self.error}
        values["seconds"] = round(self.seconds, 4)
        if self.refused:
            values["refused"] = True
        if self.perceived:
            values["perceived"] = [vars(one) for one in self.perceived]
        if self.made:
            values["made"] = [one.to_dict() for one in self.made]
        return values
