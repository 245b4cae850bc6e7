"""The token engine: sequences of tokens go in, new tokens come out, one for every running row at each step.

It knows no media, no text and no files. A request brings token ids, and for each token the number of the
condition that it sees (a vector for every layer, or several to attend to, see
:mod:`imagebind_llm.model.injection`).
Requests with and without conditions, greedy and sampled, long and short, share the rows; they join and leave
between two steps (continuous batching).
"""

import itertools
import threading
from collections.abc import Sequence as Sequences
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from imagebind_llm.common.errors import UserError
from imagebind_llm.inference.forks import renewed_in_children
from imagebind_llm.inference.kv_rows import KeyValueRows, cache_of
from imagebind_llm.inference.prefixes import PrefixMemory, Trace
from imagebind_llm.inference.sampler import Choice, Chosen, Sampler, Sampling
from imagebind_llm.inference.scheduler import FinishReason, Scheduler, Sequence, left_padded
from imagebind_llm.model.attending import TokenAttention
from imagebind_llm.model.injection import ConditionDeltas, TokenDeltas

if TYPE_CHECKING:
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

DEFAULT_NEW_TOKENS = 256
"""Longest answer where neither the request nor the model's generation configuration says."""
MAX_TOKENS = 65_536
"""Entries of key-value memory for running rows: 32 rows of 2,048."""
MAX_PREFILL = 4096
_NOT_A_NUMBER = (
    "the language model gave values that are not numbers; check the embeddings, or use a wider precision "
    "(float32 instead of float16)"
)
_NO_TOKEN = (
    "no token can come next: the language model gave values that are not numbers, or its generation "
    "configuration forbids all that the form of the answer allows"
)
REMEMBERED_TOKENS = 16_384
"""Entries of key-value memory kept of dialogs that may go on."""


@dataclass(frozen=True)
class TokenRequest:
    """What the engine answers.

    Attributes:
        input_ids: the prompt, at least one token.
        condition_ids: for each of them the row of ``conditions`` it sees, or -1; None: none sees any. New
            tokens see what the last token of the prompt sees.
        conditions: ``[N, D]`` mixtures in the encoder's space, or None.
        sampling: how to choose the new tokens.
        reuse: whether the prompt may begin with a dialog that was answered before with ``reuse``: its keys
            and values are then not computed again. Only for those that go on (a chat).
    """

    input_ids: Sequences[int]
    condition_ids: Sequences[int] | None = None
    conditions: Tensor | None = None
    sampling: Sampling = field(default_factory=Sampling)
    reuse: bool = False


@dataclass(frozen=True)
class Event:
    """What a step did to one sequence.

    Attributes:
        sequence: its number, as :meth:`Engine.add` gave it.
        token: a new token; None with an error.
        finish_reason: ``"stop"`` an end token came (it is ``token``), ``"length"`` no more are allowed; None
            while it goes on.
        error: what ended it instead.
        logprob: of the token, and ``top``, those of the likeliest ones, where they were asked for (see
            :class:`~imagebind_llm.inference.sampler.Chosen`), and likewise ``sure``.
    """

    sequence: int
    token: int | None = None
    finish_reason: FinishReason | None = None
    error: Exception | None = None
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    sure: float | None = None

    @property
    def last(self) -> bool:
        """Whether no event of this sequence follows."""
        return self.finish_reason is not None or self.error is not None


def new_tokens(
    model: "ImageBindLLMForConditionalGeneration",
    context_length: int | None,
    prompt: int,
    wanted: int | None = None,
) -> int:
    """How many tokens the answer to a prompt of ``prompt`` tokens may have.

    Args:
        model: its generation configuration says how many, unless ``wanted`` does.
        context_length: tokens of the prompt with its answer; None: any number.
        prompt: tokens of the prompt.
        wanted: by the request.

    Raises:
        UserError: the prompt alone fills the context.
    """
    wanted = wanted or model.generation_config.max_new_tokens or DEFAULT_NEW_TOKENS
    if context_length is None:
        return int(wanted)
    left = context_length - prompt
    if left < 1:
        raise UserError(
            f"the question (with its dialog) has {prompt} tokens and the model's context is "
            f"{context_length}; shorten it"
        )
    return min(int(wanted), left)


