"""``/v1/cache``: what the visual cache holds, what it finds, and where a medium lies among its pictures."""

import asyncio
from io import BytesIO
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from torch import Tensor

from imagebind_llm.cache import VisualCache
from imagebind_llm.inference.perception import raised
from imagebind_llm.inference.request import Options
from imagebind_llm.model.conditioning import mixtures
from imagebind_llm.serving.bodies import read_body
from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.mapping import CacheMap
from imagebind_llm.serving.protocol import MapBody, SearchBody
from imagebind_llm.serving.server import Server, retrieved_as_json

_MOST_POINTS = 5000
_KEEP = {"Cache-Control": "private, max-age=3600"}


def router(server: Server) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["cache"])
    perception = server.service.assistant.pipeline.perception
    drawn: list[CacheMap] = []

    def cache() -> VisualCache:
        found = perception.cache.get()
        if found is None:
            raise ApiError(404, "this model has no visual cache", code="no_cache")
        return found

    async def mixture(request: Request, given: Any) -> Tensor:
        items, rows = await server.embedded(request, given)
        return mixtures([[(raised(row), item.weight) for row, item in zip(rows, items, strict=True)]])[0]

    @routes.post("/v1/cache/search")
    async def search(request: Request) -> Response:
        """Pictures most like a medium or a mixture, best first."""
        body = await read_body(request, SearchBody)
        found = cache()
        options = Options(cache_k=min(body.k or 8, found.size), cache_temperature=body.temperature)
        hits = await asyncio.to_thread(perception.explain, await mixture(request, body.input), options)
        return JSONResponse({"object": "list", "data": retrieved_as_json(hits)})

    @routes.get("/v1/cache/pictures/{index}")
    async def picture(index: int) -> Response:
        """The thumbnail of a cached picture."""
        found = await asyncio.to_thread(cache)
        if not 0 <= index < found.size:
            raise ApiError(404, f"there is no picture {index}; index is from 0 to {found.size - 1}", "index")
        if (entry := found.entry(index)).thumbnail is None:
            raise ApiError(404, "this cache keeps captions and no pictures", "index", "no_pictures")
        stream = BytesIO()
        entry.thumbnail.save(stream, "PNG")
        return Response(stream.getvalue(), media_type="image/png", headers=_KEEP)

    async def drawing_of_all() -> CacheMap:
        if not drawn:
            drawn.append(await asyncio.to_thread(CacheMap.of, cache(), _MOST_POINTS))
        return drawn[0]

    @routes.get("/v1/cache/map")
    async def points(most: int = Query(2000, ge=2, le=_MOST_POINTS)) -> Response:
        """The cached pictures (or a sample of them) in two dimensions."""
        return JSONResponse((await drawing_of_all()).to_dict(most), headers=_KEEP)

    @routes.post("/v1/cache/map")
    async def place(request: Request) -> Response:
        """Where a mixture lies among the cached pictures, before and after it is moved towards them."""
        body = await read_body(request, MapBody)
        drawing = await drawing_of_all()
        own = await mixture(request, body.input)
        asked = body.cache
        options = Options(
            cache_k=min(asked.k, cache().size) if asked and asked.k else None,
            cache_temperature=asked.temperature if asked else None,
            cache_weight=asked.weight if asked else None,
        )
        moved = await asyncio.to_thread(perception.enhance, own[None], [True], options)
        hits = await asyncio.to_thread(perception.explain, own, options)
        return JSONResponse({
            "before": drawing.place(own),
            "after": drawing.place(moved[0]),
            "retrieved": retrieved_as_json(hits),
        })  # fmt: skip

    return routes
