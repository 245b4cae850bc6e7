"""Chat messages with typed content parts, read into turns: what is said, and the media that come with it.

A message is a mapping ``{"role": …, "content": …}``; ``content`` is a string or a list of parts:

* ``{"type": "text", "text": "What is this?"}`` - words for the language model;
* ``{"type": "image" | "video" | "audio" | "point" | "depth" | "thermal" | "imu", KEY: source, "weight":
  1.0}`` - a medium. ``KEY`` is the type itself (any source: path, bytes, array, tensor, PIL image),
  ``"path"``, ``"base64"`` or ``"url"`` (a path, a ``file:`` or a ``data:`` URL; remote addresses are
  refused);
* the same with the name of a sensor that the model's encoder declares as the type;
* ``{"type": "text", "text": "a dog", "as_media": True, "weight": 0.5}`` - text *as a medium*: it is
  embedded by the text encoder like a picture would be, and the language model does not read it;
* the OpenAI forms ``{"type": "image_url", "image_url": {"url": …}}`` and
  ``{"type": "input_audio", "input_audio": {"data": …}}`` (likewise ``video_url``, ``audio_url``).

Media in one message are one mixture. ``weight`` may be negative (embedding arithmetic).

``role`` is one of :data:`ROLES`. Besides role and content a message may have the keys of :data:`EXTRA`, plain
JSON values that go to the chat template; other keys are refused, unless they hold nothing. So is what a part
does not know: a misspelt ``weight`` must not be read as 1.
"""

import base64
import binascii
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from numbers import Real
from os import PathLike
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.names import refuse_unknown

Message = Mapping[str, Any]
"""``{"role": one of ROLES, "content": str | list of parts, …}``."""

ROLES = ("system", "developer", "user", "assistant", "tool")
"""Who may speak. The words stand in prompts as they are, so that nothing else may be said for them."""
_OTHER_ROLES = {
    "human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "ai": "assistant",
    "function": "tool", "ipython": "tool", "tool_response": "tool",
}  # fmt: skip
EXTRA = ("name", "tool_calls", "tool_call_id", "reasoning_content", "thinking", "reasoning")
"""What a message may have besides role and content."""
_REASONING = ("reasoning_content", "thinking", "reasoning")
"""Names of a message's reasoning. Templates read the first or the second."""
_PART = ("type", "text", "weight", "as_media", "path", "url", "base64", "detail")
_LEAST_RATE = {Modality.AUDIO: 1000.0, Modality.VIDEO: 20.0, Modality.IMU: 25.0}
"""Whole numbers from here on are no weight: ``(array, 30)`` is how other libraries give a rate in Hz."""
_DEEPEST = 64
"""Lists inside of lists, in what goes to a chat template."""

_REMOTE = re.compile(r"^(?!file:|data:)[a-zA-Z][a-zA-Z0-9+.-]+://")
_LARGEST_FLOAT = 1e30
_LARGEST_WEIGHT = 100.0
"""A weight is a share of a mixture, percent at most. ``(array, 48000)`` means something else."""
_MEANT = {
    Modality.AUDIO: "a waveform's rate is given as {{'array': …, 'sampling_rate': {0}}}, "
    "and a file knows its own",
    Modality.VIDEO: "a file knows its frame rate, and that of arrays is the setting video.array_fps",
    Modality.IMU: "a recording's rate is told by a first column of times in seconds",
    Modality.DEPTH: "whole numbers are millimetres and floats metres, so convert the map before",
}
"""What such a number was for, and where it goes."""
_OPENAI_PARTS = {
    "image_url": Modality.IMAGE,
    "video_url": Modality.VIDEO,
    "audio_url": Modality.AUDIO,
    "input_audio": Modality.AUDIO,
    "input_image": Modality.IMAGE,
}


@dataclass(frozen=True, eq=False)
class Embedded:
    """A medium that somebody has embedded already: its unit vector ``[D]`` in the encoder's space.

    It stands where a source stands: ``bot.ask("What is this?", audio=Embedded(vector))``.

    Attributes:
        vector: ``[D]`` float32.
    """

    vector: Any


class MediaItem(NamedTuple):
    """A medium that a message names but nobody has opened yet."""

    modality: Modality
    source: Any
    weight: float = 1.0


