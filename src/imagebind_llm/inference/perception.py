"""Media → conditions: decoded in a few threads, encoded in batches, remembered for a while, mixed, and moved
towards the visual cache."""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from imagebind_llm.common.errors import CacheError, UserError, naming_missing_packages, short
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.forks import renewed_in_children
from imagebind_llm.inference.request import Options
from imagebind_llm.media.reading import load_medium
from imagebind_llm.model.conditioning import (
    cache_settings,
    cached_by_default,
    mixtures,
    move_towards_cache,
)
from imagebind_llm.model.messages import Embedded, MediaItem
from imagebind_llm.model.parts import vectors, with_stand_ins
from imagebind_llm.model.versions import version_of

if TYPE_CHECKING:
    from imagebind_llm.cache import Retrieved, VisualCache
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
    from imagebind_llm.model.processing import ImageBindLLMProcessor

T = TypeVar("T")

_REMEMBERED = 4096
"""Embeddings kept (4 kB each at ImageBind-Huge's size, and as much for each group of tokens)."""
_ENCODER_BATCH = 32
_UNIT_TOLERANCE = 0.01
"""How far from 1 the length of a given embedding may be: float16 and rounding to 3 digits stay below."""


class CacheHandle:
    """A visual cache that is opened, and checked against the encoder, when it is first needed.

    Attributes:
        given: the cache or its folder, as it was given.
    """

    def __init__(
        self,
        cache: "VisualCache | str | os.PathLike[str] | None",
        fingerprint: Callable[[], str | None],
    ) -> None:
        self.given = cache
        self._cache = cache
        self._fingerprint = fingerprint

    @property
    def present(self) -> bool:
        """Whether there is one (opened or not)."""
        return self._cache is not None

    def get(self) -> "VisualCache | None":
        """The cache, if there is one.

        Raises:
            CacheError: its folder is damaged, or another encoder made it.
        """
        if isinstance(self._cache, str | os.PathLike):
            from imagebind_llm.cache import VisualCache

            with naming_missing_packages("the visual cache"):
                self._cache = VisualCache.load(Path(self._cache), expected_fingerprint=self._fingerprint())
        return self._cache

    def require(self) -> "VisualCache":
        """The cache, or a :class:`CacheError` that says how to make one."""
        cache = self.get()
        if cache is None:
            raise CacheError("this model has no cache; build one with: imagebind-llm cache build")
        return cache


class PendingEmbedding:
    """One medium on its way: first a decode in the background, then a row or an error.

    Attributes:
        outcome: the unit embedding ``[D]``, or the error; None before.
        rows: the embedding and its groups of tokens ``[1 + G, D]``, where the model asks for these.
    """

    def __init__(self, modality: Modality, key: Any) -> None:
        self.modality = modality
        self.key = key
        self.tensor: Future[Tensor] | None = None
        self.outcome: Tensor | Exception | None = None
        self.rows: Tensor | None = None

    def take(self, found: Tensor | Exception | None) -> None:
        """Keep what the model makes of the medium, ``[D]`` or ``[1 + G, D]``, or the error."""
        self.outcome = found
        if isinstance(found, Tensor) and found.ndim == 2:
            self.rows, self.outcome = found, found[0]

    def result(self) -> Tensor:
        """The unit embedding ``[D]``, or the error raised."""
        assert self.outcome is not None, "finish() has not run"
        return raised(self.outcome)

    def part(self, groups: int) -> Tensor:
        """What conditions are mixed of: ``[D]``, or ``[1 + groups, D]``; or the error raised."""
        found = self.result() if self.rows is None else self.rows
        return with_stand_ins(found[None], groups)[0]


@dataclass(frozen=True)
class PendingConditions:
    """The conditions of one request on their way.

    Attributes:
        media: of each condition.
        pending: their embeddings.
        cached: whether each condition is moved towards the cache.
        options: of the request.
    """

    media: list[list[MediaItem]]
    pending: list[list[PendingEmbedding]]
    cached: list[bool]
    options: Options


@dataclass(frozen=True)
class Conditions:
    """What the language model is told: ``rows [N, D]`` (``[N, 1 + G, D]``; None without media), and of the
    last one the pictures that it was moved towards, when asked to explain, and the cosine to the nearest of
    the cache, where that is searched."""

    rows: Tensor | None
    retrieved: "tuple[Retrieved, ...]" = ()
    nearest: float | None = None


