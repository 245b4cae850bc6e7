"""``POST /v1/images/generations``, and the same for sounds and shapes."""

import base64
import time

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.calls import MadeFile
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.serving.bodies import read_body
from imagebind_llm.serving.errors import ApiError, refused
from imagebind_llm.serving.naming import naming, places_of
from imagebind_llm.serving.parts import read_mixture
from imagebind_llm.serving.protocol import GenerationBody
from imagebind_llm.serving.server import Server
from imagebind_llm.serving.streams import unless_left
from imagebind_llm.skills.generation.contract import Kind, Pictures, Settings
from imagebind_llm.skills.generation.files import FILES, made_files
from imagebind_llm.skills.generation.wishes import make_wish
from imagebind_llm.skills.tools.chosen import by_modality

MOST_STEPS = 2000
"""Denoising steps of all things of a request: work cannot be stopped half-way."""


def router(server: Server) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["making"])

    @routes.post("/v1/images/generations")
    async def images(request: Request) -> Response:
        """Make pictures of words and media."""
        return await _made(server, request, "picture")

    @routes.post("/v1/audio/generations")
    async def sounds(request: Request) -> Response:
        """Make sounds of words and media."""
        return await _made(server, request, "sound")

    @routes.post("/v1/shapes/generations")
    async def shapes(request: Request) -> Response:
        """Make 3D shapes of words and media."""
        return await _made(server, request, "shape")

    return routes


async def _made(server: Server, request: Request, kind: Kind) -> Response:
    body = await read_body(request, GenerationBody)
    server.check_model(body.model)
    _check(body, kind, server.service.settings.max_inputs)
    settings = _settings(body, server.service.settings.max_choices)
    items = [] if body.input is None else await read_mixture(body.input, server.sources(request))
    places = places_of(body.input, len(items))
    if body.prompt:
        items.insert(0, MediaItem(Modality.TEXT, body.prompt))
        places.insert(0, "prompt")
    if not items:
        raise ApiError(400, "there is nothing to make; send a prompt, or media in input", "prompt")
    if server.workshop.generators is None:
        raise ApiError(400, "this server has no generator; start it with --generator NAME", "model")
    generators = server.workshop.generators

    def work() -> tuple[list[MadeFile], str]:
        generator = generators.get(kind)
        try:
            wish = make_wish(
                server.workshop.bot,
                by_modality(items),
                generator,
                cache=body.cache,
                description=body.prompt or None,
                negative=body.negative_prompt or "",
            )
        except UserError as error:
            raise naming(error, server.workshop.bot, items, places) from error
        made = generator.make(kind, [wish], settings)
        size = f"{made.pixels.shape[2]}x{made.pixels.shape[1]}" if isinstance(made, Pictures) else ""
        if body.size not in (None, "auto", size):
            only = size or f"{kind}s of no size"
            raise ApiError(400, f"size is {short(body.size)}; this generator makes {only} only", "size")
        return list(made_files(made, generator, wish, settings)), size

    files, size = await unless_left(request, server.workshop.make(work))
    return JSONResponse({
        "created": int(time.time()),
        "output_format": files[0].name.rpartition(".")[2],
        **({"size": size} if size else {}),
        "data": [
            {"b64_json": base64.b64encode(one.data).decode(), "media_type": one.media_type} for one in files
        ],
    })  # fmt: skip


def _check(body: GenerationBody, kind: Kind, most: int) -> None:
    """Refuse what this route cannot mean."""
    for name in ("prompt", "negative_prompt"):
        words = getattr(body, name)
        if words and not words.strip():
            raise ApiError(400, f"{name} is {short(words)}; write some words, or leave it out", name)
    if isinstance(body.input, list) and len(body.input) > most:
        raise ApiError(400, f"input has {len(body.input)} entries; send at most {most}", "input")
    ending = FILES[kind][0].rpartition(".")[2]
    if body.output_format not in (None, ending):
        words = f"output_format is {short(body.output_format)}; this route makes {ending} only"
        raise ApiError(400, words, "output_format", "unsupported_parameter")
    if body.seconds is not None and kind != "sound":
        raise ApiError(
            400, f"seconds is the length of a sound; a {kind} has none, so leave it out", "seconds"
        )


def _settings(body: GenerationBody, most: int) -> Settings:
    if (body.n or 1) > most:
        raise ApiError(400, f"n is {body.n}; expected at most {most}", "n")
    if body.response_format == "url":
        raise ApiError(
            400, "response_format is 'url'; this server keeps no files, ask for b64_json", "response_format"
        )
    if (body.n or 1) * (body.steps or 1) > MOST_STEPS:
        raise ApiError(400, f"n times steps is more than {MOST_STEPS}; ask for less", "steps")
    try:
        return Settings(body.n or 1, body.seed or 0, body.steps, body.guidance, body.seconds)
    except UserError as error:
        raise refused(error, str(error).partition(" ")[0]) from error
