"""``/v1/files``: large media, sent once and named in requests."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile

from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.server import Server

_PIECE = 1 << 20


def router(server: Server) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["files"])
    uploads = server.uploads

    @routes.post(
        "/v1/files",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "required": ["file"],
                            "properties": {
                                "file": {"type": "string", "format": "binary"},
                                "purpose": {"type": "string"},
                            },
                        }
                    }
                },
            }
        },
    )
    async def upload(request: Request) -> Response:
        """Keep a file for a while."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            raise ApiError(415, "the body is no form; send multipart/form-data with a field 'file'")
        async with request.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise ApiError(400, "the form has no file in its field 'file'; send one", "file")
            purpose = form.get("purpose")

            async def pieces() -> AsyncIterator[bytes]:
                while piece := await file.read(_PIECE):
                    yield piece

            kept = await uploads.add(
                server.owner(request), file.filename or "file", str(purpose or "user_data"), pieces()
            )
        return JSONResponse(kept.as_object())

    @routes.get("/v1/files")
    async def listing(request: Request) -> Response:
        """Your files."""
        found = [upload.as_object() for upload in uploads.list(server.owner(request))]
        return JSONResponse({"object": "list", "data": found, "has_more": False})

    @routes.get("/v1/files/{identity}")
    async def one(request: Request, identity: str) -> Response:
        """What is known of a file."""
        return JSONResponse(uploads.get(server.owner(request), identity).as_object())

    @routes.delete("/v1/files/{identity}")
    async def delete(request: Request, identity: str) -> Response:
        """Forget a file."""
        uploads.delete(server.owner(request), identity)
        return JSONResponse({"id": identity, "object": "file", "deleted": True})

    @routes.get("/v1/files/{identity}/content")
    async def content(request: Request, identity: str) -> Response:
        """A file's bytes."""
        with uploads.open(server.owner(request), identity) as stream:
            data = await asyncio.to_thread(stream.read)
        headers = {"Content-Disposition": "attachment"}
        return Response(data, media_type="application/octet-stream", headers=headers)

    return routes
