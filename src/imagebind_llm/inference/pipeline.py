"""From requests to answers: perception, the token engine, text."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from imagebind_llm.inference.confidence import confidence_of
from imagebind_llm.inference.detokenizer import Detokenizer
from imagebind_llm.inference.driver import Completion, Driver
from imagebind_llm.inference.engine import Event, TokenRequest
from imagebind_llm.inference.forks import refuse_lost_gpu
from imagebind_llm.inference.grammar import Grammar, grammar_for
from imagebind_llm.inference.perception import Conditions, PendingConditions, PendingEmbedding, Perception
from imagebind_llm.inference.request import Answer, Options, Request
from imagebind_llm.inference.response_format import read_form
from imagebind_llm.inference.sampler import Sampling
from imagebind_llm.model.dialog import Dialog, build_dialog
from imagebind_llm.model.processing import ImageBindLLMProcessor

LONGEST_DIALOG = 1 << 20
"""Tokens of a dialog for a model whose configuration says nothing of its context."""


@dataclass(frozen=True)
class Prepared:
    """A request whose media are being decoded; ``started`` is when that began, in seconds."""

    request: Request
    dialog: Dialog
    conditions: PendingConditions
    started: float


class Pipeline:
    """The steps between a request and its answer.

    Args:
        processor: of the model.
        perception: makes conditions of media.
        driver: runs the language model.
    """

    def __init__(self, processor: ImageBindLLMProcessor, perception: Perception, driver: Driver) -> None:
        self.processor = processor
        self.perception = perception
        self.driver = driver

    def answer(self, requests: Iterable[Any], reuse: bool = False) -> list[Answer | Exception]:
        """Answers or errors, in order.

        ``reuse``: as in :class:`~imagebind_llm.inference.engine.TokenRequest`.
        """
        return self.finish_all(self.prepare_all(requests), reuse)

    def prepare_all(self, requests: Iterable[Any]) -> list[Prepared | Exception]:
        """Check requests and begin to open their media."""
        batch = self.perception.batch()
        prepared: list[Prepared | Exception] = []
        for request in requests:
            try:
                # an error stands for what the caller could not even read, and keeps its place
                prepared.append(request if isinstance(request, Exception) else self.prepare(request, batch))
            except Exception as error:  # one broken request must not take the others along
                prepared.append(error)
        return prepared

    def prepare(self, request: Any, batch: dict[Any, PendingEmbedding] | None = None) -> Prepared:
        """Check everything that can be checked now, and start to decode the media.

        Raises:
            UserError: what is wrong with the request.
        """
        started = time.perf_counter()
        own = Request.read(request, self.perception.modalities)
        refuse_lost_gpu(self.driver.engine.model.device)
        engine = self.driver.engine
        dialog = build_dialog(
            own.messages,
            self.processor.tokenizer,
            add_generation_prompt=True,
            most_tokens=engine.context_length or LONGEST_DIALOG,
            tools=list(own.tools) or None,
        )
        engine.new_tokens(len(dialog), own.options.max_new_tokens)
        self._constraint(own.options)
        pending = self.perception.start_conditions(
            dialog.conditions, own.options, self.perception.batch() if batch is None else batch
        )
        return Prepared(own, dialog, pending, started)

    def finish_all(
        self, prepared: list[Prepared | Exception], reuse: bool = False
    ) -> list[Answer | Exception]:
        """Embed what has been opened, and answer."""
        ready = [item for item in prepared if isinstance(item, Prepared)]
        found = self.perception.finish_conditions([item.conditions for item in ready])
        jobs = [
            (item, conditions)
            for item, conditions in zip(ready, found, strict=True)
            if isinstance(conditions, Conditions)
        ]
        order = sorted(range(len(jobs)), key=lambda number: len(jobs[number][0].dialog))
        completions = dict(
            zip(
                order,
                self.driver.complete([self.token_request(*jobs[number], reuse) for number in order]),
                strict=True,
            )
        )
        answered = iter(self._answer(*job, completions[number]) for number, job in enumerate(jobs))
        perceived = iter(found)
        results: list[Answer | Exception] = []
        for item in prepared:
            if isinstance(item, Exception):
                results.append(item)
                continue
            conditions = next(perceived)
            results.append(conditions if isinstance(conditions, Exception) else next(answered))
        return results

    def stream(self, request: Request, reuse: bool = False) -> "AnswerStream":
        """The answer in pieces; the request is checked, and its media are read, before this returns.

        Raises:
            UserError: what is wrong with the request.
        """
        prepared = self.prepare(request)
        (conditions,) = self.perception.finish_conditions([prepared.conditions])
        if isinstance(conditions, Exception):
            raise conditions
        events = self.driver.stream(self.token_request(prepared, conditions, reuse))

        def finish(completion: Completion) -> Answer:
            answer = self._answer(prepared, conditions, completion)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return AnswerStream(events, Detokenizer(self.processor.tokenizer), finish)

    def token_request(self, item: Prepared, conditions: Conditions, reuse: bool) -> TokenRequest:
        """What the engine is asked."""
        return TokenRequest(
            input_ids=item.dialog.input_ids,
            condition_ids=item.dialog.condition_ids,
            conditions=conditions.rows,
            sampling=self.sampling(item.request.options),
            reuse=reuse,
        )

    def sampling(self, options: Options) -> Sampling:
        """How the engine chooses tokens."""
        return Sampling(
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
            top_p=options.top_p,
            seed=options.seed,
            end_tokens=self.end_tokens,
            confidence=self.driver.engine.model.config.confidence_temperature,
            constraint=self._constraint(options),
        )

    def _constraint(self, options: Options) -> Grammar | None:
        form = read_form(options.response_format)
        if form is None:
            return None
        size = int(self.driver.engine.model.config.text_config.vocab_size)
        return grammar_for(form, self.processor.tokenizer, size, self.end_tokens)

    @property
    def end_tokens(self) -> frozenset[int]:
        """Token ids that end an answer."""
        own = self.driver.engine.model.generation_config.eos_token_id
        found = {*(own if isinstance(own, list) else [own]), self.processor.tokenizer.eos_token_id}
        return frozenset(int(token) for token in found if token is not None)

    def _answer(
        self, item: Prepared, conditions: Conditions, completion: Completion | Exception
    ) -> Answer | Exception:
        if isinstance(completion, Exception):
            return completion
        seen = item.dialog.condition_ids[-1]
        return Answer(
            text=self.processor.decode(completion.ids, skip_special_tokens=True).strip(),
            finish_reason=completion.finish_reason,
            prompt_tokens=len(item.dialog),
            new_tokens=len(completion.ids),
            seconds=time.perf_counter() - item.started,
            media=tuple(item.dialog.conditions[seen]) if seen >= 0 else (),
            cached=seen >= 0 and item.conditions.cached[seen],
            retrieved=conditions.retrieved,
            confidence=completion.confidence,
            nearest=conditions.nearest if seen >= 0 else None,
        )


class AnswerStream(Iterator[str]):
    """An answer in pieces of text, as they are written; joined, they are the text of :attr:`answer`.

    Leave early with :meth:`close` (or ``del``): the model stops.

    Attributes:
        answer: after the last piece, the whole answer with its finish reason and token counts; before, None.
    """

    def __init__(
        self, events: Iterator[Event], text: Detokenizer, finish: Callable[[Completion], Answer]
    ) -> None:
        self._events: Any = events
        self._text = text
        self._finish = finish
        self._listeners: list[Callable[[Answer], None]] = []
        self._pieces = self._run()
        self.answer: Answer | None = None

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Stop; the answer is never known then."""
        self._pieces.close()
        self._events.close()

    def when_done(self, listener: Callable[[Answer], None]) -> None:
        """Call ``listener`` with the answer once the last piece has been read."""
        self._listeners.append(listener)

    def _run(self) -> Any:
        ids: list[int] = []
        sure: list[float | None] = []
        for event in self._events:
            ids.append(event.token)
            sure.append(event.sure)
            if piece := self._text.add(event.token):
                yield piece
            if event.last:
                self.answer = self._finish(Completion(ids, event.finish_reason, confidence_of(sure)))
        if piece := self._text.rest():
            yield piece
        for listener in self._listeners:
            if self.answer is not None:
                listener(self.answer)