class Perception:
    """Opens, embeds, mixes and enhances media.

    A file that was seen before (same path, size and time) is not opened again. Errors stay with the items
    that they belong to.

    Args:
        model: its encoder is used.
        processor: how the encoder wants its media.
        cache: the visual cache.
        workers: threads that decode.

    Attributes:
        weights_stay: nobody trains the encoder meanwhile, so whether it has changed is not looked at.
    """

    def __init__(
        self,
        model: "ImageBindLLMForConditionalGeneration",
        processor: "ImageBindLLMProcessor",
        cache: CacheHandle,
        workers: int | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.cache = cache
        self.weights_stay = False
        self._workers = workers or min(4, os.cpu_count() or 1)
        self.renew()
        renewed_in_children(self)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of what the encoder can encode; none without an encoder."""
        encoder: Any = self.model.encoder
        return () if encoder is None else tuple(sorted(str(name) for name in encoder.modalities))

    def renew(self) -> None:
        """Forget what is remembered, and the threads."""
        self._weights: Any = None
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._known: OrderedDict[Any, Tensor] = OrderedDict()

    # --- whole requests

    def start_conditions(
        self, media: list[list[MediaItem]], options: Options, batch: dict[Any, PendingEmbedding]
    ) -> PendingConditions:
        """Begin to decode the media of a request, after all checks that need none of them.

        Args:
            media: of each condition.
            options: of the request.
            batch: of :meth:`batch`.

        Raises:
            CacheError: the cache is needed and there is none.
        """
        cached = [self.wants_cache([item.modality for item in items], options) for items in media]
        if options.explain and media:
            self.cache.require()
        return PendingConditions(media, [self.start(items, batch) for items in media], cached, options)

    def finish_conditions(self, waiting: Sequence[PendingConditions]) -> list[Conditions | Exception]:
        """Embed what has been decoded, mix, and move towards the cache; errors in their places."""
        self.finish(pending for item in waiting for group in item.pending for pending in group)
        results: list[Conditions | Exception] = []
        for item in waiting:
            try:
                results.append(self._conditions(item))
            except Exception as error:  # one broken file must not take the others along
                results.append(error)
        return results

    def _conditions(self, item: PendingConditions) -> Conditions:
        if not item.media:
            return Conditions(None)
        groups = self.model.bind.encoder_tokens
        mixed = mixtures(
            [
                [(pending.part(groups), medium.weight) for pending, medium in zip(group, media, strict=True)]
                for group, media in zip(item.pending, item.media, strict=True)
            ]
        )
        retrieved: tuple[Retrieved, ...] = ()
        if item.options.explain:
            with naming_missing_packages("explaining what the cache found"):
                retrieved = tuple(self.explain(vectors(mixed)[-1], item.options))
        rows = self.enhance(mixed, item.cached, item.options)
        nearest = None
        if retrieved:
            nearest = retrieved[0].similarity
        elif item.cached[-1]:
            nearest = float(self.cache.require().search(vectors(mixed)[-1:], 1).similarities[0, 0])
        return Conditions(rows, retrieved, nearest)

    # --- the visual cache

    def wants_cache(self, modalities: Sequence[Modality], options: Options) -> bool:
        """Whether a condition of these modalities is moved towards cached pictures.

        Raises:
            CacheError: the cache was asked for and there is none.
        """
        if options.cache is None:
            return self.cache.present and cached_by_default(modalities, self.model.config.cache)
        if options.cache and not self.cache.present:
            raise CacheError(
                "the cache was asked for, but this model has none; build one with: imagebind-llm cache build"
            )
        return options.cache

    def enhance(self, conditions: Tensor, chosen: Sequence[bool], options: Options) -> Tensor:
        """``conditions [N, D]`` (or ``[N, 1 + G, D]``), the chosen ones moved towards cached pictures."""
        if not any(chosen):
            return conditions
        return move_towards_cache(conditions, chosen, self.cache.require(), self._settings(options))

    def explain(self, condition: Tensor, options: Options) -> "list[Retrieved]":
        """The pictures that :meth:`enhance` blends into one condition ``[D]``."""
        settings = self._settings(options)
        return self.cache.require().explain(condition, k=settings["k"], temperature=settings["temperature"])

    def _settings(self, options: Options) -> dict[str, Any]:
        asked = options.cache_k, options.cache_temperature, options.cache_weight
        return cache_settings(self.model.config.cache, self.cache.require().size, *asked)

    # --- single media

    def batch(self) -> dict[Any, PendingEmbedding]:
        """A new batch, which :meth:`start` fills. A source that occurs twice in one batch is opened once.

        Embeddings of an encoder that was trained since are forgotten here, which takes milliseconds.
        """
        if not self.weights_stay:
            encoder = self.model.encoder
            weights = None if encoder is None else version_of(encoder)
            with self._lock:
                if weights != self._weights:
                    self._known.clear()
                    self._weights = weights
        return {}

    def start(self, items: Iterable[MediaItem], batch: dict[Any, PendingEmbedding]) -> list[PendingEmbedding]:
        """Begin to decode ``items`` of a :meth:`batch` in the background."""
        found = []
        for item in items:
            key = _key(item)
            pending = batch.get(key) if key is not None else None
            if pending is None:
                pending = PendingEmbedding(item.modality, key)
                pending.take(self._remembered(key))
                if pending.outcome is None:
                    try:
                        self.check_modality(item.modality)
                        if isinstance(item.source, Embedded):
                            pending.outcome = self._checked_row(item.source)
                        else:
                            pending.tensor = self._submit(item)
                    except UserError as error:
                        pending.outcome = error
                if key is not None:
                    batch[key] = pending
            found.append(pending)
        return found

    def finish(self, items: Iterable[PendingEmbedding]) -> None:
        """Embed what has been decoded. Errors stay with their items."""
        waiting: list[tuple[PendingEmbedding, Tensor]] = []
        for pending in {id(item): item for item in items}.values():
            if pending.tensor is None:
                continue
            try:
                waiting.append((pending, pending.tensor.result()))
            except Exception as error:  # one broken file must not take the others along
                pending.outcome = error
            pending.tensor = None
        rows = self.encode([(pending.modality, tensor) for pending, tensor in waiting])
        with self._lock:
            for (pending, _), row in zip(waiting, rows, strict=True):
                pending.take(row)
                if pending.key is not None and isinstance(row, Tensor):
                    self._known[pending.key] = row
                    self._known.move_to_end(pending.key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def check_modality(self, modality: Modality) -> None:
        """Refuse what the encoder cannot encode.

        Raises:
            UserError: the model has no encoder, or the encoder lacks the modality.
        """
        encoder: Any = self.model.encoder
        if encoder is None:
            raise UserError(
                "this model has no encoder, so it takes no media; use a model folder that includes one"
            )
        if modality not in encoder.modalities:
            known = ", ".join(sorted(encoder.modalities))
            raise UserError(f"this model's encoder has no {modality.value}; it knows {known}")

    def encode(self, media: Sequence[tuple[Modality, Tensor]]) -> list[Tensor | Exception]:
        """The unit row ``[D]`` (or rows ``[1 + G, D]``), float32 on the CPU, of each decoded medium, or its
        error.

        The encoder runs in batches of tensors of equal shape. Where it fails on one (out of memory, for
        example) its items are encoded alone.
        """
        groups: dict[tuple[Modality, tuple[int, ...]], list[int]] = {}
        for number, (modality, tensor) in enumerate(media):
            groups.setdefault((modality, tuple(tensor.shape)), []).append(number)
        results: dict[int, Tensor | Exception] = {}
        for (modality, _), numbers in groups.items():
            for start in range(0, len(numbers), _ENCODER_BATCH):
                batch = numbers[start : start + _ENCODER_BATCH]
                rows = self._encode(modality, [media[number][1] for number in batch])
                results.update(zip(batch, rows, strict=True))
        return [results[number] for number in range(len(media))]

    def _encode(self, modality: Modality, tensors: list[Tensor]) -> list[Tensor | Exception]:
        try:
            with torch.no_grad():
                return list(self.model.encode_media(modality, torch.stack(tensors)).float().cpu())
        except Exception as error:
            if len(tensors) == 1:
                return [error]
        # outside of the handler, so that the failed batch can leave the memory
        return [row for tensor in tensors for row in self._encode(modality, [tensor])]

    def _checked_row(self, given: Embedded) -> Tensor:
        encoder: Any = self.model.encoder
        try:
            row = torch.as_tensor(given.vector, dtype=torch.float32).detach().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"an embedding is {short(given.vector)}; expected {encoder.embedding_dim} numbers"
            ) from error
        if row.shape != (encoder.embedding_dim,):
            raise UserError(
                f"an embedding has shape {list(row.shape)}; this encoder's have [{encoder.embedding_dim}]: "
                "embed the medium with this model"
            )
        length = float(torch.linalg.vector_norm(row))  # not a number if one of its values is none
        if not abs(length - 1) <= _UNIT_TOLERANCE:
            raise UserError(
                f"an embedding has length {length:g}; expected a unit vector of finite numbers: divide it by "
                "its length"
            )
        return row

    def _remembered(self, key: Any) -> Tensor | None:
        with self._lock:
            row = self._known.get(key) if key is not None else None
            if row is not None:
                self._known.move_to_end(key)
            return row

    def _submit(self, item: MediaItem) -> Future[Tensor]:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="imagebind-llm-media")
            processor = self.processor
            return self._pool.submit(
                load_medium, processor.media, item.modality, item.source, processor.limits
            )


def raised(value: "T | Exception") -> "T":
    """``value``, or the exception it is."""
    if isinstance(value, Exception):
        raise value
    return value


def _key(item: MediaItem) -> Any:
    """What tells this medium from another without opening it; None for objects that may change in place."""
    source = item.source
    if item.modality is Modality.TEXT:
        return (item.modality, source) if isinstance(source, str) else None
    if isinstance(source, bytes):
        return (item.modality, hashlib.sha256(source).digest())
    if isinstance(source, str | os.PathLike):
        try:
            found = os.stat(source)
        except (OSError, ValueError):
            return None  # opening it will say what is wrong
        return (item.modality, os.path.abspath(os.fspath(source)), found.st_size, found.st_mtime_ns)
    return None
