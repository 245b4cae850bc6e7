"""The next token of each row, by its own temperature, top-p and random numbers."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imagebind_llm.inference.constraint import Constraint, TokenMask
from imagebind_llm.inference.forks import called_in_children

_FIRST_LOOK = 512
"""Likeliest tokens that are looked at first for top-p; more only where they do not have the probability."""

_drawing = threading.Lock()
called_in_children(lambda: globals().update(_drawing=threading.Lock()))


@dataclass(frozen=True)
class Sampling:
    """How the tokens of one answer are chosen, and where it ends.

    Attributes:
        max_new_tokens: it ends there at the latest; None: the model's default.
        temperature: 0 = always the likeliest token; above, logits are divided by it.
        top_p: sample among the likeliest tokens that together have this probability, above 0, at most 1.
        seed: 0 … 2⁶⁴ - 1; the same request with the same seed gets the same tokens, whatever else runs.
            None: another one each time (drawn from torch's global random numbers).
        end_tokens: ids that end the answer.
        logprobs: None, or for how many of the likeliest tokens (0: of none but the chosen one) the logarithm
            of the probability is told with each new token.
        confidence: None, or the temperature above 0 at which the logarithm of the probability of each new
            token is told for the confidence of the answer (:mod:`imagebind_llm.inference.confidence`).
        constraint: the form that the answer must have; None: any.
    """

    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    end_tokens: frozenset[int] = frozenset()
    logprobs: int | None = None
    confidence: float | None = None
    constraint: Constraint | None = None

    def generator(self) -> torch.Generator | None:
        """The random numbers of one answer; None where none are needed."""
        if self.temperature == 0:
            return None
        generator = torch.Generator()
        if self.seed is not None:
            return generator.manual_seed(self.seed)
        with _drawing:
            return generator.manual_seed(int(torch.randint(2**63 - 1, ())))


@dataclass(frozen=True)
class Chosen:
    """A new token.

    Attributes:
        token: its id.
        logprob: natural logarithm of its probability, as the model gives it: before temperature and
            top-p. None where it was not asked for.
        top: ids and logarithms of the likeliest tokens, the likeliest first.
        sure: natural logarithm of its probability at the temperature of the confidence. None where it was
            not asked for.
    """

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    sure: float | None = None


@dataclass(frozen=True)
class Choice:
    """What the choice of one row's next token depends on, besides its logits: its settings, its random
    numbers, the token ids so far (prompt and answer), to which the engine appends, and what may come next
    where the answer has a given form."""

    sampling: Sampling
    generator: torch.Generator | None
    ids: list[int]
    mask: TokenMask | None = None

    @classmethod
    def start(cls, sampling: Sampling, prompt: Sequence[int]) -> "Choice":
        """Before the first new token."""
        mask = None if sampling.constraint is None else sampling.constraint.start()
        return cls(sampling, sampling.generator(), list(prompt), mask)

    def append(self, token: int) -> None:
        """One more token of the answer."""
        self.ids.append(token)
        if self.mask is not None:
            self.mask.accept(token)


class Sampler:
    """Chooses tokens.

    Args:
        generation_config: the model's own; its repetition penalty, forbidden n-grams and forbidden tokens are
            applied to every answer, as ``generate`` does.
    """

    def __init__(self, generation_config: Any = None) -> None:
        self._processors = _processors(generation_config)

    @torch.no_grad()
    def __call__(self, logits: Tensor, rows: Sequence[Choice]) -> list[int | None]:
        """The next token of each row, None where a logit is not a number, or no token may come next.

        ``logits [B, V]``; what a row gets depends on no other row.
        """
        logits = logits.float()
        broken = logits.isnan().any(-1)
        logits = logits.masked_fill(broken[:, None], 0)
        if self._processors:
            logits = torch.cat([self._processed(logits[i : i + 1], row) for i, row in enumerate(rows)])
        masked = [number for number, row in enumerate(rows) if row.mask is not None]
        if masked:
            logits = _masked(logits, rows, masked)
            nothing = logits[masked].isinf().all(-1)
            broken[masked] |= nothing
            logits = logits.masked_fill(broken[:, None], 0)
        chosen = logits.argmax(-1)
        sampled = [number for number, row in enumerate(rows) if row.generator is not None]
        if sampled:
            part = [rows[number] for number in sampled]
            chosen[sampled] = _sample(logits[sampled], part)
        return [
            None if lost else int(token) for token, lost in zip(chosen.tolist(), broken.tolist(), strict=True)
        ]

    def choose(self, logits: Tensor, rows: Sequence[Choice]) -> list[Chosen | None]:
        """As calling it, with the logarithms of probabilities for the rows that ask for them."""
        tokens = self(logits, rows)
        sure = _sure(logits, tokens, rows)
        return [
            None if token is None else _chosen(token, logits[number], row.sampling, sure.get(number))
            for number, (token, row) in enumerate(zip(tokens, rows, strict=True))
        ]

    def _processed(self, logits: Tensor, row: Choice) -> Tensor:
        ids = torch.tensor([row.ids], device=logits.device)
        for processor in self._processors:
            logits = processor(ids, logits)
        return logits


def _masked(logits: Tensor, rows: Sequence[Choice], masked: Sequence[int]) -> Tensor:
    """``logits`` where all but what may come next in the rows ``masked`` is minus infinity."""
    allowed = torch.ones(logits.shape, dtype=torch.bool)
    for number in masked:
        mask = rows[number].mask
        assert mask is not None, "these rows have one"
        own = mask.allowed()[: logits.shape[1]]
        allowed[number] = False
        allowed[number, : len(own)] = own
    return logits.masked_fill(~allowed.to(logits.device), -torch.inf)


def _chosen(token: int, logits: Tensor, sampling: Sampling, sure: float | None) -> Chosen:
    if sampling.logprobs is None:
        return Chosen(token, sure=sure)
    logprobs = logits.float().log_softmax(-1)
    values, ids = logprobs.topk(min(sampling.logprobs, len(logprobs)))
    logprob = float(logprobs[token])
    top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return Chosen(token, logprob, top, logprob if _told_anyway(sampling) else sure)


def _told_anyway(sampling: Sampling) -> bool:
    """Whether the logarithm for the confidence is the one that was asked for."""
    return sampling.logprobs is not None and sampling.confidence == 1


def _sure(logits: Tensor, tokens: Sequence[int | None], rows: Sequence[Choice]) -> dict[int, float]:
    """Row → logarithm of the probability of its token for its confidence, for the rows that lack it."""
    asked = {
        number: (token, row.sampling.confidence)
        for number, (token, row) in enumerate(zip(tokens, rows, strict=True))
        if token is not None and row.sampling.confidence is not None and not _told_anyway(row.sampling)
    }
    if not asked:
        return {}
    own = (logits if len(asked) == len(rows) else logits[list(asked)]).float()
    temperatures = [temperature for _, temperature in asked.values()]
    if any(temperature != 1 for temperature in temperatures):
        own = own / own.new_tensor(temperatures)[:, None]
    chosen = torch.tensor([token for token, _ in asked.values()], device=own.device)
    found = own.gather(1, chosen[:, None])[:, 0] - own.logsumexp(-1)
    return dict(zip(asked, found.tolist(), strict=True))


def _sample(logits: Tensor, rows: Sequence[Choice]) -> Tensor:
    """Sampled tokens ``[B]``: the inverse of the cumulative distribution at one random number a row."""
    device = logits.device
    # in float64: 1e300 is an allowed temperature; and one random number decides among all tokens
    temperature = torch.tensor([row.sampling.temperature for row in rows], dtype=torch.float64, device=device)
    probabilities = torch.softmax(logits.double() / temperature[:, None], dim=-1)
    drawn = torch.stack([torch.rand((), generator=row.generator, dtype=torch.float64) for row in rows])
    drawn = drawn.to(device)
    chosen = []
    for row, own, number in zip(rows, probabilities, drawn, strict=True):
        top_p = row.sampling.top_p
        if top_p >= 1:
            order, shares = None, own
        else:
            order, shares = _likeliest(own, top_p)
        summed = shares.cumsum(0)
        place = torch.searchsorted(summed, number * summed[-1], right=True).clamp_max(len(summed) - 1)
        chosen.append(place if order is None else order[place])
    return torch.stack(chosen)


def _likeliest(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The fewest tokens, likeliest first, whose probabilities sum to ``top_p``: ids and probabilities."""
    shares, order = probabilities.topk(min(_FIRST_LOOK, len(probabilities)))
    if shares.sum() < top_p:
        shares, order = probabilities.sort(descending=True, stable=True)
    before = shares.cumsum(0) - shares
    count = max(1, int((before < top_p).sum()))
    return order[:count], shares[:count]


def _processors(config: Any) -> list[Any]:
    """transformers' processors for what a model's generation configuration asks for beyond sampling."""
    from transformers.generation import logits_process

    found: list[Any] = []
    if config is None:
        return found
    if config.repetition_penalty not in (None, 1.0):
        found.append(logits_process.RepetitionPenaltyLogitsProcessor(float(config.repetition_penalty)))
    if config.no_repeat_ngram_size:
        found.append(logits_process.NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if config.bad_words_ids:
        found.append(logits_process.NoBadWordsLogitsProcessor(config.bad_words_ids, config.eos_token_id))
    if config.suppress_tokens:
        found.append(logits_process.SuppressTokensLogitsProcessor(config.suppress_tokens))
    return found
