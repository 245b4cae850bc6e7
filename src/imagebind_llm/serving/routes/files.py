"""``/v1/files``: large media, sent once and named in requests."""

from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.datastructures import UploadFile

from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.server import Server

_PIECE = 1 << 18
_LONGEST_PURPOSE = 64


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
        try:
            form = await request.form(max_files=1, max_fields=8)
        except (UnicodeError, LookupError):
            raise ApiError(400, "the form names a character set that cannot be; leave it out") from None
        try:
            file, purpose = form.get("file"), str(form.get("purpose") or "user_data")
            if not isinstance(file, UploadFile):
                raise ApiError(400, "the form has no file in its field 'file'; send one", "file")
            if len(purpose) > _LONGEST_PURPOSE:
                raise ApiError(400, f"purpose has {len(purpose)} characters; send user_data", "purpose")
            kept = await uploads.add(server.owner(request), file.filename or "file", purpose, _pieces(file))
        finally:
            await form.close()
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
        stream = uploads.open(server.owner(request), identity)
        size = uploads.get(server.owner(request), identity).size
        headers = {"Content-Disposition": "attachment", "Content-Length": str(size)}
        return StreamingResponse(_read(stream), media_type="application/octet-stream", headers=headers)

    return routes


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(_PIECE):
        yield piece


def _read(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while piece := stream.read(_PIECE):
            yield piece
