"""The application: routes, guards, errors, and the life of what stands behind them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagebind_llm import __version__
from imagebind_llm.common.errors import UserError, short
from imagebind_llm.serving.backend import BackendLostError
from imagebind_llm.serving.errors import ApiError, error_body
from imagebind_llm.serving.metrics import Metrics
from imagebind_llm.serving.openapi import describe
from imagebind_llm.serving.routes import (
    cache,
    chat,
    completions,
    detection,
    embeddings,
    files,
    making,
    page,
    responses,
    status,
)
from imagebind_llm.serving.server import Server
from imagebind_llm.serving.streams import ClientLeftError, log_fault, status_of
from imagebind_llm.serving.uploads import NoUploadError, UploadRefusedError

_NOBODY = 499
"""Status of an answer that nobody waits for; nginx's number for it. It is never seen."""
_LOST = 503


def create_app(server: Server) -> FastAPI:
    """The application in front of ``server``."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await server.service.start()
        sweeping = asyncio.create_task(server.uploads.sweep_always())
        try:
            yield
        finally:
            sweeping.cancel()
            server.workshop.close()
            await server.service.close()
            server.uploads.close()

    app = FastAPI(
        title="ImageBind-LLM",
        version=__version__,
        description="A language model that answers about images, video, audio, 3D, depth, heat, motion.",
        lifespan=life,
        docs_url=None,  # it would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the client's Host
    )
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    for room in (chat, completions, responses, embeddings, making, detection, cache, files, status):
        app.include_router(room.router(server))
    app.include_router(page.router())
    app.mount("/page", page.static())
    _handle_errors(app)
    app.add_middleware(_Counted, server.service.metrics)
    return app


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> Response:
        return JSONResponse(error.body(), error.status, error.headers)

    @app.exception_handler(NoUploadError)
    async def no_upload(_: Request, error: NoUploadError) -> Response:
        return JSONResponse(error_body(404, str(error)), 404)

    @app.exception_handler(UploadRefusedError)
    async def no_room(_: Request, error: UploadRefusedError) -> Response:
        return JSONResponse(error_body(413, str(error)), 413)

    @app.exception_handler(UserError)
    async def user_error(_: Request, error: UserError) -> Response:
        return JSONResponse(error_body(400, str(error)), 400)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        words = f"{name} is {short(first['input'])}: {first['msg'].lower()}"
        return JSONResponse(error_body(400, words, name, "invalid_value"), 400)

    @app.exception_handler(BackendLostError)
    async def lost(_: Request, error: BackendLostError) -> Response:
        return JSONResponse(error_body(*status_of(error)), _LOST, {"Retry-After": "1"})

    @app.exception_handler(ClientLeftError)
    async def left(_: Request, __: ClientLeftError) -> Response:
        return Response(status_code=_NOBODY)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        what = f"{request.method} {request.url.path}: {str(error.detail).lower()}"
        words = f"{what}; /openapi.json lists what there is"
        return JSONResponse(error_body(error.status_code, words), error.status_code, error.headers)


class _Counted:
    """Tells the metrics of every request, and answers what nobody foresaw.

    Plain ASGI, so that streams and disconnects pass untouched.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await told(message)

        try:
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            status = _NOBODY
        except Exception as error:
            log_fault(scope["path"], error)
            if not begun:
                await JSONResponse(error_body(*status_of(error)), 500)(scope, receive, told)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(route, status, time.perf_counter() - started)
