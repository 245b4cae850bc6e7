"""A model behind an OpenAI-compatible API: ``imagebind-llm serve``, also in front of vLLM, or another."""

from __future__ import annotations

import base64
import itertools
import mimetypes
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imagebind_llm.common.errors import UserError, one_line, require
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.common.text_files import decode_text
from imagebind_llm.evaluation.engine import Said, is_confidence
from imagebind_llm.evaluation.suite import Floats

_AHEAD = 2
"""Requests that are ready for each one under way."""
_TRIES = 5
_PATIENCE = 60.0
"""Seconds that a server's Retry-After may ask for."""
_PASSING = (429, 500, 502, 503, 504)
"""Codes of HTTP after which a request is sent again."""
_LARGEST = 64 << 20
"""Bytes of an answer."""
_PARAMETERS = ("cache", "seed", "temperature", "top_p")


class Endpoint:
    """See :class:`~imagebind_llm.evaluation.engine.Engine`.

    Args:
        url: of the API, with its version: ``http://127.0.0.1:8000/v1``.
        model: the model's name there; None: the only one.
        key: sent as a bearer token; None: that in ``IMAGEBIND_LLM_API_KEY``, if any.
        at_once: requests under way.
        timeout: seconds that one may take.

    Raises:
        UserError: no such address, nobody listens there, or it does not serve the model.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        key: str | None = None,
        at_once: int = 16,
        timeout: float = 300.0,
    ) -> None:
        httpx = require("httpx", "serve", "asking a served model")
        if "@" in urlsplit(url).netloc:  # it would be written into every result
            raise UserError(
                "the address of an API holds a password; give a key in IMAGEBIND_LLM_API_KEY instead"
            )
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise UserError(f"{url!r} is no address of an API; expected for example http://127.0.0.1:8000/v1")
        key = (key or os.environ.get("IMAGEBIND_LLM_API_KEY") or "").strip() or None
        if key is not None and not (key.isascii() and key.isprintable()):
            raise UserError(
                "the key in IMAGEBIND_LLM_API_KEY holds characters that no key has; copy it again"
            )
        self._key = key
        self.url, self._at_once = url.rstrip("/"), at_once
        self._pause, self._timeout = 0.5, timeout
        self._errors = httpx.HTTPError
        self._client = httpx.Client(
            timeout=timeout,
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once),
            trust_env=False,
        )
        self.model, self.facts = self._chosen(model)

    def _chosen(self, model: str | None) -> tuple[str, dict[str, Any]]:
        found = self._call("GET", "/models")
        rows = found.get("data") if isinstance(found, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
            raise UserError(f"{self.url}/models is no list of models; expected the address of an API")
        names = {str(row["id"]): row for row in rows}
        if model is None and len(names) == 1:
            (model,) = names
        if model not in names:
            known = one_line(", ".join(names), 200)
            raise UserError(f"{self.url} does not serve {model!r}; --model is one of {known}")
        facts = {name: value for name, value in names[model].items() if _is_stable(name, value)}
        return model, facts

    @property
    def modalities(self) -> Sequence[str] | None:
        """See :class:`~imagebind_llm.evaluation.engine.Engine`."""
        found = self.facts.get("modalities")
        return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None

    def about(self) -> dict[str, Any]:
        """Facts for the record."""
        return {"name": self.model, "endpoint": self.url, "served": self.facts}

    def answers(self, requests: Iterable[Mapping[str, Any]]) -> Iterator[str | Exception]:
        """See :class:`~imagebind_llm.evaluation.engine.Engine`."""
        return self._many(requests, self._answer)

    def embeddings(self, requests: Iterable[Mapping[str, Any]]) -> Iterator[Floats | Exception]:
        """See :class:`~imagebind_llm.evaluation.engine.Engine`."""
        return self._many(requests, self._embed)

    def _many(self, requests: Iterable[Mapping[str, Any]], ask: Any) -> Iterator[Any]:
        source = iter(requests)
        with ThreadPoolExecutor(self._at_once) as pool:
            waiting: list[Future[Any]] = []
            try:
                while True:
                    room = _AHEAD * self._at_once - len(waiting)
                    waiting += [pool.submit(_caught, ask, one) for one in itertools.islice(source, room)]
                    if not waiting:
                        return
                    found = waiting.pop(0).result()
                    if isinstance(found, _GoneError):
                        raise UserError(str(found)) from found
                    yield found
            finally:
                for future in waiting:
                    future.cancel()

    def _answer(self, request: Mapping[str, Any]) -> str:
        values = dict(request)
        body: dict[str, Any] = {"model": self.model}
        body |= {name: values.pop(name) for name in _PARAMETERS if values.get(name) is not None}
        if (most := values.pop("max_new_tokens", None)) is not None:
            body["max_completion_tokens"] = most
        question = values.pop("question")
        parts = [*_parts(values), {"type": "text", "text": question}]
        body["messages"] = [{"role": "user", "content": parts}]
        found = self._call("POST", "/chat/completions", body)
        try:
            choice = found["choices"][0]
            text = choice["message"]["content"]
        except (KeyError, IndexError, TypeError):
            choice, text = {}, found
        if text is not None and not isinstance(text, str):
            raise UserError(f"{self.url} gave no answer: {one_line(str(found), 100)}")
        sure = choice.get("confidence")  # of our own servers
        return Said(text or "", float(sure) if is_confidence(sure) else None)

    def _embed(self, request: Mapping[str, Any]) -> Floats:
        (part,) = _parts(request)
        body = {"model": self.model, "input": [part], "encoding_format": "base64"}
        import numpy as np

        found = self._call("POST", "/embeddings", body)
        try:
            return np.frombuffer(base64.b64decode(found["data"][0]["embedding"]), "<f4").astype(np.float64)
        except (KeyError, IndexError, TypeError, ValueError):
            raise UserError(f"{self.url} gave no embedding: {one_line(str(found), 100)}") from None

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """JSON that comes back.

        Raises:
            UserError: the server refused this request.
            _GoneError: it cannot be reached, or no more.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                reply, content = self._sent(method, path, body)
            except self._errors as error:
                if attempt < _TRIES and path != "/models":
                    time.sleep(self._pause * 2**attempt)
                    continue
                raise _GoneError(
                    f"cannot reach {self.url} ({one_line(str(error) or type(error).__name__, 100)})"
                ) from None
            if reply.status_code in _PASSING and attempt < _TRIES:
                asked = reply.headers.get("Retry-After", "")
                known = asked.isascii() and asked.isdigit() and len(asked) < 10
                time.sleep(min(float(asked), _PATIENCE) if known else self._pause * 2**attempt)
                continue
            break
        try:
            found = parse_json(decode_text(content))
        except ValueError:
            found = None
        if reply.is_success and found is not None:
            return found
        told = found.get("error") if isinstance(found, dict) else None
        message = told.get("message") if isinstance(told, dict) else None
        text = one_line(str(message or reply.reason_phrase), 300)
        if self._key is not None:
            text = text.replace(self._key, "(the key)")
        kind = _GoneError if reply.status_code in (401, 403, 404, *_PASSING) else UserError
        raise kind(f"{self.url} refused ({reply.status_code}): {text}")

    def _sent(self, method: str, path: str, body: Any) -> tuple[Any, bytes]:
        """A response and its content, within limits of size and time.

        Raises:
            UserError: it is larger, or takes longer.
        """
        until, parts, size = time.monotonic() + self._timeout, [], 0
        with self._client.stream(method, self.url + path, json=body) as reply:
            for part in reply.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > _LARGEST or time.monotonic() > until:
                    raise UserError(f"{self.url} answers with more than {_LARGEST:,} bytes, or too slowly")
        return reply, b"".join(parts)


