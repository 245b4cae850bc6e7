"""The handle most people use: load a model, ask, chat, embed.

::

    bot = Assistant.from_pretrained("nano")
    bot.ask("What do you hear?", audio="dog.wav").text
    bot.ask("Describe both.", image=("a.png", 0.7), audio=("b.wav", 0.3), cache=False)
    bot.embed(audio=["a.wav", "b.wav"])  # [2, D], unit rows
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagebind_llm.answers import Answer, Options, Request, media_items
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.locate import locate_folder
from imagebind_llm.common.modality import Modality
from imagebind_llm.embedder import Embedder, mixtures
from imagebind_llm.engine import Engine
from imagebind_llm.inference.loading import Placement, choose_device, choose_dtype, load_model
from imagebind_llm.messages import MediaItem, Message
from imagebind_llm.model.processing import ImageBindLLMProcessor
from imagebind_llm.pipeline import CacheHandle, Pipeline, TextPieces

if TYPE_CHECKING:
    from imagebind_llm.cache import Retrieved, VisualCache
    from imagebind_llm.chat import Chat
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

CACHE_FOLDER = "cache"
_EMBED_AT_ONCE = 64
"""Media held decoded in memory by :meth:`Assistant.embed`."""


class Assistant:
    """A model with its tokenizer, media settings and visual cache.

    Args:
        model: an :class:`~imagebind_llm.model.modeling.ImageBindLLMForConditionalGeneration`.
        processor: its processor.
        cache: a visual cache of the same encoder, the folder of one (opened when first used), or None.
        batch_size: prompts answered at once by :meth:`ask_batch`.
    """

    def __init__(
        self,
        model: "ImageBindLLMForConditionalGeneration",
        processor: ImageBindLLMProcessor,
        cache: "VisualCache | str | os.PathLike[str] | None" = None,
        batch_size: int = 32,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self._engine = Engine(model, processor, batch_size)
        self._embedder = Embedder(self._engine)
        self._cache = CacheHandle(cache, lambda: self.encoder_fingerprint)
        self._pipeline = Pipeline(self._engine, self._embedder, self._cache)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = "nano",
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        cache: "bool | str | os.PathLike[str] | VisualCache" = True,
        revision: str | None = None,
        batch_size: int = 32,
        device_map: str | Mapping[str, Any] | None = None,
        max_memory: Mapping[Any, Any] | None = None,
        encoder_device: str | torch.device | None = None,
        quantization: str | None = None,
        offload_folder: str | os.PathLike[str] | None = None,
    ) -> "Assistant":
        """Load a model.

        Args:
            name: ``"nano"`` (embedded), a model folder, or a Hugging Face hub id.
            device: ``"auto"`` is the first GPU, else the CPU.
            dtype: ``"auto"`` is float32 on a CPU and bfloat16 (or float16) on a GPU.
            cache: ``True`` the model's own (folder ``cache`` beside its weights) if there is one, ``False``
                none, or a cache or the folder of one.
            revision: of a hub id.
            batch_size: prompts answered at once by :meth:`ask_batch`.
            device_map: ``"auto"`` spreads the language model's layers over GPUs, main memory and
                ``offload_folder``, as far as ``max_memory`` allows; or a device for each of its modules.
            max_memory: most memory by device: ``{0: "8GiB", "cpu": "6GiB"}``.
            encoder_device: another device for the encoder.
            quantization: fewer bits for the language model: ``"int8"``, ``"int8-weights"``, ``"8bit"``,
                ``"4bit"`` (see :data:`imagebind_llm.inference.loading.KINDS`).
            offload_folder: where layers go that fit into no memory.

        Raises:
            CheckpointError: no such model, or its weights do not fit.
            UserError: no such device, dtype, quantization or placement.
        """
        placement = Placement(
            device_map,
            max_memory,
            encoder_device,
            quantization,
            None if offload_folder is None else Path(offload_folder),
        )
        chosen_device = choose_device(device)
        chosen_dtype = choose_dtype(dtype, chosen_device)
        folder = locate_folder(name, revision)
        processor = ImageBindLLMProcessor.from_pretrained(folder)
        model = load_model(folder, chosen_device, chosen_dtype, placement)
        found: Any = cache
        if cache is True:
            found = folder / CACHE_FOLDER if (folder / CACHE_FOLDER).is_dir() else None
        elif cache is False:
            found = None
        return cls(model, processor, found, batch_size)

    # --- what it is made of

    @property
    def cache(self) -> "VisualCache | None":
        """The visual cache, opened and checked against the encoder when first asked for.

        Raises:
            CacheError: there is no cache in the folder, or another encoder made it.
        """
        return self._cache.get()

    def uses_cache(self, modalities: Sequence[str]) -> bool:
        """Whether a mixture of media of these modalities is moved towards cached pictures unless told."""
        return self._engine.wants_cache(
            [Modality.parse(name) for name in modalities], Options(), self._cache.present
        )

    @property
    def encoder_fingerprint(self) -> str | None:
        """16 hex digits that tell the encoder's weights apart; None without an encoder."""
        recorded = self.model.config.fingerprints.get("encoder")
        if recorded is not None:
            return str(recorded)
        encoder: Any = self.model.encoder
        return None if encoder is None else str(encoder.fingerprint)

    @property
    def context_length(self) -> int | None:
        """Tokens of a whole dialog that the language model can take, if its configuration says."""
        return self._engine.context_length

    # --- asking

    def ask(
        self,
        question: str | None = None,
        *,
        image: Any = None,
        video: Any = None,
        audio: Any = None,
        text: Any = None,
        point: Any = None,
        depth: Any = None,
        thermal: Any = None,
        imu: Any = None,
        media: Mapping[str, Any] | None = None,
        messages: Sequence[Message] | None = None,
        system: str | None = None,
        **options: Any,
    ) -> Answer:
        """Answer a question about media, about a mixture of them, or about nothing but itself.

        Args:
            question: what to ask.
            image: a source (path, bytes, open file, array, tensor, PIL image), ``(source, weight)``, or a
                list of these. All media together are one mixture; weights may be negative.
            video: likewise, and so the others.
            audio: likewise; also ``{"array": …, "sampling_rate": …}``, as the library ``datasets`` gives it.
            text: text as a medium: embedded, not read.
            point: …
            depth: …
            thermal: …
            imu: …
            media: the same by name, for modalities that only this model's encoder knows:
                ``media={"tactile": "grip.npy"}``.
            messages: a whole dialog instead of a question with media (see :mod:`imagebind_llm.messages`).
            system: a system message before the question.
            options: fields of :class:`~imagebind_llm.answers.Options`: ``cache``, ``cache_k``,
                ``cache_temperature``, ``cache_weight``, ``max_new_tokens``, ``temperature``, ``top_p``,
                ``seed``, ``explain``.

        Raises:
            UserError: a medium that cannot be read, or an unknown or impossible setting.
        """
        given = _given(image, video, audio, text, point, depth, thermal, imu)
        request = Request.make(question, _joined(given, media), messages=messages, system=system, **options)
        (result,) = self._pipeline.answer([request])
        if isinstance(result, Exception):
            raise result
        return result

    def ask_batch(self, requests: Iterable[Request | Mapping[str, Any] | str]) -> list[Answer | Exception]:
        """Answer many requests; an error takes the place of its answer and disturbs no other.

        Args:
            requests: mappings as in ``imagebind-llm ask --batch`` (``{"question": …, "image": path, …}`` or
                ``{"messages": […]}``), plain questions, or :class:`~imagebind_llm.answers.Request` objects.

        Returns:
            Answers or exceptions, in the order of the requests.
        """
        return list(self.iter_batch(requests))

    def iter_batch(
        self, requests: Iterable[Request | Mapping[str, Any] | str]
    ) -> Iterator[Answer | Exception]:
        """As :meth:`ask_batch`, for any number of requests: some at a time are read, answered and given out.

        While the language model answers, the media of the next ones are already being decoded.
        """
        if isinstance(requests, str | Mapping):
            raise UserError(f"the requests are one {type(requests).__name__}; expected a list of requests")
        size = 2 * self._engine.batch_size
        source = iter(requests)
        ahead = self._pipeline.prepare_all(itertools.islice(source, size))
        while ahead:
            now = ahead
            ahead = self._pipeline.prepare_all(itertools.islice(source, size))
            yield from self._pipeline.finish_all(now)

    def stream(
        self, question: str | None = None, *, messages: Sequence[Message] | None = None, **arguments: Any
    ) -> Iterator[str]:
        """As :meth:`ask`, but gives the text in pieces as it is written; joined, they are the same answer."""
        system = arguments.pop("system", None)
        given = {name: arguments.pop(name) for name in _MODALITIES if name in arguments}
        media = _joined(given, arguments.pop("media", None))
        request = Request.make(question, media, messages=messages, system=system, **arguments)
        yield from self.stream_request(request)

    def stream_request(self, request: Request) -> Iterator[str]:
        """Stream the answer to a ready request."""
        job = self._pipeline.job(request)
        pieces = TextPieces(self.processor)
        for ids in self._engine.stream(job):
            yield from pieces.add(ids)
        yield from pieces.rest()

    def chat(self, system: str | None = None, **options: Any) -> "Chat":
        """A dialog with a memory: media may come in any turn, and later turns go on seeing them."""
        from imagebind_llm.chat import Chat

        return Chat(self, system, **options)

    # --- embeddings

    def embed(self, **media: Any) -> Tensor:
        """Unit embeddings in the joint space.

        Args:
            media: for each modality a source or a list of sources: ``embed(image=["a.png"],
                audio=["b.wav"])``.

        Returns:
            ``[n, D]`` float32 on the CPU, rows in the order of the arguments.

        Raises:
            UserError: no media, or one that cannot be read.
        """
        items = media_items(media)
        if not items:
            raise UserError("no media to embed; give for example image=['a.png', 'b.png']")
        weighted = next((item for item in items if item.weight != 1.0), None)
        if weighted is not None:
            raise UserError(
                f"{weighted.modality.value} was given with a weight of {weighted.weight}; embeddings of "
                f"single media "
                "have none"
            )
        return torch.stack([_raised(row) for row in self.iter_embed(items)])

    def iter_embed(self, items: Iterable[MediaItem]) -> Iterator[Tensor | Exception]:
        """The unit embedding ``[D]`` of each item, or its error, for any number of items."""
        source = iter(items)
        ahead = self._embedder.start(itertools.islice(source, _EMBED_AT_ONCE), {})
        while ahead:
            now = ahead
            ahead = self._embedder.start(itertools.islice(source, _EMBED_AT_ONCE), {})
            self._embedder.finish(now)
            for ticket in now:
                yield ticket.error if ticket.error is not None else ticket.result()

    def condition(self, **media: Any) -> Tensor:
        """The mixture ``[D]`` of media given as in :meth:`ask`, before any cache."""
        items = media_items(media)
        if not items:
            raise UserError("no media; give for example image='a.png'")
        tickets = self._embedder.start(items, {})
        self._embedder.finish(tickets)
        pairs = [(ticket.result(), item.weight) for ticket, item in zip(tickets, items, strict=True)]
        return mixtures([pairs])[0]

    def retrieve(
        self, k: int | None = None, temperature: float | None = None, **media: Any
    ) -> "list[Retrieved]":
        """What the cache finds for a mixture of media, best first: similarity, share, caption, thumbnail.

        Raises:
            CacheError: the model has no cache.
        """
        cache = self._cache.require()
        options = Options(cache_k=k, cache_temperature=temperature)
        return self._engine.explain(self.condition(**media), cache, options)


_MODALITIES = ("image", "video", "audio", "text", "point", "depth", "thermal", "imu")


def _given(*values: Any) -> dict[str, Any]:
    return dict(zip(_MODALITIES, values, strict=True))


def _joined(given: dict[str, Any], media: Mapping[str, Any] | None) -> dict[str, Any]:
    """Media given by keyword and by name."""
    twice = [name for name in media or {} if given.get(name) is not None]
    if twice:
        raise UserError(f"{twice[0]} is given twice, also in media=; give it one way only")
    return {**given, **(media or {})}


def _raised(value: Tensor | Exception) -> Tensor:
    if isinstance(value, Exception):
        raise value
    return value
