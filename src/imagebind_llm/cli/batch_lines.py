"""Requests in the lines of a file, and their answers: what ``ask --batch`` reads and writes."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.common.text_files import NotUtf8, decode_text

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant

_LONGEST = 32 << 20
"""Bytes of a request. One of a million values, or a picture of 24 MB in base64, fits."""
_LONG = 1 << 20
_BLOCK = 1 << 20
_SKIPPED = 256 << 20
"""Bytes of a line that are passed over to find its end."""


class LineAnswer(NamedTuple):
    """What comes of a line.

    Attributes:
        values: what is written: an answer, or ``error`` and ``line``; the request's ``id``, if it has one.
        code: the exit code that it asks for: 0 answered, 2 refused, 1 our fault.
    """

    values: dict[str, Any]
    code: int


def answer_lines(bot: "Assistant", lines: Iterable[bytes], settings: dict[str, Any]) -> Iterator[LineAnswer]:
    """Answer the requests in ``lines``, in their order; blank ones are passed over.

    Args:
        bot: the assistant.
        lines: a JSON object each.
        settings: what holds where a line does not say otherwise.
    """
    marks: deque[tuple[int, Any]] = deque()
    for result in bot.iter_batch(requests(lines, settings, marks)):
        number, mark = marks.popleft()
        code = 0
        if isinstance(result, UserError):
            code, values = 2, {"error": str(result), "line": number}
        elif isinstance(result, Exception):
            said = f"this should not happen: {type(result).__name__}: {result}"
            code, values = 1, {"error": said, "line": number}
        else:
            values = result.to_dict()
        yield LineAnswer(values if mark is None else {"id": mark, **values}, code)


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; of one that is too long only the beginning.

    Raises:
        UserError: a line does not end within :data:`_SKIPPED` bytes more.
    """
    for number in itertools.count(1):
        line = file.readline(_LONGEST + 1)
        if not line:
            return
        left, rest = _SKIPPED, line
        while len(line) > _LONGEST and rest and not rest.endswith(b"\n"):
            rest = file.readline(_BLOCK)
            left -= len(rest)
            if left < 0:
                raise UserError(
                    f"line {number} is longer than {(_LONGEST + _SKIPPED) >> 20} MiB, and the rest is not "
                    "read; give a file with a request in JSON on each line"
                )
        yield line


def requests(
    lines: Iterable[bytes], settings: dict[str, Any], marks: deque[tuple[int, Any]]
) -> Iterator[Any]:
    """A request or an error for each line; what the line is called is put in ``marks``."""
    defaults = {key: value for key, value in settings.items() if value is not None}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        mark = None
        request: Any
        try:
            if len(line) > _LONGEST:
                raise ValueError(f"longer than {_LONGEST >> 20} MiB")
            request = parse_json(decode_text(line))
        except NotUtf8 as error:
            request = UserError(f"line {number} {error}")
        except ValueError as error:
            request = UserError(
                f"line {number} is not a request in JSON: {error}; give media as paths to files"
                if len(line) > _LONG
                else f"line {number} is not JSON: {error}"
            )
        else:
            request = {"question": request} if isinstance(request, str) else request
            if isinstance(request, dict):
                mark = request.pop("id", None)
                own = dict(defaults)
                if "messages" in request:
                    own.pop("system", None)
                request = {**own, **request}
        marks.append((number, mark))
        yield request
