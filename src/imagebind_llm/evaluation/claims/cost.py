"""What a condition costs: tokens, and milliseconds measured in turn: a busy machine slows all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.modality import Modality

if TYPE_CHECKING:
    from torch import Tensor

    from imagebind_llm.inference.assistant import Assistant

ROUNDS = 31
"""Odd, so that the median is one of them."""
NEW_TOKENS = 32


@dataclass(frozen=True)
class Timing:
    """Milliseconds of several rounds.

    Attributes:
        median: half of the rounds took longer.
        low: a quarter was quicker.
        high: a quarter took longer.
        rounds: how many.
    """

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Timing:
        """Of at least two rounds."""
        low, median, high = statistics.quantiles(milliseconds, n=4, method="inclusive")
        return cls(median, low, high, len(milliseconds))

    def to_dict(self) -> dict[str, float]:
        """``median``, ``low``, ``high`` (quartiles), ``rounds``."""
        return {
            "median": round(self.median, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "rounds": self.rounds,
        }


def in_turn(
    steps: Mapping[str, Callable[[], object]],
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Milliseconds of each step in each round. A round before them is not counted.

    A round takes every step once, every other round in reverse: what a step leaves behind slows both sides.

    Args:
        steps: what to measure; they return when they are done.
        rounds: how often.
        clock: seconds.
    """
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        order = list(steps.items())
        for name, step in reversed(order) if number % 2 else order:
            start = clock()
            step()
            if number:
                found[name].append(1000 * (clock() - start))
    return found


def summary(found: Mapping[str, Sequence[float]], pairs: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Timings of every step, and of the differences of steps round by round.

    Args:
        found: of :func:`in_turn`.
        pairs: name of a difference → the step that is taken away, and the one it is taken away from.
    """
    differences = {
        name: [after - before for before, after in zip(found[less], found[more], strict=True)]
        for name, (less, more) in pairs.items()
    }
    return {
        "steps": {name: Timing.of(values).to_dict() for name, values in found.items()},
        "differences": {name: Timing.of(values).to_dict() for name, values in differences.items()},
    }


def prompt_tokens(bot: Assistant, question: str) -> dict[str, int]:
    """Tokens of a question ``without`` a medium and ``with`` one."""
    from imagebind_llm.model.dialog import build_dialog

    words = {"type": "text", "text": question}
    medium = {"type": "image", "image": "given as an embedding"}
    lengths = [
        len(
            build_dialog(
                [{"role": "user", "content": content}], bot.processor.tokenizer, add_generation_prompt=True
            )
        )
        for content in ([words], [medium, words])
    ]
    return {"without": lengths[0], "with": lengths[1]}


def condition_cost(
    bot: Assistant, question: str, media: Mapping[Modality, Tensor], rounds: int = ROUNDS
) -> dict[str, Any]:
    """Tokens and milliseconds of one condition.

    Args:
        bot: the model; the cache is measured if it has one.
        question: one that a user would ask.
        media: one decoded medium of each modality, without batch axis, as the encoder takes it.
        rounds: how often everything is measured.

    Returns:
        ``tokens`` (:func:`prompt_tokens`), ``new_tokens`` (of each answer), ``steps`` (``encode …`` of each
        modality, ``cache``, ``bind and gates``, ``prompt with``, ``prompt without``, ``answer with``,
        ``answer without``) and ``differences`` (``prompt``, ``answer``: with minus without, in the same
        round).
    """
    import torch

    from imagebind_llm.model.dialog import build_dialog

    model: Any = bot.model
    encoder: Any = model.encoder
    device = next(encoder.parameters())

    def encoded(modality: Modality) -> Tensor:
        given = media[modality][None].to(device.device)
        rows: Tensor = encoder.encode(
            modality, given.to(device.dtype) if given.is_floating_point() else given
        )
        return rows

    dialog = build_dialog(
        [{"role": "user", "content": question}], bot.processor.tokenizer, add_generation_prompt=True
    )
    ids = torch.tensor([dialog.input_ids], device=model.device)
    settings: dict[str, Any] = {
        "min_new_tokens": NEW_TOKENS,
        "max_new_tokens": NEW_TOKENS,
        "do_sample": False,
    }
    settings |= {"attention_mask": torch.ones_like(ids), "pad_token_id": 0}
    with torch.inference_mode():
        row = encoded(next(iter(media))).to(model.device)
        deltas = model.condition_deltas(row)
        steps: dict[str, Callable[[], object]] = {
            f"encode {modality.value}": lambda modality=modality: encoded(modality)  # type: ignore[misc]
            for modality in media
        }
        cache = bot.cache
        if cache is not None:
            own, plain = model.config.cache, row.float().cpu()
            k = min(own["k"], cache.size)
            steps["cache"] = lambda: cache.enhance(
                plain, k=k, temperature=own["temperature"], weight=own["weight"]
            )
        steps["bind and gates"] = lambda: model.condition_deltas(row)
        steps["prompt without"] = lambda: model(input_ids=ids, logits_to_keep=1)
        steps["prompt with"] = lambda: model(input_ids=ids, deltas=deltas, logits_to_keep=1)
        steps["answer without"] = lambda: model.generate(ids, **settings)
        steps["answer with"] = lambda: model.generate(ids, deltas=deltas, **settings)
        found = in_turn({name: _waiting(step, model.device) for name, step in steps.items()}, rounds)
    pairs = {name: (f"{name} without", f"{name} with") for name in ("prompt", "answer")}
    return {"tokens": prompt_tokens(bot, question), "new_tokens": NEW_TOKENS, **summary(found, pairs)}


def _waiting(step: Callable[[], object], device: Any) -> Callable[[], object]:
    """The step, done when the accelerator is."""
    import torch

    if device.type != "cuda":
        return step

    def run() -> None:
        step()
        torch.cuda.synchronize(device)

    return run
