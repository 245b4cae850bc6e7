"""The OpenAPI document: what FastAPI knows of the routes, with the bodies that we read ourselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from imagebind_llm.serving import protocol

_BODIES: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": protocol.ChatBody,
    "/v1/completions": protocol.CompletionBody,
    "/v1/responses": protocol.ResponseBody,
    "/v1/embeddings": protocol.EmbeddingBody,
    "/v1/images/generations": protocol.GenerationBody,
    "/v1/audio/generations": protocol.GenerationBody,
    "/v1/shapes/generations": protocol.GenerationBody,
    "/v1/detect": protocol.DetectionBody,
    "/v1/cache/search": protocol.SearchBody,
    "/v1/cache/map": protocol.MapBody,
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}

_REPLY = {
    "type": "object",
    "description": "As OpenAI's, with fields of our own. The chunks of a stream have them too.",
    "properties": {
        "choices": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "message": {
                        "type": "object",
                        "properties": {
                            "parts": {
                                "type": "array",
                                "items": {"type": "object"},
                                "description": (
                                    "What server_tools made, as content parts: image_url, input_audio, "
                                    "point, detections. Of a stream: in a delta before the last."
                                ),
                            }
                        },
                    },
                    "confidence": {
                        "type": ["number", "null"],
                        "minimum": 0,
                        "maximum": 1,
                        "description": (
                            "The probability that the model gives exactly this answer at temperature 1, "
                            "whatever the temperature of the request. It is not the probability of being "
                            "right, unless that was measured for this model. Of a stream: in the chunk with "
                            "finish_reason. null: the engine does not tell."
                        ),
                    },
                },
            },
        },
        "imagebind": {
            "type": "object",
            "description": "What was seen. Of a stream: in the first chunk.",
            "properties": {
                "cached": {"type": "boolean", "description": "Whether the media were moved by the cache."},
                "media": {"type": "array", "items": {"type": "object"}},
                "nearest": {
                    "type": ["number", "null"],
                    "minimum": -1,
                    "maximum": 1,
                    "description": (
                        "Cosine of the media, before they are moved, to the nearest picture of the visual "
                        "cache; null where the request does not search it."
                    ),
                },
                "calls": {
                    "type": "array",
                    "items": {"type": "object"},
                    "description": "The calls of server_tools: name, arguments, result or error, seconds.",
                },
                "retrieved": {"type": "array", "items": {"type": "object"}},
            },
        },
    },
}
"""Of ``/v1/chat/completions``: what OpenAI's own documentation does not say of it."""


def describe(app: FastAPI) -> dict[str, Any]:
    """The document of ``app``."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    template = "#/components/schemas/{model}"
    kinds: list[Any] = [(kind, "validation") for kind in dict.fromkeys(_BODIES.values())]
    _, schemas = models_json_schema(kinds, ref_template=template)
    components = document.setdefault("components", {})
    components["schemas"] = {"Error": _ERROR, "ChatReply": _REPLY, **schemas["$defs"]}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}, {}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {
                "description": "An error",
                "content": {"application/json": {"schema": {"$ref": template.format(model="Error")}}},
            }
            if method == "post" and path in _BODIES:
                schema = {"$ref": template.format(model=_BODIES[path].__name__)}
                operation["requestBody"] = {
                    "required": True, "content": {"application/json": {"schema": schema}}
                }  # fmt: skip
    reply = {"schema": {"$ref": template.format(model="ChatReply")}}
    for operation in document["paths"].get("/v1/chat/completions", {}).values():
        operation["responses"]["200"]["content"] = {"application/json": reply, "text/event-stream": reply}
    app.openapi_schema = document
    return document
