"""A small classifier that was trained on the real training pictures alone, to judge drawings.

It is independent: it shares no weight with the encoder or the generator. Its own accuracy on the real test
pictures is reported beside its judgements, of which it is the ceiling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.inference.loading import has_fast_bfloat16
from nano_lab.data.pool import ImagePool

_BATCH = 128
_PEAK = 2e-3
"""Highest learning rate of Adam."""
_RISE = 0.2
"""Share of the steps in which the rate rises."""
_MOMENTS = ("exp_avg", "exp_avg_sq")
"""What Adam remembers of a weight besides the number of steps."""


class Judge(nn.Module):
    """A small convolutional network on pictures ``[B, 3, 32, 32]`` in -1 … 1."""

    def __init__(self, labels: int, width: int = 32) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        blocks: list[nn.Module] = []
        for before, after in pairwise(widths):
            blocks += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            blocks += [nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            blocks += [nn.MaxPool2d(2)]
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(4 * width, labels)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits ``[B, labels]``."""
        found: Tensor = self.head(self.body(pictures).mean((2, 3)))
        return found


def scaled(pixels: np.ndarray) -> Tensor:
    """uint8 ``[B, H, W, 3]`` → ``[B, 3, H, W]`` in -1 … 1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


class JudgeTraining:
    """A judge of the labels ``0 … labels-1`` on its way, epoch by epoch.

    AdamW, one cycle of the rate, shifts of up to 3 pixels, and mirror images of what is no digit. An epoch
    depends on the seed, its number and the state before it, so a training that was stopped goes on exactly.

    Args:
        pool: all its pictures that have one of the labels are used.
        labels: how many.
        epochs: of the whole training.
        seed: of weights, order and shifts.
        width: of the judge.
    """

    def __init__(self, pool: ImagePool, labels: int, epochs: int, seed: int = 0, width: int = 32) -> None:
        self.pool, self.epochs, self.seed = pool, epochs, seed
        self.rows = np.flatnonzero(pool.labels < labels)
        self.mirrors = np.isin(np.arange(len(pool)), pool.domains.get("objects", ()))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.judge = Judge(labels, width)
        self.judge = self.judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(self.judge.parameters(), lr=_PEAK, weight_decay=0.01)
        self.steps_each = -(-len(self.rows) // _BATCH)
        self.done = 0
        """Epochs."""

    def epoch(self, advance: Callable[[], object] = lambda: None) -> None:
        """The next one; ``advance`` is called after each of its ``steps_each`` steps."""
        rng = np.random.default_rng((self.seed, self.done))
        order = rng.permutation(self.rows)
        self.judge.train()
        for number in range(self.steps_each):
            rows = order[number * _BATCH : (number + 1) * _BATCH]
            self._step(rows, self.done * self.steps_each + number, rng)
            advance()
        self.done += 1

    def _step(self, rows: np.ndarray, step: int, rng: np.random.Generator) -> None:
        pixels = self.pool.pixels[rows]
        flipped = self.mirrors[rows] & (rng.random(len(rows)) < 0.5)
        pixels[flipped] = pixels[flipped][:, :, ::-1]
        down, right = (int(way) for way in rng.integers(-3, 4, 2))
        pictures = torch.roll(scaled(pixels), (down, right), (2, 3))
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        for group in self.optimizer.param_groups:
            group["lr"] = _PEAK * _cycle((step + 1) / (self.epochs * self.steps_each))
        with _fast():
            logits = self.judge(pictures)
        loss = F.cross_entropy(logits.float(), torch.from_numpy(self.pool.labels[rows]))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Weights, and what the optimizer remembers."""
        found = {f"judge.{name}": tensor.contiguous() for name, tensor in self.judge.state_dict().items()}
        for name, parameter in self.judge.named_parameters():
            for moment in _MOMENTS:
                found[f"{moment}.{name}"] = self.optimizer.state[parameter][moment].contiguous()
        return found

    def go_on(self, state: Mapping[str, Tensor], done: int) -> None:
        """Continue after ``done`` epochs with what :meth:`state` returned then."""
        weights = {name: tensor for name, tensor in state.items() if name.startswith("judge.")}
        self.judge.load_state_dict({name.removeprefix("judge."): row for name, row in weights.items()})
        for name, parameter in self.judge.named_parameters():
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(done * self.steps_each)),
                **{
                    moment: torch.empty_like(parameter).copy_(state[f"{moment}.{name}"])
                    for moment in _MOMENTS
                },
            }
        self.done = done


def _cycle(share: float) -> float:
    """The rate after this share of all steps, as a part of the highest: up in a line, down in a cosine."""
    if share < _RISE:
        return share / _RISE
    return 0.5 * (1 + math.cos(math.pi * (share - _RISE) / (1 - _RISE)))


def _fast() -> AbstractContextManager[None]:
    """bfloat16 where the CPU has instructions for it (2.7 times as fast, measured with AMX)."""
    context: AbstractContextManager[None] = torch.autocast(
        "cpu", torch.bfloat16, enabled=has_fast_bfloat16(torch.device("cpu"))
    )
    return context


@torch.no_grad()
def judged(judge: Judge, pixels: np.ndarray) -> np.ndarray:
    """The label ``[B]`` that the judge, in evaluation mode, sees in each picture."""
    parts = [judge(scaled(part)).argmax(1) for part in np.array_split(pixels, -(-len(pixels) // _BATCH))]
    return torch.cat(parts).numpy()