@dataclass(frozen=True)
class Turn:
    """One message, read: its words, its media, and whatever else the chat template may want (``name``, …)."""

    role: str
    text: str
    media: tuple[MediaItem, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_messages(messages: Sequence[Message]) -> list[Turn]:
    """Check and read a dialog.

    Raises:
        UserError: a message or part is malformed; the message says which one, counting from 0.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise UserError(
            f"a dialog is {type(messages).__name__}; expected a list of messages {{'role': …, 'content': …}}"
        )
    if not messages:
        raise UserError("a dialog has no messages; give at least one from the user")
    return [_read_message(message, f"message {number}") for number, message in enumerate(messages)]


def _read_message(message: Any, where: str) -> Turn:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise UserError(f"{where} is {short(message)}; expected a mapping with 'role' and 'content'")
    role = _read_role(message["role"], where)
    content = message.get("content")
    extra = _read_extra(message, where)
    if content is None and (extra.get("tool_calls") or "reasoning_content" in extra):
        content = ""
    if isinstance(content, str):
        return Turn(role, read_words(content, where), (), extra)
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise UserError(f"{where}: 'content' is {short(content)}; expected a string or a list of parts")
    words: list[str] = []
    media: list[MediaItem] = []
    for number, part in enumerate(content):
        read = _read_part(part, f"{where}, part {number}")
        if isinstance(read, str):
            words.append(read)
        else:
            media.append(read)
    if media and role == "assistant":
        raise UserError(
            f"{where} is the assistant's and holds {media[0].modality}; only other roles bring media"
        )
    return Turn(role, "\n".join(words), tuple(media), extra)


def _read_role(role: str, where: str) -> str:
    if role in ROLES:
        return role
    lower = role.strip().lower()
    similar = get_close_matches(lower[:40], ROLES, n=1)
    meant = _OTHER_ROLES.get(lower) or (similar[0] if similar else None)
    hint = f"; did you mean {meant!r}?" if meant else ";"
    raise UserError(f"{where}: unknown role {short(role)}{hint} use one of {', '.join(ROLES)}")


def _read_extra(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a message has besides role and content, without what is empty."""
    extra = {
        key: value
        for key, value in message.items()
        if key not in ("role", "content") and not (value is None or value in ("", [], {}, ()))
    }
    refuse_unknown(extra, EXTRA, ("role", "content"), f"key in {where}:")
    for key in extra:
        wanted = list if key == "tool_calls" else str
        if not isinstance(extra[key], wanted):
            expected = "a list of objects" if wanted is list else "a string"
            raise UserError(f"{where}: {key!r} is {short(extra[key])}; expected {expected}")
    calls = extra.get("tool_calls", [])
    if not all(isinstance(call, Mapping) for call in calls):
        raise UserError(f"{where}: 'tool_calls' is {short(calls)}; expected a list of objects")
    reasoning = next((extra[key] for key in _REASONING if key in extra), None)
    if reasoning is not None:
        extra = {"thinking": reasoning, **extra, "reasoning_content": reasoning}
    return {key: plain(value, f"{where}: {key!r}") for key, value in extra.items()}


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """``value`` made of nothing but JSON's types, as a chat template may see it.

    Raises:
        UserError: it holds something else, text that is not Unicode, or is nested too deeply; the message
            begins with ``where``.
    """
    if depth > _DEEPEST:
        raise UserError(f"{where} is nested more than {_DEEPEST} deep; make it flatter")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return read_words(str(value), where)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple):
        return [plain(item, where, depth + 1) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {read_words(str(key), where): plain(item, where, depth + 1) for key, item in value.items()}
    raise UserError(f"{where} holds {short(value)}; expected text, numbers, lists and objects as in JSON")


def _read_part(part: Any, where: str) -> str | MediaItem:
    if isinstance(part, str):
        return read_words(part, where)
    if not isinstance(part, Mapping) or "type" not in part:
        raise UserError(f"{where} is {short(part)}; expected a mapping with a 'type'")
    kind = part["type"]
    if not isinstance(kind, str):
        raise UserError(f"{where}: the type is {short(kind)}; expected a word such as 'image'")
    known = (*_PART, *_OPENAI_PARTS, *Modality.known())
    refuse_unknown((key for key, value in part.items() if value is not None), known, what=f"key in {where}:")
    if kind in ("text", "input_text") and not part.get("as_media"):
        if not isinstance(part.get("text"), str):
            raise UserError(f"{where}: 'text' is {short(part.get('text'))}; expected a string")
        return read_words(part["text"], where)
    weight = read_weight(part.get("weight", 1.0), where)
    if kind in _OPENAI_PARTS:
        return _item(_OPENAI_PARTS[kind], _openai_source(part, kind, where), weight, where)
    try:
        modality = Modality.parse(kind)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return _item(modality, _source(part, modality, where), weight, where)


def _item(modality: Modality, source: Any, weight: float, where: str) -> MediaItem:
    """A medium, unless it is an empty text, or its weight must be something else.

    Raises:
        UserError: it begins with ``where``.
    """
    if modality is Modality.TEXT and isinstance(source, str) and not source.strip():
        raise UserError(f"{where}: the text is empty; give some words, or leave it out")
    size = abs(weight)
    rate = weight == int(weight) and size >= _LEAST_RATE.get(modality, math.inf)
    if rate or size > _LARGEST_WEIGHT:
        looks = ", which looks like a sampling rate" if rate else ""
        how = _MEANT.get(modality, "a size, scale or quality has no place here, so leave it out")
        raise UserError(
            f"{where}: the weight is {weight:g}{looks}; a weight is a share such as 0.5, of at most "
            f"{_LARGEST_WEIGHT:g}: {how.format(f'{size:g}')}"
        )
    return MediaItem(modality, source, weight)


def read_words(text: str, where: str) -> str:
    """``text`` if it is Unicode, else a :class:`UserError` that begins with ``where``.

    Half of a surrogate pair is what Python makes of bytes in another encoding (on the command line, in a
    pipe) and of a wrong escape in JSON; no tokenizer reads it.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: character {error.start} is {text[error.start]!a}, half of a character; write UTF-8"
        ) from None
    return text


def read_weight(value: Any, where: str) -> float:
    """``value`` as a number that float32 holds, or a :class:`UserError` that begins with ``where``."""
    try:
        weight = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not abs(weight) <= _LARGEST_FLOAT:
        raise UserError(
            f"{where}: the weight is {short(value)}; expected a number of at most {_LARGEST_WEIGHT:g}"
        )
    return weight


def _sources(part: Mapping[str, Any], kind: str) -> list[str]:
    return [key for key in (kind, "path", "url", "base64") if part.get(key) is not None]


def is_source(part: Mapping[str, Any]) -> bool:
    """Whether a part of a medium's type names where the medium is."""
    return bool(_sources(part, str(part["type"])))


def _source(part: Mapping[str, Any], modality: Modality, where: str) -> Any:
    """The one source that ``part`` names."""
    given = _sources(part, modality.value)
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise UserError(
            f"{where}: a part of type {modality.value!r} needs exactly one of "
            f"'{modality.value}', 'path', 'url', 'base64'; found {found}"
        )
    value = part[given[0]]
    if modality is Modality.TEXT:
        if given[0] != "text" or not isinstance(value, str):
            raise UserError(f"{where}: text as a medium is a string under 'text'; found {short(value)}")
        return value
    if given[0] == "base64":
        return _from_base64(value, where)
    if given[0] == "url":
        return _from_url(value, where)
    return local_source(value, where)


def local_source(value: Any, where: str) -> Any:
    """``value``, or the bytes of an open file, unless it is the address of something remote.

    Raises:
        UserError: ``value`` is a remote address (nothing is ever fetched from the network), or a file that
            was opened as text.
    """
    if callable(getattr(value, "read", None)):
        opened, again = value, callable(getattr(value, "seekable", None)) and value.seekable()
        start = opened.tell() if again else 0
        value = opened.read()
        if again:
            opened.seek(start)  # messages are looked through more than once
        if not isinstance(value, bytes):
            raise UserError(f"{where}: a file opened as text; open it in binary mode ('rb')")
    if isinstance(value, str) and value[:7].lower() == "file://":
        return path_of_url(value, where)
    if isinstance(value, str | PathLike) and _REMOTE.match(str(value)):
        raise UserError(
            f"{where}: {str(value)!r} is remote; media are only read from here, so download it first"
        )
    return value


def _openai_source(part: Mapping[str, Any], kind: str, where: str) -> Any:
    value = part.get(kind) if kind != "input_image" else part.get("image_url")
    if kind == "input_audio":
        if not isinstance(value, Mapping):
            raise UserError(
                f"{where}: 'input_audio' is {short(value)}; expected {{'data': base64, 'format': …}}"
            )
        return _from_base64(value.get("data"), where)
    return _from_url(value.get("url") if isinstance(value, Mapping) else value, where)


def _from_url(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        raise UserError(f"{where}: the URL is {short(value)}; expected a string")
    if value.startswith("data:"):
        head, comma, body = value.partition(",")
        if not comma:
            raise UserError(f"{where}: the data URL {short(value)} has no ','")
        return _from_base64(body, where) if head.endswith(";base64") else _unquoted(body, where)
    if value[:5].lower() == "file:":
        return path_of_url(value, where)
    return local_source(value, where)


def _unquoted(body: str, where: str) -> bytes:
    try:
        return unquote_to_bytes(body)
    except UnicodeEncodeError:
        raise UserError(f"{where}: the data URL holds half of a character; write it as %XX") from None


def path_of_url(url: str, where: str) -> str:
    """The path that a ``file:`` URL names, on this machine (RFC 8089).

    Raises:
        UserError: it is no such URL, names another machine, or no path; the message begins with ``where``.
    """
    try:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path
    except ValueError as error:
        raise UserError(
            f"{where}: {short(url)} is no URL ({error}); write file:///folder/name.png, or the path alone"
        ) from None
    if host not in ("", "localhost"):
        raise UserError(
            f"{where}: {short(url)} names the machine {host!r}; media are only read from here: write "
            "file:///folder/name.png (three strokes), or the path alone"
        )
    if not path:
        raise UserError(f"{where}: {short(url)} names no file; write file:///folder/name.png")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise UserError(
            f"{where}: {short(url)} has a ? or # in it; in a file's name they are %3F and %23 in a URL"
        )
    if os.name == "nt":
        return url2pathname(path)
    return os.fsdecode(unquote_to_bytes(path.encode("utf-8", "surrogateescape")))  # a name need not be UTF-8


def _from_base64(value: Any, where: str) -> bytes:
    if not isinstance(value, str | bytes):
        raise UserError(f"{where}: base64 data is {short(value)}; expected a string")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"{where}: {short(value)} is not base64 ({error})") from None


def user_message(question: str, items: Sequence[MediaItem]) -> Message:
    """The user's turn that asks ``question`` about a mixture of ``items``."""
    parts: list[dict[str, Any]] = [
        {"type": item.modality.value, item.modality.value: item.source, "weight": item.weight}
        | ({"as_media": True} if item.modality is Modality.TEXT else {})
        for item in items
    ]
    return {"role": "user", "content": [*parts, {"type": "text", "text": question}]}


def media_items(media: Mapping[str, Any]) -> list[MediaItem]:
    """Read media arguments: for each modality a source, ``(source, weight)``, or a list of these."""
    items = []
    for name, value in media.items():
        if value is None:
            continue
        modality = Modality.parse(name)
        several = isinstance(value, list) and not _is_pair(value)
        for entry in value if several else [value]:
            source, weight = entry if _is_pair(entry) else (entry, 1.0)
            if modality is Modality.TEXT and not isinstance(source, str):
                raise UserError(f"text is {type(source).__name__}; expected a string")
            if modality is not Modality.TEXT:
                sound = isinstance(source, Mapping) and modality is Modality.AUDIO  # its reader looks inside
                if source is None or (isinstance(source, int | float | tuple | Mapping) and not sound):
                    rate = (
                        "; a waveform with its rate is {'array': …, 'sampling_rate': …}"
                        if modality is Modality.AUDIO
                        else ""
                    )
                    raise UserError(
                        f"{modality.value} is {short(source)}; expected a path, bytes or an array, "
                        f"(one of these, weight), or a list{rate}"
                    )
                source = local_source(source, modality.value)
            items.append(_item(modality, source, read_weight(weight, modality.value), modality.value))
    return items


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[1], Real)
        and not isinstance(value[1], bool)
        and not isinstance(value[0], Real)
    )