class _GoneError(UserError):
    """No other request will fare better."""


def _is_stable(name: str, value: Any) -> bool:
    """Whether a fact about a served model may be compared with that of another day."""
    if isinstance(value, list):
        return all(isinstance(inner, str) for inner in value)
    return name != "created" and isinstance(value, str | int | float | bool)


def _caught(ask: Any, request: Mapping[str, Any]) -> Any:
    try:
        return ask(request)
    except Exception as error:
        return error


def _parts(media: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Content parts of media by name, their files read."""
    from imagebind_llm.common.modality import Modality
    from imagebind_llm.model.messages import media_items

    parts: list[dict[str, Any]] = []
    for item in media_items(media):
        weight = {} if item.weight == 1.0 else {"weight": item.weight}
        if item.modality is Modality.TEXT:
            parts.append({"type": "text", "text": item.source, "as_media": True, **weight})
            continue
        name = item.modality.value
        content, kind = _content(item.source, name)
        data = base64.b64encode(content).decode()
        if name in ("image", "video"):
            parts.append(
                {"type": f"{name}_url", f"{name}_url": {"url": f"data:{kind};base64,{data}"}, **weight}
            )
        else:
            parts.append({"type": name, name: {"data": data}, **weight})
    return parts


def _content(source: Any, name: str) -> tuple[bytes, str]:
    """Bytes of a medium, and their type."""
    if isinstance(source, bytes):
        return source, f"{name}/*"
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            return path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        except OSError as error:
            raise UserError(f"cannot read {str(path)!r} ({error.strerror})") from None
    raise UserError(f"{name} is {type(source).__name__}; a served model takes files and bytes")
