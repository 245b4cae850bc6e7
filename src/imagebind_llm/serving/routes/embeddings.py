"""``POST /v1/embeddings``: unit vectors of texts and media in the joint space."""

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.serving.bodies import read_body
from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.protocol import EmbeddingBody
from imagebind_llm.serving.server import Server


def router(server: Server) -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.post("/v1/embeddings", tags=["embeddings"])
    async def embeddings(request: Request) -> Response:
        """Embed texts and media, each on its own."""
        body = await read_body(request, EmbeddingBody)
        server.check_model(body.model)
        service = server.service
        items, rows = await server.embedded(request, body.input)
        for number, item in enumerate(items):
            if item.weight != 1:
                where = f"input[{number}].weight"
                raise ApiError(
                    400, f"{where} is {item.weight:g}; embeddings of single media have none", where
                )
        found = [_row(row, number) for number, row in enumerate(rows)]
        if body.dimensions is not None and body.dimensions != len(found[0]):
            raise ApiError(
                400, f"dimensions is {body.dimensions}; this model's are {len(found[0])}", "dimensions"
            )
        return JSONResponse({
            "object": "list",
            "model": service.settings.model_name,
            "data": [
                {"object": "embedding", "index": number, "embedding": _written(row, body.encoding_format)}
                for number, row in enumerate(found)
            ],
            "usage": {"prompt_tokens": 0, "total_tokens": 0},
        })  # fmt: skip

    return routes


def _row(row: Tensor | Exception, number: int) -> np.ndarray:
    if isinstance(row, UserError):
        raise ApiError(400, str(row), f"input[{number}]") from row
    if isinstance(row, Exception):
        raise row
    return row.numpy().astype("<f4")


def _written(row: np.ndarray, form: str | None) -> Any:
    return base64.b64encode(row.tobytes()).decode() if form == "base64" else row.tolist()
