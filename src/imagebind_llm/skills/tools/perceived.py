"""Calls for a model that was never trained on tools: chosen by the question's words, filled by perception.

The tool is chosen by its routes, the arguments are what stands in the question or what the model says it
perceives, and the answer is the route's sentence about the result. The language model itself writes neither
the call nor the last sentence: a model of nano's size cannot. What it does is perceive, and where it
perceives wrongly the call is wrong. Nothing here runs a model; see
:class:`~imagebind_llm.skills.tools.use.ToolUser`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.inference.calls import Perceived
from imagebind_llm.inference.request import describe
from imagebind_llm.model.messages import MediaItem, Message, Turn, read_messages, user_message
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.operands import Operands, Perception
from imagebind_llm.skills.tools.routes import PLACE, Route, filled


@dataclass(frozen=True)
class Plan:
    """A call whose arguments wait for what is perceived.

    Attributes:
        tool: what will be called.
        route: by which it was found.
        values: place → what is written in the question, or a question to the model.
    """

    tool: Tool
    route: Route
    values: Mapping[str, Any]

    @property
    def perceptions(self) -> list[Perception]:
        """What the model has to be asked, in order."""
        return [value for value in self.values.values() if isinstance(value, Perception)]

    def questions(self) -> list[list[Message]]:
        """The dialogs whose answers :meth:`arguments` takes."""
        return [
            [user_message(one.question, [MediaItem(one.item.modality, one.item.source, 1.0)])]
            for one in self.perceptions
        ]

    def perceived(self, answers: Sequence[str]) -> tuple[Perceived, ...]:
        """What the arguments are made of, for the record of the call."""
        return tuple(
            Perceived(f"{one.item.modality.value} {describe(one.item)}", one.question, answer)
            for one, answer in zip(self.perceptions, answers, strict=True)
        )

    def arguments(self, answers: Sequence[str]) -> dict[str, Any]:
        """The arguments of the call.

        Raises:
            UserError: an answer names no number.
        """
        waiting = iter(answers)
        values = {
            name: value.read(next(waiting)) if isinstance(value, Perception) else value
            for name, value in self.values.items()
        }
        return {key: _plain(filled(template, values)) for key, template in self.route.arguments.items()}

    def says(self, arguments: Mapping[str, Any], result: str) -> str:
        """The answer: the route's sentence; the result itself where it lacks what the sentence names."""
        texts = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()
        }
        values = {**_texts(result), **texts, "result": result}
        if not all(name in values for name, _ in PLACE.findall(self.route.says)):
            return result
        said = str(filled(f"{self.route.says} ", values)).rstrip()
        return said or f"{self.tool.name} found nothing."


def plan(messages: Sequence[Message], tools: Sequence[Tool]) -> Plan | None:
    """What the user's last turn asks a tool for; None if it asks for none.

    Raises:
        UserError: it asks for one, and it is not clear about which of the media.
    """
    turns = read_messages(messages)
    last = next((turn for turn in reversed(turns) if turn.role == "user"), None)
    if last is None:
        return None
    newest, media = latest(turns), seen(turns)
    why = ""
    for tool in tools:
        for route in tool.routes:
            found = route.match(last.text)
            if found is None:
                continue
            operands = Operands(newest)
            values = _values(route, found, operands)
            if values is None and len(media) > len(newest):
                values = _values(route, found, Operands(media))
            if values is not None:
                return Plan(tool, route, values)
            why = why or f"the question asks for {tool.name}, but {operands.unknown}"
    if why:
        raise UserError(why)
    return None


def seen(turns: Sequence[Turn]) -> tuple[MediaItem, ...]:
    """What words may speak of: the media of :func:`latest`; then, of the modalities that it lacks, those of
    the latest turn that has them."""
    found = list(latest(turns))
    for turn in reversed(turns):
        there = {item.modality for item in found}
        found += [item for item in turn.media if item.modality not in there]
    return tuple(found)


def latest(turns: Sequence[Turn]) -> tuple[MediaItem, ...]:
    """The media of the latest turn that has any."""
    return next((turn.media for turn in reversed(turns) if turn.media), ())


def _values(route: Route, found: Mapping[str, str], operands: Operands) -> dict[str, Any] | None:
    values: dict[str, Any] = {}
    for name, words in found.items():
        values[name] = operands.find(words, route.kind(name))
    for template in route.arguments.values():
        for name, kind in PLACE.findall(template) if isinstance(template, str) else ():
            if name not in values:
                values[name] = operands.numbered(int(name), kind or "number")
    return None if any(value is None for value in values.values()) else values


def _texts(result: str) -> dict[str, str]:
    """The texts of a result that is a JSON object, by key."""
    if not result.startswith("{"):
        return {}
    try:
        found = parse_json(result)
    except ValueError:  # it is none, or was cut
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _plain(value: Any) -> Any:
    """A whole number as int, another as float, a name as it is."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)
