"""The bodies of requests, read strictly and within limits."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.protocol import CacheBody, Message, StreamOptions, cannot_honour

Body = TypeVar("Body", bound=BaseModel)

_INNER: dict[str, type[BaseModel]] = {
    "cache": CacheBody,
    "stream_options": StreamOptions,
    "messages": Message,
}
"""Parameters that are objects."""
_LARGE = 1 << 15
"""Bytes from which a body is parsed in another thread: smaller ones take less than a millisecond."""
MOST_VALUES = 100_000
"""Values in one body: 64 embeddings of 1,024 numbers. Media are one value each."""
_MOST_KEYS = 200
"""Keys of one object. No body has so many."""


async def read_body(request: Request, kind: type[Body]) -> Body:
    """The JSON body of a request as ``kind``.

    Raises:
        ApiError: 400 or 415 that names the parameter.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "the body is not said to be JSON; send Content-Type: application/json")
    raw = await request.body()
    body = await asyncio.to_thread(_read, raw, kind) if len(raw) > _LARGE else _read(raw, kind)
    if (name := cannot_honour(body)) is not None:
        raise ApiError(
            400,
            f"{name} is {short(getattr(body, name))}, which this model cannot honour; leave it out",
            name,
            "unsupported_parameter",
        )
    return body


def _read(raw: bytes, kind: type[Body]) -> Body:
    value = _parsed(raw)
    if not isinstance(value, Mapping):
        raise ApiError(400, f"the body is {short(value)}; expected a JSON object")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _invalid(error, kind) from None  # its own text holds what was sent


def _parsed(raw: bytes) -> Any:
    try:
        value = parse_json(raw.decode(), MOST_VALUES)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()
        _check_sizes(value)
        return value
    except UnicodeEncodeError:
        raise ApiError(400, "the body holds half of a character (a lone \\ud800 … \\udfff)") from None
    except UnicodeDecodeError:
        raise ApiError(400, "the body is not UTF-8; send JSON in UTF-8") from None
    except ValueError as error:
        raise ApiError(400, f"the body is no JSON this server takes: {error}") from None


def _check_sizes(value: Any) -> None:
    """Refuse objects of so many keys that listing what is wrong with them would take long."""
    for one in (value, *_messages(value)):
        if isinstance(one, Mapping) and len(one) > _MOST_KEYS:
            raise ValueError(f"an object of {len(one):,} keys")


def _messages(value: Any) -> list[Any]:
    found = value.get("messages", value.get("input")) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


def _invalid(error: ValidationError, kind: type[BaseModel]) -> ApiError:
    """The first thing that is wrong, in one line."""
    # where a value may have several types, the complaint that goes deepest is about the one that was meant
    # (a list that is too long is a list, so that it was none of the other types)
    first = max(
        error.errors(include_url=False, include_context=False),
        key=lambda one: (len(one["loc"]), one["type"] == "too_long"),
    )
    where = ""
    for step in first["loc"]:
        if isinstance(step, int):
            where += f"[{step}]"
        elif "[" not in step and step not in (
            "str",
            "bool",
            "CacheBody",
            "dict",
        ):  # names of a union's members
            where += f".{step}" if where else step
    if first["type"] == "extra_forbidden":
        try:
            inner = _INNER.get(str(first["loc"][0]), kind) if len(first["loc"]) > 1 else kind
            refuse_unknown([first["loc"][-1]], sorted(inner.model_fields), what="parameter")
        except UserError as unknown:
            return ApiError(400, str(unknown), where, "unknown_parameter")
    if first["type"] == "missing":
        return ApiError(400, f"{where} is missing; it is needed", where, "missing_required_parameter")
    return ApiError(
        400, f"{where} is {short(first['input'])}: {first['msg'].lower()}", where, "invalid_value"
    )
