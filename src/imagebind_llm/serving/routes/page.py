"""The web page at ``/`` and its examples."""

from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

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


def static() -> StaticFiles:
    """The page's scripts, styles and libraries."""
    return StaticFiles(directory=PAGE)
