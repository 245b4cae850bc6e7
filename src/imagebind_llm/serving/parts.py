"""Content parts of requests → messages whose media are bytes in memory.

Nothing in a request ever names a local file: paths and ``file:`` URLs are refused here, and what goes on are
bytes, texts and vectors only.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.media.detect import guess
from imagebind_llm.model.messages import Embedded, MediaItem, read_weight, read_words
from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.protocol import Message

_URLS = {
    "image_url": Modality.IMAGE,
    "video_url": Modality.VIDEO,
    "audio_url": Modality.AUDIO,
    "input_image": Modality.IMAGE,
}
_TEXTS = ("text", "input_text", "output_text", "refusal")
MOST_MEDIA = 64
"""Media of one dialog. Each is held in memory until it has been decoded."""
_INSTEAD = "send data:…;base64,… or upload it to /v1/files"
_LARGE = 1 << 20
"""Characters of base64 from which it is decoded in another thread."""


@dataclass(frozen=True)
class Sources:
    """Where media may come from besides the request itself.

    Attributes:
        file: content and name of an uploaded file by its id.
        fetch: content behind a remote address; None where those are off.
    """

    file: Callable[[str], Awaitable[tuple[bytes, str]]] | None = None
    fetch: Callable[[str], Awaitable[bytes]] | None = None


async def read_dialog(messages: Sequence[Message], sources: Sources) -> list[dict[str, Any]]:
    """Messages for :class:`~imagebind_llm.inference.request.Request`.

    Raises:
        ApiError: 400 that names the part.
    """
    dialog: list[dict[str, Any]] = []
    media = 0
    for number, message in enumerate(messages):
        given: dict[str, Any] = message.model_dump(
            exclude_none=True, exclude={"refusal", "audio", "annotations", "parts", "function_call"}
        )
        if message.audio or message.function_call:
            name = "audio" if message.audio else "function_call"
            raise ApiError(400, f"messages[{number}].{name} is not supported", f"messages[{number}].{name}")
        if isinstance(message.content, list):
            media += sum(not _is_words(part) for part in message.content)
            if media > MOST_MEDIA:
                raise ApiError(400, f"messages hold more than {MOST_MEDIA} media; send fewer", "messages")
            given["content"] = await read_parts(message.content, sources, f"messages[{number}].content")
        elif message.content is None and message.refusal is not None:
            given["content"] = message.refusal
        dialog.append(given)
    return dialog


async def read_parts(parts: Sequence[Any], sources: Sources, where: str) -> list[dict[str, Any]]:
    """Content parts whose media are in memory."""
    found = []
    for number, part in enumerate(parts):
        place = f"{where}[{number}]"
        if _is_words(part):
            found.append(_words(part, place))
            continue
        item = await read_medium(part, sources, place)
        found.append(
            {"type": item.modality.value, item.modality.value: item.source, "weight": item.weight}
            | ({"as_media": True} if item.modality is Modality.TEXT else {})
        )
    return found


def _is_words(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _TEXTS and not part.get("as_media")


async def read_mixture(given: Any, sources: Sources, where: str = "input") -> list[MediaItem]:
    """One or several inputs: texts, or parts with media."""
    entries = given if isinstance(given, list) else [given]
    if not entries:
        raise ApiError(400, f"{where} is empty; give a text or a part with a medium", where)
    items = []
    for number, entry in enumerate(entries):
        place = f"{where}[{number}]" if isinstance(given, list) else where
        part = {"type": "text", "text": entry} if isinstance(entry, str) else entry
        items.append(await read_medium(part, sources, place))
    return items


async def read_medium(part: Any, sources: Sources, where: str) -> MediaItem:
    """The medium of one part.

    Raises:
        ApiError: 400 with ``where`` as its parameter.
    """
    try:
        return await _medium(part, sources, where)
    except UserError as error:
        raise ApiError(400, str(error), where) from error


def _words(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    key = "refusal" if part["type"] == "refusal" else "text"
    if not isinstance(part.get(key), str):
        raise ApiError(400, f"{where}.{key} is {short(part.get(key))}; expected a string", f"{where}.{key}")
    try:
        return {"type": "text", "text": read_words(part[key], where)}
    except UserError as error:
        raise ApiError(400, str(error), f"{where}.{key}") from error


async def _medium(part: Any, sources: Sources, where: str) -> MediaItem:
    if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
        raise UserError(f"{where} is {short(part)}; expected an object with a 'type'")
    kind = part["type"]
    known = (*_TEXTS, *_URLS, "input_audio", "file", "input_file", "embedding", *Modality.known())
    refuse_unknown([kind], known, what="type of part")
    _refuse_keys(part, kind, where)
    weight = read_weight(part.get("weight", 1.0), f"{where}.weight")
    if kind in _TEXTS:
        if not isinstance(part.get("text"), str) or not part["text"].strip():
            raise UserError(f"{where}.text is {short(part.get('text'))}; expected some words")
        return MediaItem(Modality.TEXT, read_words(part["text"], where), weight)
    if kind == "embedding":
        return _embedding(part, weight, where)
    if kind in ("file", "input_file"):
        body = part.get("file", part) if kind == "file" else part
        content, name = await _content(body, sources, f"{where}.{kind}")
        return MediaItem(await asyncio.to_thread(guess, content, name), content, weight)
    modality = _URLS.get(kind) or (Modality.AUDIO if kind == "input_audio" else Modality.parse(kind))
    given = part.get("image_url") if kind == "input_image" else part.get(kind)
    if kind == "input_image" and part.get("file_id") is not None:
        given = {"file_id": part["file_id"]}
    content, _ = await _content(given, sources, f"{where}.{kind}")
    return MediaItem(modality, content, weight)


def _refuse_keys(part: Mapping[str, Any], kind: str, where: str) -> None:
    keys = {"type", "weight", kind}
    if kind in _TEXTS:
        keys |= {"text", "as_media", "annotations", "logprobs"}
    if kind in ("input_image", "input_file"):
        keys |= {"image_url", "file_id", "file_data", "filename", "detail"}
    if kind == "embedding":
        keys |= {"modality"}
    refuse_unknown(
        (key for key, value in part.items() if value is not None), sorted(keys), what=f"key in {where}:"
    )


async def _content(given: Any, sources: Sources, where: str) -> tuple[bytes, str]:
    """Bytes of a medium, and the name of its file if it has one."""
    if isinstance(given, str):
        given = {"url": given}
    if not isinstance(given, Mapping):
        raise UserError(
            f"{where} is {short(given)}; expected {{'data': base64}}, {{'url': …}} or {{'file_id': …}}"
        )
    known = ("data", "url", "file_id", "file_data", "file_url")
    ways = [key for key in known if given.get(key) is not None]
    others = ("format", "detail", "filename", "type", "weight", "max_pixels", "fps")
    refuse_unknown((key for key in given if key not in others), known, others, what=f"key in {where}:")
    if len(ways) != 1:
        raise UserError(
            f"{where} has {' and '.join(ways) or 'no source'}; expected one of data, url, file_id"
        )
    value = given[ways[0]]
    if not isinstance(value, str):
        raise UserError(f"{where}.{ways[0]} is {short(value)}; expected a string")
    name = str(given.get("filename") or "")
    if ways[0] == "file_id":
        return await _uploaded(value, sources, where)
    if ways[0] in ("url", "file_url") or value.startswith("data:"):
        return await _from_url(value, sources, where), name
    return await _decoded(value, where), name


async def _uploaded(identity: str, sources: Sources, where: str) -> tuple[bytes, str]:
    if sources.file is None:
        raise UserError(f"{where}: there are no uploaded files here; send the data itself")
    return await sources.file(identity)


async def _from_url(url: str, sources: Sources, where: str) -> bytes:
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if scheme == "data":
        head, comma, body = url.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise UserError(
                f"{where}: the data URL {short(url)} is not base64; write data:image/png;base64,…"
            )
        return await _decoded(body, where)
    if scheme not in ("http", "https"):
        raise UserError(f"{where}: {short(url)} is no address that can be read here; {_INSTEAD}")
    if sources.fetch is None:
        raise UserError(f"{where}: remote addresses are off on this server; {_INSTEAD}")
    return await sources.fetch(url)


async def _decoded(text: str, where: str) -> bytes:
    try:
        if len(text) > _LARGE:
            content = await asyncio.to_thread(base64.b64decode, text, validate=True)
        else:
            content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"{where}: {short(text)} is not base64 ({error})") from None
    if not content:
        raise UserError(f"{where} holds no bytes; send the whole file")
    return content


def _embedding(part: Mapping[str, Any], weight: float, where: str) -> MediaItem:
    given = part.get("embedding")
    if isinstance(given, Mapping):
        given = given.get("data")
    modality = Modality.parse(str(part.get("modality") or "image"))
    if modality is Modality.TEXT:
        modality = Modality.IMAGE  # text as a medium is words; a vector is a vector
    if isinstance(given, str):
        try:
            content = base64.b64decode(given, validate=True)
            vector = np.frombuffer(content, "<f4").astype(np.float32)
        except (binascii.Error, ValueError) as error:
            raise UserError(f"{where}.embedding is not base64 of float32 numbers ({error})") from None
    elif isinstance(given, list) and given and all(type(value) in (int, float) for value in given):
        try:
            with np.errstate(over="ignore"):
                vector = np.asarray(given, np.float64).astype(np.float32)
        except OverflowError:
            raise UserError(f"{where}.embedding holds a number too large for float64") from None
    else:
        raise UserError(
            f"{where}.embedding is {short(given)}; expected a list of numbers, or base64 of float32"
        )
    return MediaItem(modality, Embedded(vector), weight)
