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
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError, reason_of, short
from imagebind_llm.common.locate import locate_folder
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.common.settings import MOST_AT_ONCE
from imagebind_llm.inference.chat import Chat
from imagebind_llm.inference.driver import Driver
from imagebind_llm.inference.engine import Engine
from imagebind_llm.inference.loading import Placement, choose_device, choose_dtype, load_model
from imagebind_llm.inference.perception import CacheHandle, Perception, raised
from imagebind_llm.inference.pipeline import LONGEST_DIALOG, AnswerStream, Pipeline, Prepared
from imagebind_llm.inference.request import Answer, Options, Request, check_settings
from imagebind_llm.model.conditioning import mixtures
from imagebind_llm.model.dialog import TooLongError, build_dialog
from imagebind_llm.model.messages import MediaItem, Message, media_items
from imagebind_llm.model.processing import ImageBindLLMProcessor

if TYPE_CHECKING:
    from imagebind_llm.cache import Retrieved, VisualCache
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
        batch_size: answers that are written at once, over all callers.

    Attributes:
        pipeline: the steps between requests and answers, for those who take them one by one.
    """

    def __init__(
        self,
        model: "ImageBindLLMForConditionalGeneration",
        processor: ImageBindLLMProcessor,
        cache: "VisualCache | str | os.PathLike[str] | None" = None,
        batch_size: int = 32,
    ) -> None:
        if (
            isinstance(batch_size, bool)
            or not isinstance(batch_size, int)
            or not 1 <= batch_size <= MOST_AT_ONCE
        ):
            raise UserError(
                f"batch_size is {short(batch_size)}; expected a whole number from 1 to {MOST_AT_ONCE}"
            )
        self.model = model.eval()
        self.processor = processor
        self._batch_size = batch_size
        self._cache = CacheHandle(cache, lambda: self.encoder_fingerprint)
        self._perception = Perception(model, processor, self._cache)
        self._engine = Engine(model, batch_size)
        self.pipeline = Pipeline(processor, self._perception, Driver(self._engine))

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of (``pickle``, ``copy.deepcopy``): not what is remembered or under way."""
        return {
            "model": self.model,
            "processor": self.processor,
            "cache": self._cache.given,
            "batch_size": self._batch_size,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Assistant.__init__(self, **state)

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
        **unknown: Any,
    ) -> "Assistant":
        """Load a model.

        Args:
            name: ``"nano"`` (embedded), a model folder, or a Hugging Face hub id.
            device: ``"auto"`` is the first GPU, else the CPU.
            dtype: ``"auto"`` is bfloat16 (or float16) on a GPU and float32 on a CPU; language models of width
                512 and more are in bfloat16 on CPUs with AVX-512 BF16 or AMX.
            cache: ``True`` the model's own (folder ``cache`` beside its weights) if there is one, ``False``
                none, or a cache or the folder of one.
            revision: of a hub id.
            batch_size: answers that are written at once, over all callers.
            device_map: ``"auto"`` spreads the language model's layers over GPUs, main memory and
                ``offload_folder``, as far as ``max_memory`` allows; or a device for each of its modules.
            max_memory: most memory by device: ``{0: "8GiB", "cpu": "6GiB"}``.
            encoder_device: another device for the encoder.
            quantization: fewer bits for the language model: ``"int8"``, ``"int8-weights"``, ``"8bit"``,
                ``"4bit"`` (see :data:`imagebind_llm.inference.loading.KINDS`).
            offload_folder: where layers go that fit into no memory.
            unknown: refused, with the name that was perhaps meant.

        Raises:
            CheckpointError: no such model, or its weights do not fit.
            UserError: no such device, dtype, quantization or placement.
        """
        refuse_unknown(unknown, _LOADING, what="loading setting")
        placement = Placement(
            device_map,
            max_memory,
            encoder_device,
            quantization,
            None if offload_folder is None else Path(offload_folder),
        )
        chosen_device = choose_device(device)
        choose_dtype(dtype, chosen_device)  # an unknown name is refused before anything is read
        folder = locate_folder(name, revision)
        processor = ImageBindLLMProcessor.from_pretrained(folder)
        model = load_model(folder, chosen_device, dtype, placement)
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
        return self._perception.wants_cache([Modality.parse(name) for name in modalities], Options())

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

    @property
    def device(self) -> torch.device:
        """Where the language model is (its first layers, if it is spread)."""
        return self.model.device

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of what the encoder can encode; none without an encoder."""
        return self._perception.modalities

    def to(self, device: str | torch.device) -> "Assistant":
        """Move the model (language model and encoder) to another device, when nothing is being answered.

        Raises:
            UserError: no such device, or a model that cannot be moved (quantised, or spread over devices).
        """
        chosen = choose_device(device)
        try:
            self.model.to(chosen)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"the model cannot be moved to {str(chosen)!r}: {reason_of(error)}; load it there with "
                "Assistant.from_pretrained(…, device=…)"
            ) from error
        self._engine.reset()
        return self

    def __repr__(self) -> str:
        text = self.model.config.text_config
        size = sum(parameter.numel() for parameter in self.model.language_model.parameters())
        sees = ", ".join(self.modalities) or "no media (no encoder)"
        cache = "with a cache" if self._cache.present else "without cache"
        return (
            f"Assistant({self.model.name_or_path!r}: {text.model_type}, "
            f"{size / 1e6:,.1f} million parameters in the language model, "
            f"{str(self.model.dtype).removeprefix('torch.')} on {self.device}; takes {sees}; {cache})"
        )

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
            messages: a whole dialog instead of a question with media (see
                :mod:`imagebind_llm.model.messages`).
            system: a system message before the question.
            options: fields of :class:`~imagebind_llm.inference.request.Options`: ``cache``, ``cache_k``,
                ``cache_temperature``, ``cache_weight``, ``max_new_tokens``, ``temperature``, ``top_p``,
                ``seed``, ``explain``.

        Raises:
            UserError: a medium that cannot be read, or an unknown or impossible setting.
        """
        given = _given(image, video, audio, text, point, depth, thermal, imu)
        check_settings(options, self.modalities)
        request = Request.make(question, _joined(given, media), messages=messages, system=system, **options)
        (result,) = self.pipeline.answer([request])
        return raised(result)

    def ask_batch(self, requests: Iterable[Request | Mapping[str, Any] | str]) -> list[Answer | Exception]:
        """Answer many requests; an error takes the place of its answer and disturbs no other.

        Args:
            requests: mappings as in ``imagebind-llm ask --batch`` (``{"question": …, "image": path, …}`` or
                ``{"messages": […]}``), plain questions, or
                :class:`~imagebind_llm.inference.request.Request` objects.

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
        source = iter(requests)
        ahead, failed = self._prepared(source)
        while ahead:
            now, ahead = ahead, []
            if failed is None:
                ahead, failed = self._prepared(source)
            yield from self.pipeline.finish_all(now)
        if failed is not None:  # the source; what was read before has been answered
            raise failed

    def _prepared(self, source: Iterator[Any]) -> "tuple[list[Prepared | Exception], Exception | None]":
        """The next requests, their media being decoded, and what ended the source too early."""
        taken: list[Any] = []
        failed = None
        try:
            for request in itertools.islice(source, 2 * self._batch_size):
                taken.append(request)
        except Exception as error:
            failed = error
        return self.pipeline.prepare_all(taken), failed

    def stream(
        self, question: str | None = None, *, messages: Sequence[Message] | None = None, **arguments: Any
    ) -> AnswerStream:
        """As :meth:`ask`, but gives the text in pieces as it is written; joined, they are the same answer.

        What is wrong with the request is raised here, before the first piece. After the last one,
        ``stream.answer`` holds the whole :class:`~imagebind_llm.inference.request.Answer` with its finish
        reason and token counts.

        Raises:
            UserError: as :meth:`ask`.
        """
        system = arguments.pop("system", None)
        given = {name: arguments.pop(name) for name in _MODALITIES if name in arguments}
        media = _joined(given, arguments.pop("media", None))
        check_settings(arguments, self.modalities)
        return self.stream_request(
            Request.make(question, media, messages=messages, system=system, **arguments)
        )

    def stream_request(self, request: Request) -> AnswerStream:
        """Stream the answer to a ready request."""
        return self.pipeline.stream(request)

    def chat(
        self,
        *said: Any,
        system: str | None = None,
        window: int | None = None,
        summary: bool = False,
        **options: Any,
    ) -> Chat:
        """A dialog with a memory: media may come in any turn, and later turns go on seeing them.

        What the model has read is not read again in the next turn.

        Args:
            said: nothing: what is said goes to :meth:`Chat.send`.
            system: a system message that is never forgotten.
            window: most questions that the model reads, the latest included; None: as many as fit.
            summary: whether the model sums up what it will not read any more (see :class:`Chat`).
            options: fields of :class:`~imagebind_llm.inference.request.Options`, for all turns.

        Raises:
            UserError: a question or media, an unknown or impossible setting.
        """
        media: list[str] = [name.value for name in Modality.known() if name.value in options] or ["media"]
        if said or media[0] in options:
            given = f"{said[0]!r:.60}" if said else f"{media[0]}="
            raise UserError(
                f"chat() begins a dialog and takes no question or media ({given}); use chat = bot.chat() and "
                "then chat.send(question, image=…), or bot.ask for one question; a system message is system=…"
            )
        return Chat(
            self._answer_turn,
            self._stream_turn,
            self._count,
            self.context_length,
            system,
            window,
            summary,
            **options,
        )

    def _answer_turn(self, request: Request) -> Answer:
        (result,) = self.pipeline.answer([request], reuse=True)
        return raised(result)

    def _stream_turn(self, request: Request) -> AnswerStream:
        return self.pipeline.stream(request, reuse=True)

    def _count(self, messages: Sequence[Message]) -> int:
        most = self.context_length or LONGEST_DIALOG
        try:
            return len(build_dialog(messages, self.processor.tokenizer, True, most))
        except TooLongError:
            return most + 1

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
        return torch.stack([raised(row) for row in self.iter_embed(items)])

    def iter_embed(self, items: Iterable[MediaItem]) -> Iterator[Tensor | Exception]:
        """The unit embedding ``[D]`` of each item, or its error, for any number of items."""
        source = iter(items)
        ahead = self._perception.start(itertools.islice(source, _EMBED_AT_ONCE), self._perception.batch())
        while ahead:
            now = ahead
            ahead = self._perception.start(itertools.islice(source, _EMBED_AT_ONCE), self._perception.batch())
            self._perception.finish(now)
            for pending in now:
                assert pending.outcome is not None, "finish() has run"
                found = pending.outcome
                yield found.clone() if isinstance(found, Tensor) else found  # the memory keeps its own

    def condition(self, **media: Any) -> Tensor:
        """The mixture ``[D]`` of media given as in :meth:`ask`, before any cache."""
        items = media_items(media)
        if not items:
            raise UserError("no media; give for example image='a.png'")
        embeddings = self._perception.start(items, self._perception.batch())
        self._perception.finish(embeddings)
        pairs = [(pending.result(), item.weight) for pending, item in zip(embeddings, items, strict=True)]
        return mixtures([pairs])[0]

    def retrieve(
        self, k: int | None = None, temperature: float | None = None, **media: Any
    ) -> "list[Retrieved]":
        """What the cache finds for a mixture of media, best first: similarity, share, caption, thumbnail.

        Raises:
            CacheError: the model has no cache.
        """
        self._cache.require()
        options = Options(cache_k=k, cache_temperature=temperature)
        return self._perception.explain(self.condition(**media), options)


_MODALITIES = ("image", "video", "audio", "text", "point", "depth", "thermal", "imu")


def _given(*values: Any) -> dict[str, Any]:
    return dict(zip(_MODALITIES, values, strict=True))


def _joined(given: dict[str, Any], media: Mapping[str, Any] | None) -> dict[str, Any]:
    """Media given by keyword and by name."""
    twice = [name for name in media or {} if given.get(name) is not None]
    if twice:
        raise UserError(f"{twice[0]} is given twice, also in media=; give it one way only")
    return {**given, **(media or {})}


_LOADING = tuple(
    name for name in signature(Assistant.from_pretrained).parameters if name not in ("name", "unknown")
)