class Engine:
    """Runs a model. All methods may be called from several threads; steps never overlap.

    Args:
        model: the model.
        max_rows: sequences that run at once.
        max_tokens: see :class:`~imagebind_llm.inference.scheduler.Scheduler`, likewise ``max_prefill``.
        remembered_tokens: key-value entries kept of finished sequences that asked for it.

    Attributes:
        prefilled: prompt tokens read so far, without those that were remembered.
    """

    def __init__(
        self,
        model: "ImageBindLLMForConditionalGeneration",
        max_rows: int = 32,
        max_tokens: int = MAX_TOKENS,
        max_prefill: int = MAX_PREFILL,
        remembered_tokens: int = REMEMBERED_TOKENS,
    ) -> None:
        self.model = model
        self.prefilled = 0
        self._limits = (max_rows, max_tokens, max_prefill)
        self._remembered_tokens = remembered_tokens
        self._numbers = itertools.count()
        self.renew()
        renewed_in_children(self)

    def renew(self) -> None:
        """Forget all that is running and remembered."""
        self._scheduler = Scheduler(*self._limits)
        self._rows = KeyValueRows(self._limits[0])
        self._prefixes = PrefixMemory(self._remembered_tokens)
        self._weights: Any = None
        self._stepping = threading.Lock()
        self._aborted: set[int] = set()
        self._events: list[Event] = []
        self._deltas: TokenDeltas | TokenAttention | None = None
        self._positions: Tensor | None = None

    # --- requests

    @property
    def context_length(self) -> int | None:
        """Tokens the language model can read and write in one dialog, if its configuration says."""
        length = getattr(self.model.config.text_config, "max_position_embeddings", None)
        return int(length) if length else None

    def new_tokens(self, prompt: int, wanted: int | None = None) -> int:
        """How many tokens the answer to a prompt of ``prompt`` tokens may have.

        Raises:
            UserError: the prompt alone fills the context.
        """
        return new_tokens(self.model, self.context_length, prompt, wanted)

    def add(self, request: TokenRequest) -> int:
        """Put a request into the queue; returns the number of its sequence.

        Raises:
            UserError: no token, or too many for the context; condition ids that do not fit.
        """
        prompt = list(request.input_ids)
        if not prompt:
            raise UserError("the prompt has no token; give at least one")
        rows = int(self.model.config.text_config.vocab_size)
        if not 0 <= min(prompt) <= max(prompt) < rows:
            raise UserError(
                f"the prompt has token ids from {min(prompt)} to {max(prompt)}, the language model embeds "
                f"{rows}; put the tokenizer of this language model into the folder"
            )
        limit = self.new_tokens(len(prompt), request.sampling.max_new_tokens)
        seen = [-1] * len(prompt) if request.condition_ids is None else list(request.condition_ids)
        count = 0 if request.conditions is None else len(request.conditions)
        if len(seen) != len(prompt) or min(seen) < -1 or max(seen) >= count:
            raise UserError(
                f"{len(seen)} condition ids from {min(seen, default=-1)} to {max(seen, default=-1)} for "
                f"{len(prompt)} tokens and {count} conditions; expected one for each token, -1 … {count - 1}"
            )
        sequence = Sequence(
            number=next(self._numbers),
            prompt=prompt,
            condition_ids=seen,
            conditions=request.conditions,
            sampling=request.sampling,
            limit=limit,
            choice=Choice.start(request.sampling, prompt),
            trace=Trace.of(prompt, seen, request.conditions) if request.reuse else None,
        )
        self._scheduler.submit(sequence)
        return sequence.number

    def abort(self, number: int) -> None:
        """End a sequence at the next token boundary, without an event. One that has ended is left alone."""
        self._aborted.add(number)
        if self._stepping.acquire(blocking=False):  # else whoever is stepping comes past it
            try:
                self._apply_aborts()
            finally:
                self._stepping.release()

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing."""
        return self._scheduler.idle

    def load(self) -> tuple[int, int]:
        """How many sequences are running, and how many wait."""
        return len(self._scheduler.running), len(self._scheduler.waiting)

    def reset(self) -> None:
        """Forget remembered dialogs, for a model that was moved or changed; nothing may be running."""
        with self._stepping:
            self._prefixes.clear()

    # --- steps

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Read the prompts that can start now, or else write one token of every running sequence.

        An error of the model ends the sequences that it happened to, in an event, and no others.
        """
        with self._stepping:
            self._apply_aborts()
            admitted = self._scheduler.admit()
            if admitted:
                self._start(admitted)
            elif self._scheduler.running:
                self._go_on()
            events, self._events = self._events, []
        return events

    @torch.inference_mode()
    def _apply_aborts(self) -> None:
        while self._aborted:
            number = self._aborted.pop()
            if self._scheduler.drop(number):
                continue
            for row, sequence in enumerate(self._scheduler.running):
                if sequence.number == number:
                    self._leave(row)
                    break

    def _start(self, admitted: list[Sequence]) -> None:
        """Prefill. Prompts share a call of the model, but for those whose beginning is known."""
        if any(sequence.trace is not None for sequence in admitted):
            weights = self.model.weights_version()
            if weights != self._weights:  # trained since: what other weights made of a dialog is void
                self._prefixes.clear()
                self._weights = weights
        groups: list[list[Sequence]] = [[]]
        for sequence in admitted:
            if sequence.trace is not None:
                sequence.known = self._prefixes.longest(sequence.trace)
            if sequence.known[0]:
                groups.append([sequence])
            else:
                groups[0].append(sequence)
        while groups:
            try:
                self._prefill(groups[0])
            except BaseException:  # somebody pressed Ctrl-C; others may be waiting for their answers
                running = {sequence.number for sequence in self._scheduler.running}
                left = [s for group in groups for s in group if s.number not in running]
                self._scheduler.put_back(left)
                raise
            del groups[0]

    def _prefill(self, sequences: list[Sequence]) -> None:
        if not sequences:
            return
        try:
            filled, tokens = self._read(sequences)
            self._rows.join(filled, [len(s.prompt) for s in sequences])
        except Exception as error:  # for example out of memory: perhaps one of them alone is the cause
            if len(sequences) == 1:
                self._events.append(Event(sequences[0].number, error=error))
                return
        else:
            first = len(self._scheduler.running)
            self._scheduler.running += sequences
            self._changed()
            self._accept(first, tokens)
            return
        for sequence in sequences:
            sequence.choice = Choice.start(sequence.sampling, sequence.prompt)
            self._prefill([sequence])

    def _read(self, sequences: list[Sequence]) -> tuple[DynamicCache, list[Chosen | None]]:
        """Keys and values of the prompts, left-padded, and the first new token of each."""
        device = self.model.device
        known, layers = sequences[0].known  # only ever set where there is one sequence
        past = cache_of(layers, known) if known else DynamicCache()
        ids = left_padded([s.prompt[known:] for s in sequences], 0).to(device)
        lengths = torch.tensor([len(s.prompt) for s in sequences])
        longest = int(lengths.max())
        columns = torch.arange(known, longest) - (longest - lengths)[:, None]
        inputs: dict[str, Any] = {"position_ids": columns.clamp_min(0).to(device)}
        if int(lengths.min()) < longest:
            inputs["attention_mask"] = (columns >= 0).long().to(device)
        deltas, seen = self._conditions(sequences)
        if deltas is not None:
            inputs["deltas"] = deltas
            inputs["condition_ids"] = left_padded([ids[known:] for ids in seen], -1).to(device)
        output = self.model(input_ids=ids, past_key_values=past, use_cache=True, logits_to_keep=1, **inputs)
        self.prefilled += int(lengths.sum()) - known
        tokens = self._sampler().choose(output.logits[:, -1], [s.choice for s in sequences])
        return past, tokens

    def _conditions(self, sequences: list[Sequence]) -> tuple[ConditionDeltas | None, list[list[int]]]:
        """The deltas of all conditions of ``sequences``, and the ids that point to them."""
        given = [s.conditions for s in sequences if s.conditions is not None]
        if not given:
            return None, []
        deltas = self.model.condition_deltas(torch.cat(given).to(self.model.device))
        assert deltas is not None, "there are conditions"
        seen, first = [], 0
        for sequence in sequences:
            seen.append([number + first if number >= 0 else -1 for number in sequence.condition_ids])
            sequence.delta = deltas.tensor[:, seen[-1][-1]] if seen[-1][-1] >= 0 else None
            first += 0 if sequence.conditions is None else len(sequence.conditions)
        return deltas, seen

    def _go_on(self) -> None:
        """Decode: one token of every row."""
        running = self._scheduler.running
        device = self.model.device
        try:
            self._rows.make_room()
            ids = torch.tensor([[sequence.choice.ids[-1]] for sequence in running], device=device)
            mask = self._rows.mask
            if self._positions is None:
                self._positions = torch.tensor(self._rows.lengths, device=device)[:, None]
                self._deltas = self._step_deltas()
            given = {} if self._deltas is None else {"deltas": self._deltas}
            output = self.model(
                input_ids=ids,
                attention_mask=None if mask is None else mask.to(device),
                position_ids=self._positions,
                past_key_values=self._rows.cache,
                use_cache=True,
                **given,
            )
            tokens = self._sampler().choose(output.logits[:, -1], [s.choice for s in running])
        except Exception as error:  # the model's: nobody can go on, and the next requests find it empty
            self._events += [Event(sequence.number, error=error) for sequence in running]
            running.clear()
            self._rows.clear()
            self._changed()
            return
        self._rows.advance()
        self._positions = self._positions + 1
        self._accept(0, tokens)

    def _step_deltas(self) -> TokenDeltas | TokenAttention | None:
        """What the new token of each row receives; None where no row sees a condition."""
        deltas = [sequence.delta for sequence in self._scheduler.running]
        example = next((delta for delta in deltas if delta is not None), None)
        if example is None:
            return None
        nothing = torch.zeros_like(example)
        table = torch.stack([nothing if delta is None else delta for delta in deltas], dim=1)
        seen = [[-1 if delta is None else row] for row, delta in enumerate(deltas)]
        return self.model.injection.collect(table).select(torch.tensor(seen, device=table.device))

    def _accept(self, first: int, tokens: list[Chosen | None]) -> None:
        """Hand out the new tokens of the rows from ``first`` on, and let go of those that end."""
        ended = []
        for row, chosen in enumerate(tokens, start=first):
            sequence = self._scheduler.running[row]
            reason = None if chosen is None else sequence.accept(chosen.token)
            mask = sequence.choice.mask
            problem = None if mask is None else mask.problem
            if chosen is None or problem is not None:
                lost = _NOT_A_NUMBER if mask is None else _NO_TOKEN
                self._events.append(Event(sequence.number, error=UserError(problem or lost)))
                ended.append(row)
                sequence.trace = None
                continue
            self._events.append(
                Event(
                    sequence.number,
                    chosen.token,
                    reason,
                    logprob=chosen.logprob,
                    top=chosen.top,
                    sure=chosen.sure,
                )
            )
            if reason is not None:
                ended.append(row)
        for row in reversed(ended):  # the last first: who takes a row that is free has been looked at
            self._remember(row)
            self._leave(row)

    def _remember(self, row: int) -> None:
        sequence = self._scheduler.running[row]
        if sequence.trace is None:
            return
        ids = sequence.choice.ids
        seen = sequence.condition_ids + [sequence.condition_ids[-1]] * (len(ids) - len(sequence.prompt))
        cached = self._rows.lengths[row]  # the last token has not been read
        trace = Trace.of(ids[:cached], seen[:cached], sequence.conditions)
        self._prefixes.add(trace, self._rows.copy_of(row))

    def _leave(self, row: int) -> None:
        self._scheduler.leave(row)
        self._rows.leave(row)
        self._changed()

    def _changed(self) -> None:
        """Other rows than at the step before."""
        self._positions = self._deltas = None

    def _sampler(self) -> Sampler:
        return Sampler(self.model.generation_config)
