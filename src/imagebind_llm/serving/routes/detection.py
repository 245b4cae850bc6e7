"""``POST /v1/detect``: where in a picture is what is described, shown or heard?"""

import base64
import io
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.model.messages import Embedded, MediaItem
from imagebind_llm.serving.bodies import read_body
from imagebind_llm.serving.errors import ApiError, refused
from imagebind_llm.serving.naming import naming, places_of
from imagebind_llm.serving.parts import read_medium, read_mixture
from imagebind_llm.serving.protocol import DetectionBody
from imagebind_llm.serving.server import Server
from imagebind_llm.serving.streams import unless_left
from imagebind_llm.skills.detection import DetectionSettings, Prompt
from imagebind_llm.skills.tools.chosen import named_all

_NAMES = ("threshold", "overlap", "most")


def router(server: Server) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["detection"])

    @routes.post("/v1/detect")
    async def detect(request: Request) -> Response:
        """Find what words, pictures, sounds or other media describe in a picture."""
        body = await read_body(request, DetectionBody)
        server.check_model(body.model)
        settings = _settings(body)
        sources = server.sources(request)
        scene = await read_medium(body.picture, sources, "picture")
        if scene.modality is not Modality.IMAGE or isinstance(scene.source, Embedded):
            raise ApiError(400, "picture is no picture; send a part of the type image_url", "picture")
        if scene.weight != 1:
            words = f"picture.weight is {scene.weight:g}; a picture to look in has no weight, so leave it out"
            raise ApiError(400, words, "picture.weight")
        items = await read_mixture(body.input, sources)
        if len(items) > server.service.settings.max_inputs:
            most = server.service.settings.max_inputs
            raise ApiError(400, f"input has {len(items)} entries; send at most {most}", "input")
        prompts = _prompts(items, bool(body.together))

        def work() -> dict[str, Any]:
            from imagebind_llm.skills.detection.coco import to_coco
            from imagebind_llm.skills.detection.names import find
            from imagebind_llm.skills.detection.overlay import overlay

            detector = server.workshop.finder.detector(server.workshop.bot)
            try:
                picture = detector.open(scene.source)
            except UserError as error:
                raise ApiError(400, f"picture: {error}", "picture") from error
            try:
                found = find(detector, picture, prompts, settings, bool(body.cache))
            except UserError as error:
                places = places_of(body.input, len(items))
                raise naming(error, server.workshop.bot, items, places) from error
            reply: dict[str, Any] = {"proposed": found.proposed, **to_coco(["picture"], [found])}
            if body.overlay:
                stream = io.BytesIO()
                overlay(found).save(stream, "PNG")
                reply["overlay"] = {
                    "b64_json": base64.b64encode(stream.getvalue()).decode(),
                    "media_type": "image/png",
                }
            return reply

        found = await unless_left(request, server.workshop.make(work))
        return JSONResponse({"object": "detections", "model": server.service.settings.model_name, **found})

    return routes


def _settings(body: DetectionBody) -> DetectionSettings:
    asked = {name: getattr(body, name) for name in _NAMES if getattr(body, name) is not None}
    try:
        return DetectionSettings(**asked, classify=not body.each)
    except UserError as error:
        raise refused(error, str(error).partition(" ")[0]) from error


def _prompts(items: list[MediaItem], together: bool) -> list[Prompt]:
    if together:
        return [Prompt(tuple(items), named_all(items))]
    for number, item in enumerate(items):
        if item.weight != 1:
            where = f"input[{number}].weight"
            raise ApiError(
                400, f"{where} is {item.weight:g}; weights are of mixtures: add together: true", where
            )
    return [
        Prompt((item,), str(item.source) if item.modality is Modality.TEXT else named_all([item]))
        for item in items
    ]
