"""lmms-eval's messages, media and generation settings as this package's requests.

Its parts are ``{"type": …, "url": source}``. A source is a PIL image, a path, a waveform with its sampling
rate, or what the library ``datasets`` gives: undecoded ``{"bytes", "path"}``, or a decoder of torchcodec. All
media of one message are one mixture, whatever their order and wherever they stand between the words: several
pictures are blended, not told apart.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.modality import Modality
from imagebind_llm.model.messages import Message

logger = logging.getLogger(__name__)

_SPANS = ("start_time", "end_time", "video_start", "video_end")
_READ = ("max_new_tokens", "temperature", "top_p", "do_sample", "until")
_NO_EFFECT = {"num_beams": 1, "repetition_penalty": 1.0}
"""Settings of other models, and the value at which they change nothing."""
_TOLD: set[str] = set()


def messages_of(raw: Sequence[Mapping[str, Any]]) -> list[Message]:
    """A dialog as :meth:`imagebind_llm.inference.assistant.Assistant.ask` takes it.

    Args:
        raw: what a task's ``doc_to_messages`` gives.

    Raises:
        UserError: a medium of an unknown kind, or a stretch of a video.
    """
    messages: list[Message] = []
    for message in raw:
        content = message["content"]
        if not isinstance(content, str):
            content = [_part(part) for part in content]
        messages.append({"role": message["role"], "content": content})
    return messages


def question(visuals: Any, text: str) -> list[Message]:
    """The user's turn of media as a task's ``doc_to_visual`` gives them, and a text.

    Args:
        visuals: a medium, a list of them, or None.
        text: the question.

    Raises:
        UserError: as :func:`messages_of`.
    """
    if visuals is None:
        visuals = []
    elif not isinstance(visuals, list | tuple):
        visuals = [visuals]
    media = [_medium(_kind(visual), visual) for visual in visuals if visual is not None]
    return [{"role": "user", "content": [*media, {"type": "text", "text": text}]}]


def options_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of :class:`imagebind_llm.inference.request.Options` from a task's ``generation_kwargs``.

    Without ``do_sample`` a temperature above 0 samples; ``do_sample: false`` is always greedy, whatever the
    temperature; ``do_sample: true`` without a temperature has 1. ``until`` is for :func:`cut`. What this
    package does not have is named once in the log, and not applied.

    Raises:
        UserError: beam search.
    """
    beams = settings.get("num_beams")
    if beams not in (None, 1):
        raise UserError(f"the task asks for num_beams {short(beams)}; only 1 exists here, so set it to that")
    for name, value in settings.items():
        if name in _READ or value is None or (name in _NO_EFFECT and value == _NO_EFFECT[name]):
            continue
        if name not in _TOLD:
            _TOLD.add(name)
            logger.warning("the task's generation setting %s=%s is not applied", name, short(value))
    temperature, sample = settings.get("temperature"), settings.get("do_sample")
    if sample is None:
        sample = bool(temperature)
    options: dict[str, Any] = {"temperature": 0.0}
    if sample:
        options["temperature"] = 1.0 if temperature is None else temperature
        top_p = settings.get("top_p")
        options["top_p"] = 1.0 if top_p is None else top_p
    if settings.get("max_new_tokens") is not None:
        options["max_new_tokens"] = settings["max_new_tokens"]
    return options


def cut(text: str, until: str | Sequence[str] | None) -> str:
    """``text`` up to the first of the words that end an answer."""
    stops = [until] if isinstance(until, str) else list(until or ())
    found = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return text[: min(found, default=len(text))]


def _part(part: Any) -> Any:
    if isinstance(part, str) or part["type"] == "text":
        return part
    _refuse_stretch(part)
    return _medium(part["type"], part["url"])


def _medium(kind: str, source: Any) -> dict[str, Any]:
    """A part of a message: a medium of ``kind``, unless the source itself says another."""
    modality = Modality.parse(kind)
    while isinstance(source, Mapping):
        _refuse_stretch(source)
        if "type" in source:
            modality = Modality.parse(source["type"])
        if {"array", "sampling_rate"} <= source.keys():
            modality = Modality.AUDIO
            source = {"array": source["array"], "sampling_rate": source["sampling_rate"]}
            break
        keys = [key for key in ("url", "bytes", "path", modality.value) if source.get(key) is not None]
        if not keys:
            raise UserError(
                f"a medium is {short(source)}; expected 'bytes', 'path', or 'array' with 'sampling_rate'"
            )
        source = source[keys[0]]
    if encoded := getattr(source, "_hf_encoded", None):  # what datasets keeps beside its decoders
        source = encoded["bytes"] if encoded.get("bytes") is not None else encoded["path"]
    elif callable(getattr(source, "get_all_samples", None)):
        samples = source.get_all_samples()
        source = {"array": samples.data.numpy(), "sampling_rate": int(samples.sample_rate)}
    if isinstance(source, str) and source.startswith(("data:", "file:")):
        return {"type": modality.value, "url": source}
    return {"type": modality.value, modality.value: source}


def _kind(visual: Any) -> str:
    """What a medium is that comes without its type.

    Raises:
        UserError: it does not show.
    """
    if isinstance(visual, Mapping) and "type" in visual:
        return str(visual["type"])
    if isinstance(visual, Mapping) and {"array", "sampling_rate"} <= visual.keys():
        return "audio"
    if isinstance(visual, Mapping) and any(name in visual for name in _SPANS):
        return "video"
    if callable(getattr(visual, "get_all_samples", None)):
        return "audio"
    if callable(getattr(visual, "get_frames_at", None)):
        return "video"
    if callable(getattr(visual, "convert", None)):
        return "image"
    if isinstance(visual, Mapping):
        visual = visual.get("bytes") or visual.get("path") or visual.get("url")
    if isinstance(visual, str) and visual.startswith("data:"):
        return visual[len("data:") :].partition("/")[0]
    if isinstance(visual, str | bytes):
        from imagebind_llm.media.detect import guess

        return guess(visual).value
    raise UserError(f"a medium is {short(visual)}; expected a picture, a path, bytes or a waveform")


def _refuse_stretch(part: Mapping[str, Any]) -> None:
    """Refuse a stretch of a video: answering about the whole would be another task."""
    found = [name for name in _SPANS if part.get(name) is not None and _real(part[name])]
    if found:
        raise UserError(
            f"only a stretch of a video is wanted ({', '.join(f'{name}={part[name]}' for name in found)}); "
            "whole files are taken here, so cut them first"
        )


def _real(value: Any) -> bool:
    return not (isinstance(value, float) and math.isnan(value))
