"""Which model this is, whether it is well, and how busy."""

import time

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from imagebind_llm.serving.server import Server


def router(server: Server) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["status"])
    service = server.service
    began = int(time.time())

    def card() -> dict[str, object]:
        bot = service.assistant
        cache = bot.pipeline.perception.cache
        found = cache.get() if cache.present else None
        encoder = bot.model.encoder
        return {
            "id": service.settings.model_name,
            "object": "model",
            "created": began,
            "owned_by": "imagebind-llm",
            "modalities": list(bot.modalities),
            "context_length": service.backend.context_length,
            "embedding_dimensions": None if encoder is None else encoder.embedding_dim,
            "cache": None if found is None else {"size": found.size},
            **server.workshop.card(),
        }

    @routes.get("/v1/models")
    async def models() -> Response:
        """The model."""
        return JSONResponse({"object": "list", "data": [card()]})

    @routes.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        """The model, by its name."""
        server.check_model(name)
        return JSONResponse(card())

    @routes.get("/healthz")
    async def health() -> Response:
        """Whether the process answers."""
        return JSONResponse({"status": "ok"})

    @routes.get("/readyz")
    async def ready() -> Response:
        """Whether requests are taken."""
        state = "ready" if service.ready else "not ready"
        return JSONResponse({"status": state}, 200 if service.ready else 503)

    @routes.get("/metrics")
    async def metrics(request: Request) -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return routes
