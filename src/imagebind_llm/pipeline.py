"""From requests to answers: check and open, embed and mix, move towards the cache, generate, report."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagebind_llm.answers import Answer, Request
from imagebind_llm.common.errors import CacheError, UserError, naming_missing_packages
from imagebind_llm.embedder import Embedder, Ticket, mixtures
from imagebind_llm.engine import Engine, Generated, Job
from imagebind_llm.model.dialog import Dialog, build_dialog
from imagebind_llm.model.processing import ImageBindLLMProcessor

if TYPE_CHECKING:
    from imagebind_llm.cache import VisualCache


class CacheHandle:
    """A visual cache that is opened, and checked against the encoder, when it is first needed."""

    def __init__(
        self,
        cache: "VisualCache | str | os.PathLike[str] | None",
        fingerprint: Callable[[], str | None],
    ) -> None:
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


@dataclass
class Prepared:
    """A request whose media are being decoded, or the error that it met on the way."""

    request: Request
    dialog: Dialog
    tickets: list[list[Ticket]]
    uses_cache: list[bool]


class Pipeline:
    """The steps between a request and its answer."""

    def __init__(self, engine: Engine, embedder: Embedder, cache: CacheHandle) -> None:
        self._engine = engine
        self._embedder = embedder
        self._cache = cache

    def answer(self, requests: Iterable[Any]) -> list[Answer | Exception]:
        """Answers or errors, in order."""
        return self.finish_all(self.prepare_all(requests))

    def job(self, request: Request) -> Job:
        """One request up to the point where the language model takes over."""
        prepared = self._prepare(request, {})
        if isinstance(prepared, Exception):
            raise prepared
        self._embedder.finish(ticket for condition in prepared.tickets for ticket in condition)
        (job,) = self._jobs([prepared], {})
        if isinstance(job, Exception):
            raise job
        return job

    def prepare_all(self, requests: Iterable[Any]) -> list[tuple[float, Prepared | Exception]]:
        """Check requests and begin to open their media; with the time at which each began."""
        among: dict[Any, Ticket] = {}
        return [(time.perf_counter(), self._prepare(request, among)) for request in requests]

    def _prepare(self, request: Any, among: dict[Any, Ticket]) -> Prepared | Exception:
        """Check everything that can be checked now, and start to decode the media."""
        if isinstance(request, Exception):  # something that the caller could not even read: keep its place
            return request
        try:
            own = Request.read(request)
            dialog = build_dialog(own.messages, self._engine.processor.tokenizer, add_generation_prompt=True)
            self._engine.room(dialog, own.options)
            uses = [
                self._engine.wants_cache(
                    [item.modality for item in condition], own.options, self._cache.present
                )
                for condition in dialog.conditions
            ]
            if own.options.explain and dialog.conditions:
                self._cache.require()
            tickets = [self._embedder.start(condition, among) for condition in dialog.conditions]
        except Exception as error:  # one broken request must not take the others along
            return error
        return Prepared(own, dialog, tickets, uses)

    def finish_all(self, prepared: list[tuple[float, Prepared | Exception]]) -> list[Answer | Exception]:
        """Embed what has been opened, and answer."""
        ready = [item for _, item in prepared if isinstance(item, Prepared)]
        self._embedder.finish(ticket for item in ready for condition in item.tickets for ticket in condition)
        explained: dict[int, Any] = {}
        jobs = self._jobs(ready, explained)
        generated = iter(self._engine.generate([job for job in jobs if isinstance(job, Job)]))
        results: list[Answer | Exception] = []
        numbers = itertools.count()
        for start, item in prepared:
            if isinstance(item, Exception):
                results.append(item)
                continue
            number = next(numbers)
            job = jobs[number]
            if isinstance(job, Exception):
                results.append(job)
                continue
            results.append(self._make_answer(item, next(generated), start, explained.get(number) or ()))
        return results

    def _jobs(self, ready: list[Prepared], explained: dict[int, Any]) -> list[Job | Exception]:
        """Mix and enhance the embedded media of each request; what the cache found goes to ``explained``."""
        jobs: list[Job | Exception] = []
        for number, item in enumerate(ready):
            try:
                conditions = None
                if item.tickets:
                    mixed = mixtures(
                        [
                            [
                                (ticket.result(), medium.weight)
                                for ticket, medium in zip(tickets, media, strict=True)
                            ]
                            for tickets, media in zip(item.tickets, item.dialog.conditions, strict=True)
                        ]
                    )
                    if item.request.options.explain:
                        cache = self._cache.require()
                        with naming_missing_packages("explaining what the cache found"):
                            found = self._engine.explain(mixed[-1], cache, item.request.options)
                        explained[number] = tuple(found)
                    conditions = self._enhanced(mixed, item)
                jobs.append(Job(item.dialog, conditions, item.request.options))
            except Exception as error:  # of a decoder: one broken file must not take the others along
                jobs.append(error)
        return jobs

    def _enhanced(self, mixed: Tensor, item: Prepared) -> Tensor:
        rows = torch.tensor(item.uses_cache)
        if not rows.any():
            return mixed
        if bool((torch.linalg.vector_norm(mixed[rows], dim=1) < 1e-6).any()):
            raise UserError(
                "the media cancel each other out, so the cache has nothing to look for; change a weight"
            )
        enhanced = mixed.clone()
        enhanced[rows] = self._engine.enhance(mixed[rows], self._cache.require(), item.request.options)
        return enhanced

    def _make_answer(self, item: Prepared, found: Generated, start: float, retrieved: Any) -> Answer:
        seen = item.dialog.condition_ids[-1]
        return Answer(
            text=self._engine.processor.decode(found.ids, skip_special_tokens=True).strip(),
            finish_reason=found.finish_reason,
            prompt_tokens=len(item.dialog),
            new_tokens=len(found.ids),
            seconds=time.perf_counter() - start,
            media=tuple(item.dialog.conditions[seen]) if seen >= 0 else (),
            cached=seen >= 0 and item.uses_cache[seen],
            retrieved=retrieved,
        )


class TextPieces:
    """Tokens → text, holding back what may still change: half a character, white space at the end."""

    def __init__(self, processor: ImageBindLLMProcessor) -> None:
        self._processor = processor
        self._ids: list[int] = []
        self._said = ""

    def add(self, ids: list[int]) -> Iterator[str]:
        """More tokens; gives the text that is certain now."""
        self._ids += ids
        text = self._text()
        if not text.endswith("\ufffd"):
            yield from self._new(text.rstrip())

    def rest(self) -> Iterator[str]:
        """The tokens have ended; gives what was held back."""
        yield from self._new(self._text().rstrip())

    def _text(self) -> str:
        return self._processor.decode(self._ids, skip_special_tokens=True).lstrip()

    def _new(self, text: str) -> Iterator[str]:
        if len(text) > len(self._said):
            piece, self._said = text[len(self._said) :], text
            yield piece
