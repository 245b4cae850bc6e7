"""One request on its way: let in, perceived, written, and gone again, whatever happens."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.inference.confidence import confidence_of
from imagebind_llm.inference.engine import TokenRequest
from imagebind_llm.inference.perception import Conditions
from imagebind_llm.inference.pipeline import LONGEST_DIALOG, Prepared
from imagebind_llm.inference.request import Options, Request
from imagebind_llm.model.dialog import encode_prompt
from imagebind_llm.serving.backend import TokenBackend
from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.metrics import Metrics
from imagebind_llm.serving.perceiving import Perceiver
from imagebind_llm.serving.settings import ServeSettings
from imagebind_llm.serving.texts import AnswerText, TokenLogprob

T = TypeVar("T")

_SEEDS = 2**64
_LEAST_RETRY = 1
"""Seconds after which a request that found the queue full may come again, at least."""


@dataclass(frozen=True)
class Job:
    """What is asked for.

    Attributes:
        request: a dialog, or the token ids of a prompt that goes on without a chat template.
        options: how to answer.
        stop: texts that end an answer.
        choices: how many answers.
        logprobs: None, or of how many of the likeliest tokens.
        reuse: whether the dialog may go on, so that what was read of it is kept.
        session: the name of the dialog, if it has one.
    """

    request: Request | list[int]
    options: Options
    stop: tuple[str, ...] = ()
    choices: int = 1
    logprobs: int | None = None
    reuse: bool = False
    session: str | None = None


@dataclass(frozen=True)
class Piece:
    """A piece of one answer.

    Attributes:
        choice: which answer, from 0.
        text: new text, often none.
        finish_reason: with the last piece of an answer.
        tokens: how many tokens the answer has now.
        logprob: of the newest token, where asked for.
        confidence: of the whole answer, with its last piece
            (:mod:`imagebind_llm.inference.confidence`); None where the backend does not tell.
    """

    choice: int
    text: str
    finish_reason: str | None
    tokens: int
    logprob: TokenLogprob | None = None
    confidence: float | None = None


class Running:
    """A request that was let in and whose media have been read; iterate over its pieces once.

    Attributes:
        prompt_tokens: of the dialog.
        conditions: what the language model is told, and what the cache found.
        prepared: the dialog; None for a bare prompt.
    """

    def __init__(
        self,
        service: "Service",
        job: Job,
        prompt: TokenRequest,
        conditions: Conditions,
        prepared: Prepared | None,
        started: float,
    ) -> None:
        self._service = service
        self._job = job
        self._prompt = prompt
        self._started = started
        self._gone = False
        self.prompt_tokens = len(prompt.input_ids)
        self.conditions = conditions
        self.prepared = prepared

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """All answers, piece by piece, as they are written.

        Raises:
            ApiError: the time is over.
            Exception: whatever the language model raised.
        """
        service = self._service
        left = service.settings.timeout - (time.perf_counter() - self._started)
        first = True
        try:
            async with asyncio.timeout(max(left, 0.001)), aclosing(self._all()) as found:
                async for piece in found:
                    if first:
                        service.metrics.first_token(time.perf_counter() - self._started)
                        first = False
                    service.metrics.tokens(piece.tokens, piece.finish_reason)
                    yield piece
            service.took(time.perf_counter() - self._started)
        except TimeoutError:
            raise service.too_slow() from None
        finally:
            self.close()

    def close(self) -> None:
        """Give its place back. Once is enough, and more is harmless."""
        if not self._gone:
            self._gone = True
            self._service.leave()

    def _all(self) -> AsyncGenerator[Piece, None]:
        if self._job.choices == 1:
            return self._one(0)
        return _merged([self._one(number) for number in range(self._job.choices)])

    async def _one(self, number: int) -> AsyncGenerator[Piece, None]:
        sampling = self._prompt.sampling
        if sampling.seed is not None and number:
            sampling = replace(sampling, seed=(sampling.seed + number) % _SEEDS)
        text = AnswerText(self._service.assistant.processor.tokenizer, self._job.stop)
        stream = self._service.backend.stream(replace(self._prompt, sampling=sampling), self._job.session)
        sure: list[float | None] = []
        async with aclosing(stream) as events:
            async for event in events:
                new = text.add(event)
                sure.append(event.sure)
                reason = "stop" if text.stopped else event.finish_reason
                logprob = None if event.token in sampling.end_tokens else text.logprob(event)
                confidence = None if reason is None else confidence_of(sure)
                yield Piece(number, new, reason, text.tokens, logprob, confidence)
                if reason is not None:
                    return


class Service:
    """Answers requests with a model.

    Args:
        assistant: its processor, encoder and cache are used.
        backend: writes the tokens.
        settings: the limits.
    """

    def __init__(self, assistant: Assistant, backend: TokenBackend, settings: ServeSettings) -> None:
        self.assistant = assistant
        self.backend = backend
        self.settings = settings
        self.metrics = Metrics(backend, self)
        assistant.pipeline.perception.weights_stay = True
        self.perceiver = Perceiver(assistant.pipeline.perception)
        self.ready = False
        self.inside = 0
        self._mean = 0.0
        """Seconds that requests took of late."""

    async def start(self) -> None:
        """Begin to take requests."""
        await self.perceiver.start()
        await self.backend.start()
        self.ready = True

    async def close(self) -> None:
        """Stop; what is running gets an error."""
        self.ready = False
        await self.backend.close()
        await self.perceiver.close()

    def enter(self) -> None:
        """Let one more request in.

        Raises:
            ApiError: 429, too many are inside.
        """
        room = self.settings.max_rows + self.settings.max_queue
        if self.inside >= room:
            raise self.full(self.inside)
        self.inside += 1

    def full(self, inside: int) -> ApiError:
        """The error of a request for which there is no room beside ``inside`` others."""
        wait = max(_LEAST_RETRY, round(self._mean * inside / self.settings.max_rows))
        return ApiError(
            429,
            f"{inside} requests are running or waiting, as many as this server takes; try again in {wait} s",
            code="queue_full",
            headers={"Retry-After": str(wait)},
        )

    def leave(self) -> None:
        """A request is gone."""
        self.inside -= 1

    def too_slow(self) -> ApiError:
        """The error of a request whose time is over."""
        return ApiError(
            504,
            f"the answer took longer than {self.settings.timeout:g} s; ask for less, or try again",
            code="timeout",
        )

    async def timed(self, work: Awaitable[T]) -> T:
        """The result of ``work``.

        Raises:
            ApiError: the time is over.
        """
        try:
            async with asyncio.timeout(self.settings.timeout):
                return await work
        except TimeoutError:
            raise self.too_slow() from None

    async def open(self, make: Callable[[], Awaitable[Job]]) -> Running:
        """Let a request in, read it and its media; :meth:`Running.pieces` writes the answer.

        Args:
            make: reads the request, which may take files and addresses.

        Raises:
            UserError: what is wrong with the request.
            ApiError: there is no room, or no time.
        """
        self.enter()
        started = time.perf_counter()
        try:
            job, prompt, conditions, prepared = await self.timed(self._perceived(make))
        except BaseException:
            self.leave()
            raise
        return Running(self, job, prompt, conditions, prepared, started)

    async def _perceived(
        self, make: Callable[[], Awaitable[Job]]
    ) -> tuple[Job, TokenRequest, Conditions, Prepared | None]:
        job = await make()
        pipeline = self.assistant.pipeline
        found = await asyncio.to_thread(pipeline.sampling, job.options)  # a schema may take long to compile
        sampling = replace(found, logprobs=job.logprobs)
        prepared, conditions = None, Conditions(None)
        if isinstance(job.request, Request):
            prepared = await asyncio.to_thread(pipeline.prepare, job.request)
            conditions = await self.perceiver.conditions(prepared.conditions)
            prompt = pipeline.token_request(prepared, conditions, job.reuse)
        else:
            self._check_ids(job.request)
            prompt = TokenRequest(job.request)
        prompt = replace(prompt, sampling=sampling)
        length = len(prompt.input_ids)
        most = length + self.backend.new_tokens(length, job.options.max_new_tokens)
        if most > self.settings.max_tokens:
            raise UserError(
                f"a dialog of {length} tokens with its answer needs {most} entries of key-value memory, and "
                f"this server has {self.settings.max_tokens}; shorten it, or ask for a shorter answer"
            )
        return job, prompt, conditions, prepared

    def _check_ids(self, ids: list[int]) -> None:
        most = int(self.assistant.model.config.text_config.vocab_size)
        if not ids or not all(0 <= token < most for token in ids):
            found = "no token" if not ids else f"token ids from {short(min(ids))} to {short(max(ids))}"
            raise ApiError(400, f"prompt has {found}; expected ids from 0 to {most - 1}", "prompt")

    async def encode_prompt(self, text: str) -> list[int]:
        """Token ids of a text that goes on."""
        most = self.backend.context_length or LONGEST_DIALOG
        return await asyncio.to_thread(encode_prompt, text, self.assistant.processor.tokenizer, most)

    def took(self, seconds: float) -> None:
        """A request has been answered."""
        self._mean = seconds if not self._mean else 0.9 * self._mean + 0.1 * seconds


async def _merged(streams: Sequence[AsyncGenerator[Piece, None]]) -> AsyncGenerator[Piece, None]:
    """The pieces of several answers, in the order in which they come."""
    box: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()

    async def pump(stream: AsyncGenerator[Piece, None]) -> None:
        try:
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    box.put_nowait(piece)
        except Exception as error:
            box.put_nowait(error)
        box.put_nowait(None)

    tasks = [asyncio.create_task(pump(stream)) for stream in streams]
    try:
        left = len(tasks)
        while left:
            got = await box.get()
            if isinstance(got, Exception):
                raise got
            if got is None:
                left -= 1
            else:
                yield got
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
