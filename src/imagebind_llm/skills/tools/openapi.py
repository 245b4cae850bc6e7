"""Any web API as tools, by its OpenAPI 3 document.

Only the operations that are listed become tools, and only the hosts that are listed are spoken to. Nothing is
redirected anywhere: an answer that points elsewhere is an error. Time and size are limited, and what comes
back is text or JSON. Operations that may change something (all but GET and HEAD) have to be confirmed.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from imagebind_llm.common.errors import UserError, one_line, reason_of, require, short
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.skills.tools.definition import FEATURE, Tool
from imagebind_llm.skills.tools.stopping import check_time

METHODS = ("get", "head", "post", "put", "patch", "delete")
_READING = ("get", "head")
_PLACES = ("path", "query", "header")
SECONDS = 10.0
"""For connecting, and for each wait for more; a whole call has the toolbox's limit besides."""
MOST_BYTES = 1 << 20
"""Of an answer."""
_DEEPEST = 16
"""References of a schema inside of each other; a schema that holds itself has no end."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")
BODY = "body"


@dataclass(frozen=True)
class Operation:
    """One operation of an API.

    Attributes:
        base: address that paths go on from.
        path: with places in braces.
        method: of HTTP, in lower case.
        places: parameter → ``"path"``, ``"query"`` or ``"header"``.
        headers: sent with each call.
        transport: of httpx, for those who bring their own.
    """

    base: str
    path: str
    method: str
    places: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    transport: Any = None

    def __call__(self, **arguments: Any) -> str:
        """Call it.

        Raises:
            UserError: the API gives an error, points elsewhere, or sends too much or no text.
        """
        library = require("httpx", "tools", FEATURE)
        body = arguments.pop(BODY, None) if BODY not in self.places else None
        path, query, headers = self.path, {}, dict(self.headers)
        for name, value in arguments.items():
            text = value if isinstance(value, str) else json.dumps(value)
            if self.places[name] == "path":
                if text in ("", ".", ".."):
                    raise UserError(f"{name} is {text!r}, which is no part of a path")
                path = path.replace(f"{{{name}}}", quote(text, safe=""))
            elif self.places[name] == "query":
                query[name] = text
            else:
                headers[name] = text
        try:
            with (
                library.Client(
                    timeout=SECONDS, follow_redirects=False, trust_env=False, transport=self.transport
                ) as client,
                client.stream(
                    self.method.upper(), self.base + path, params=query, headers=headers, json=body
                ) as reply,
            ):
                return _read(reply)
        except (library.HTTPError, library.InvalidURL, ValueError) as error:
            raise UserError(f"{urlsplit(self.base).netloc}: {one_line(reason_of(error), 120)}") from error


def _read(reply: Any) -> str:
    if reply.is_redirect:
        raise UserError(
            f"the answer points to {short(reply.headers.get('location', ''))}; it is not followed"
        )
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    found = bytearray()
    for chunk in reply.iter_bytes():
        check_time()
        found += chunk
        if len(found) > MOST_BYTES:
            raise UserError(f"the answer has more than {MOST_BYTES:,} bytes")
    try:
        text = found.decode(reply.charset_encoding or "utf-8")
    except (UnicodeDecodeError, LookupError):
        raise UserError(f"the answer ({kind or 'of no known type'}) is no text") from None
    if reply.status_code >= 400:
        raise UserError(f"HTTP {reply.status_code}: {one_line(text, 120) or reply.reason_phrase}")
    return text


def read_api(entry: Any, where: str, folder: Path = Path()) -> list[Tool]:
    """The tools of an API.

    Args:
        entry: ``{"document": path, "hosts": […], "operations": […]}``, and optionally ``base`` (an address
            instead of the document's first server) and ``headers`` (in whose values ``${NAME}`` is that
            environment variable).
        where: what it is called in messages.
        folder: that the path of the document goes on from.

    Raises:
        UserError: it is malformed, an operation is not there, or a host is not allowed.
    """
    if not isinstance(entry, Mapping):
        raise UserError(
            f"{where} is {short(entry)}; expected {{'document': …, 'hosts': […], 'operations': […]}}"
        )
    refuse_unknown(entry, ("document", "hosts", "operations", "base", "headers"), what=f"key in {where}:")
    hosts, wanted = (_texts(entry.get(key), f"{where}.{key}") for key in ("hosts", "operations"))
    document = _document(entry.get("document"), where, folder)
    base = str(entry.get("base") or _server(document, where)).rstrip("/")
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or parts.hostname not in hosts:
        raise UserError(
            f"{where}: {short(base)} is not at one of the hosts {', '.join(hosts)}; add it there, or set base"
        )
    if parts.query or parts.fragment or parts.username is not None:
        raise UserError(f"{where}: {short(base)} is no plain address; leave out ?, # and @")
    headers = {str(key): _filled(value, where) for key, value in (entry.get("headers") or {}).items()}
    known = _operations(document)
    refuse_unknown(wanted, sorted(known), what=f"operation in {where}:")
    return [_tool(name, *known[name], document, base, headers, where) for name in wanted]


def _texts(given: Any, where: str) -> list[str]:
    if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
        raise UserError(f"{where} is {short(given)}; expected a list of names")
    return given


def _document(given: Any, where: str, folder: Path) -> Mapping[str, Any]:
    import yaml

    if not isinstance(given, str):
        raise UserError(f"{where}.document is {short(given)}; expected the path of an OpenAPI document")
    path = folder / given
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {one_line(reason_of(error), 120)}") from error
    if not isinstance(document, Mapping) or not str(document.get("openapi", "")).startswith("3."):
        raise UserError(
            f"{path} is no OpenAPI 3 document; its 'openapi' is {short(_get(document, 'openapi'))}"
        )
    return document


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _server(document: Mapping[str, Any], where: str) -> str:
    servers = document.get("servers")
    url = _get(servers[0], "url") if isinstance(servers, list) and servers else None
    if not isinstance(url, str):
        raise UserError(f"{where}: the document names no server; set base")
    return url


def _filled(value: Any, where: str) -> str:
    def variable(found: "re.Match[str]") -> str:
        if found[1] not in os.environ:
            raise UserError(f"{where}: headers need the environment variable {found[1]}, which is not set")
        return os.environ[found[1]]

    return _VARIABLE.sub(variable, str(value))


def _operations(document: Mapping[str, Any]) -> dict[str, tuple[str, str, Mapping[str, Any]]]:
    """Name → method, path, and what the document says; an operation without an id is METHOD_path."""
    found: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
    for path, item in (document.get("paths") or {}).items():
        for method in METHODS:
            operation = _get(item, method)
            if isinstance(operation, Mapping):
                name = str(operation.get("operationId") or f"{method}_{path.strip('/')}")
                shared = list(_get(item, "parameters") or [])
                more = [*shared, *(operation.get("parameters") or [])]
                found[re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]] = (
                    method,
                    str(path),
                    {**operation, "parameters": more},
                )
    return found


def _tool(
    name: str,
    method: str,
    path: str,
    operation: Mapping[str, Any],
    document: Mapping[str, Any],
    base: str,
    headers: Mapping[str, str],
    where: str,
) -> Tool:
    properties: dict[str, Any] = {}
    places: dict[str, str] = {}
    needed: list[str] = []
    for given in operation["parameters"]:
        parameter = _resolved(given, document, where)
        key, place = str(parameter.get("name")), str(parameter.get("in"))
        if place not in _PLACES:
            if parameter.get("required"):
                raise UserError(
                    f"{where}: operation {name!r} needs a {place} parameter, which is not sent here"
                )
            continue
        if place == "header" and key.lower() in {name.lower() for name in headers}:
            continue
        schema = dict(parameter.get("schema") or {"type": "string"})
        if parameter.get("description"):
            schema["description"] = one_line(parameter["description"], 300)
        properties[key], places[key] = schema, place
        if (parameter.get("required") or place == "path") and key not in needed:
            needed.append(key)
    if "requestBody" in operation:
        given = _resolved(operation["requestBody"], document, where)
        schema = _get(_get(given.get("content"), "application/json"), "schema")
        if schema is None:
            raise UserError(
                f"{where}: the body of operation {name!r} is not JSON, which is all that is sent here"
            )
        properties[BODY] = schema if isinstance(schema, Mapping) else {}
        needed += [BODY] if given.get("required") else []
    missing = [place for place in re.findall(r"\{([^}]*)\}", path) if places.get(place) != "path"]
    if missing:
        raise UserError(
            f"{where}: the path {short(path)} has {missing[0]!r}, which is no parameter of {name!r}"
        )
    about = one_line(
        operation.get("description") or operation.get("summary") or f"{method.upper()} {path}", 1000
    )
    return Tool(
        name,
        about,
        {"type": "object", "properties": properties, "required": needed, "additionalProperties": False},
        Operation(base, path, method, places, headers),
        confirm=method not in _READING,
    )


def _resolved(given: Any, document: Mapping[str, Any], where: str, depth: int = 0) -> Any:
    """``given`` with what it refers to in its place."""
    if depth > 4 * _DEEPEST:
        raise UserError(f"{where}: a schema is nested too deeply, or holds itself")
    if isinstance(given, list):
        return [_resolved(one, document, where, depth + 1) for one in given]
    if not isinstance(given, Mapping):
        return given
    if isinstance(given.get("$ref"), str):
        target: Any = document
        if not given["$ref"].startswith("#/"):
            raise UserError(f"{where}: {short(given['$ref'])} is in another document, which is not read")
        for step in given["$ref"][2:].split("/"):
            target = _get(target, step.replace("~1", "/").replace("~0", "~"))
        if target is None:
            raise UserError(f"{where}: {short(given['$ref'])} is not in the document")
        return _resolved(target, document, where, depth + 4)
    return {
        # names of properties are nobody's keys
        key: {name: _resolved(one, document, where, depth + 2) for name, one in value.items()}
        if key == "properties" and isinstance(value, Mapping)
        else _resolved(value, document, where, depth + 1)
        for key, value in given.items()
        if key not in _SAID
    }


_SAID = (
    "example", "examples", "xml", "externalDocs", "discriminator", "deprecated", "nullable", "readOnly",
    "writeOnly",
)  # fmt: skip
"""Keys of OpenAPI's schemas that a JSON schema does not have."""
