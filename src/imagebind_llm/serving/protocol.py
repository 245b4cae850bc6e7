"""The bodies of requests, as OpenAI's clients send them, with our own additions.

Parameters that this server cannot honour are listed where they are: a value that asks for nothing (``0``,
``null``, an empty list) passes, any other is refused by name.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Part = dict[str, Any]
Ids = Annotated[list[int], Field(max_length=65_536)]
Parts = Annotated[list[Part], Field(max_length=512)]
Inputs = Annotated[list[str | Part], Field(max_length=2048)]
"""More are refused before each of them is looked at."""
ServerTools = Annotated[
    list[str] | None,
    Field(max_length=16, description="Tools that the server runs itself: calculator, generator, detector."),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), hide_input_in_errors=True)


class CacheBody(_Body):
    """How media are moved towards pictures of the visual cache."""

    enabled: bool | None = Field(None, description="All media, or none; by default as the model says.")
    k: int | None = Field(None, ge=1, le=10_000, description="Number of pictures.")
    temperature: float | None = Field(None, ge=0, description="Factor on their similarities.")
    weight: float | None = Field(None, ge=0, le=1, description="Share of the pictures.")


class StreamOptions(_Body):
    """What a stream tells besides the text."""

    include_usage: bool | None = False
    include_obfuscation: bool | None = None


class _Sampled(_Body):
    """What all requests for text have in common."""

    model: str = Field("default", description="A name of /v1/models, or 'default'.")
    temperature: float | None = Field(None, ge=0, le=2, description="0: always the likeliest token.")
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: str | Annotated[list[str], Field(max_length=64)] | None = Field(
        None, description="Up to 4 texts that end the answer."
    )
    n: int | None = Field(None, ge=1, le=128)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    user: str | None = None
    cache: bool | CacheBody | None = Field(None, description="Of the visual cache.")
    explain: bool | None = Field(None, description="Tell which pictures the cache found.")
    prompt_cache_key: str | None = Field(
        None, description="The dialog may go on: what has been read of it is remembered."
    )
    # accepted where they ask for nothing
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None


class Message(_Body):
    """One turn. ``content`` is text or a list of parts (see docs/serving.md)."""

    role: str
    content: str | Parts | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    audio: dict[str, Any] | None = None
    annotations: list[Any] | None = None
    parts: list[Any] | None = None  # of an answer that is sent back; not read
    function_call: dict[str, Any] | None = None


class ChatBody(_Sampled):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=2048)]
    max_completion_tokens: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    metadata: dict[str, str] | None = None
    store: bool | None = None
    parallel_tool_calls: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    tools: list[Any] | None = None
    server_tools: ServerTools = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    web_search_options: dict[str, Any] | None = None


class CompletionBody(_Sampled):
    """``POST /v1/completions``: text that goes on, without a chat template."""

    prompt: (
        str | Annotated[list[str], Field(max_length=16)] | Ids | Annotated[list[Ids], Field(max_length=16)]
    )
    max_tokens: int | None = Field(None, ge=1)
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


class ResponseBody(_Body):
    """``POST /v1/responses``."""

    model: str = "default"
    input: str | Annotated[list[dict[str, Any]], Field(max_length=2048)]
    instructions: str | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_output_tokens: int | None = Field(None, ge=1)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    seed: int | None = Field(None, ge=0, lt=2**63)
    cache: bool | CacheBody | None = None
    explain: bool | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    parallel_tool_calls: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: dict[str, Any] | None = None
    tools: list[Any] | None = None
    server_tools: ServerTools = None
    tool_choice: Any = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    max_tool_calls: int | None = None


class EmbeddingBody(_Body):
    """``POST /v1/embeddings``: texts, or parts with media."""

    model: str = "default"
    input: str | Part | Inputs = Field(description="A text, a part with a medium, or a list.")
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = None
    user: str | None = None


class GenerationBody(_Body):
    """``POST /v1/images/generations``, and the same for sounds and shapes."""

    prompt: Annotated[str, Field(max_length=4000)] | None = Field(None, description="What it shows.")
    model: str = "default"
    input: str | Part | Inputs | None = Field(
        None, description="Words, parts with media, or several of them as a mixture."
    )
    n: int | None = Field(None, ge=1, le=64)
    size: str | None = Field(None, description="'auto', or what the generator makes, as '32x32'.")
    response_format: Literal["b64_json", "url"] | None = None
    seed: int | None = Field(None, ge=0, lt=2**31)
    steps: int | None = Field(None, ge=1, le=1000)
    guidance: float | None = Field(None, ge=0, le=100)
    seconds: float | None = Field(None, gt=0, le=600, description="Of a sound.")
    negative_prompt: Annotated[str, Field(max_length=4000)] | None = None
    cache: bool | None = Field(None, description="Move the media towards the visual cache.")
    user: str | None = None
    # accepted where they ask for nothing
    quality: str | None = None
    style: str | None = None
    background: str | bool | None = None
    moderation: str | None = None
    output_format: str | None = None
    output_compression: int | None = None
    partial_images: int | None = None
    stream: bool | None = None


class DetectionBody(_Body):
    """``POST /v1/detect``."""

    model: str = "default"
    picture: Part = Field(description="Where to look: a part with a picture.")
    input: str | Part | Inputs = Field(description="What to look for: words, or parts with media.")
    together: bool | None = Field(None, description="All of input are one prompt, a weighted mixture.")
    each: bool | None = Field(None, description="Prompts do not compete: a box may answer several.")
    threshold: float | None = Field(None, ge=0, le=1)
    overlap: float | None = Field(None, ge=0, le=1)
    most: int | None = Field(None, ge=1, le=1000)
    cache: bool | None = Field(None, description="Move prompts towards pictures that the model knows.")
    overlay: bool | None = Field(None, description="Also send the picture with its boxes, as PNG.")
    user: str | None = None


class SearchBody(_Body):
    """``POST /v1/cache/search``: pictures most like a medium, or like a mixture of several."""

    input: str | Part | Inputs
    k: int | None = Field(None, ge=1, le=1000)
    temperature: float | None = Field(None, ge=0)


class MapBody(_Body):
    """``POST /v1/cache/map``: where a mixture lies among the cached pictures, before and after the cache."""

    input: str | Part | Inputs
    cache: CacheBody | None = None


_NOTHING: dict[str, tuple[Any, ...]] = {
    "presence_penalty": (0, 0.0),
    "frequency_penalty": (0, 0.0),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "web_search_options": (),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
    "truncation": ("disabled",),
    "include": ([],),
    "background": (False, "auto"),
    "quality": ("auto", "standard"),
    "style": (),
    "moderation": ("auto",),
    "output_format": ("png", "wav", "glb"),
    "output_compression": (100,),
    "partial_images": (0,),
    "stream": (False,),
    "previous_response_id": (),
    "conversation": (),
    "prompt": (),
    "text": ({"format": {"type": "text"}}, {}),
    "reasoning": ({},),
    "max_tool_calls": (),
}
"""Parameters that cannot be honoured, with the values that ask for nothing."""
_HONOURED: dict[type[BaseModel], tuple[str, ...]] = {
    GenerationBody: ("prompt", "response_format"),
    ChatBody: ("tools", "tool_choice", "response_format", "stream"),
    CompletionBody: ("prompt", "stream"),
    ResponseBody: ("tool_choice", "stream"),
}
"""Those that some bodies can honour."""


def cannot_honour(body: BaseModel) -> str | None:
    """The first parameter of ``body`` that asks for what this server does not do; None if there is none."""
    for name, neutral in _NOTHING.items():
        if name in _HONOURED.get(type(body), ()):
            continue
        value = getattr(body, name, None)
        if value is not None and value not in neutral:
            return name
    return None
