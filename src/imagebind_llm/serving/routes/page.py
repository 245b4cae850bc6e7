"""The web page at ``/`` and its examples."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from imagebind_llm.serving.errors import ApiError

PAGE = Path(__file__).parents[1] / "page"


def router() -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def index() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @routes.get("/examples.json")
    async def examples() -> Response:
        return FileResponse(PAGE / "examples" / "examples.json", headers={"Cache-Control": "no-cache"})

    @routes.get("/examples/{name}")
    async def example(name: str) -> Response:
        known = {path.name: path for path in (PAGE / "examples").iterdir()}
        if name not in known:
            raise ApiError(404, f"there is no example {name!r}")
        return FileResponse(known[name])

    return routes


class _Static(StaticFiles):
    """Asked for anew each time (a 304, as a rule): an upgraded server must not meet its old scripts."""

    def file_response(self, *arguments: Any, **keywords: Any) -> Response:
        response = super().file_response(*arguments, **keywords)
        response.headers["Cache-Control"] = "no-cache"
        return response


def static() -> ASGIApp:
    """The page's scripts, styles and libraries, compressed on their way."""
    return GZipMiddleware(_Static(directory=PAGE))
