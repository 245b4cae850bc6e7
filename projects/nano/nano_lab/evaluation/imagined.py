"""Generated pictures, judged by a small classifier that was trained on the real training pictures alone.

The classifier is independent: it shares no weight with the encoder or the generator. Its own accuracy on the
real test pictures is reported beside its judgements, of which it is the ceiling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.common.errors import UserError
from imagebind_llm.skills.generation.contract import Generator, Pictures, Settings, Wish
from nano_lab.data.pool import ImagePool

DRAWS = 1000
"""Of the bootstrap."""
_BATCH = 128


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


def train_judge(pool: ImagePool, labels: int, epochs: int, seed: int = 0, width: int = 32) -> Judge:
    """A classifier of the labels ``0 … labels-1``, from all pictures of the pool that have one of them.

    Adam, one cycle of the rate, shifts of up to 3 pixels, and mirror images of what is no digit.
    """
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(pool.labels < labels)
    mirrors = np.isin(np.arange(len(pool)), pool.domains.get("objects", ()))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        judge = Judge(labels, width)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.01)
    steps = epochs * -(-len(rows) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    judge.train()
    for _ in range(epochs):
        order = rng.permutation(rows)
        for start in range(0, len(order), _BATCH):
            now = order[start : start + _BATCH]
            pixels = pool.pixels[now]
            flipped = mirrors[now] & (rng.random(len(now)) < 0.5)
            pixels[flipped] = pixels[flipped][:, :, ::-1]
            down, right = (int(step) for step in rng.integers(-3, 4, 2))
            pictures = torch.roll(scaled(pixels), (down, right), (2, 3))
            loss = F.cross_entropy(judge(pictures), torch.from_numpy(pool.labels[now]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return judge.eval()


@torch.no_grad()
def judged(judge: Judge, pixels: np.ndarray) -> np.ndarray:
    """The label ``[B]`` that the judge sees in each picture."""
    parts = [judge(scaled(part)).argmax(1) for part in np.array_split(pixels, -(-len(pixels) // _BATCH))]
    return torch.cat(parts).numpy()


@dataclass(frozen=True)
class Asked:
    """What is to be drawn: unit ``embeddings [n, D]`` and the ``labels [n]`` that are right."""

    embeddings: Tensor
    labels: np.ndarray


def measure(
    asked: Asked,
    generator: Generator,
    judge: Judge,
    settings: Settings,
    others: Sequence[int] = (),
) -> tuple[dict[str, Any], np.ndarray]:
    """How often the judge sees in a drawing what was asked for, and in those of the control arm.

    In the control arm the embeddings are exchanged among the things, so whatever the drawings show, it has
    nothing to do with what was asked for: right by chance, ``Σ share(label)²``.

    Args:
        asked: what to draw, once each.
        generator: draws.
        judge: of :func:`train_judge`.
        settings: of the drawing; ``count`` 1.
        others: seeds, beside the settings' own, that the control arm is repeated with.

    Returns:
        ``n``, ``right``, ``interval`` (95 %, bootstrap over things), ``shuffled`` likewise, ``chance``; and
        the drawings uint8 ``[n, H, W, 3]``.

    Raises:
        UserError: nothing is asked for.
    """
    if not len(asked.labels):
        raise UserError("there is nothing to draw; the data hold none of these")
    wishes = [Wish(row) for row in asked.embeddings]
    made = generator.make("picture", wishes, settings)
    assert isinstance(made, Pictures), "pictures were asked for"
    seen = judged(judge, made.pixels)
    right = seen == asked.labels
    exchanged = [
        seen[np.random.default_rng(seed).permutation(len(seen))] == asked.labels
        for seed in (settings.seed, *others)
    ]
    shares = np.unique(asked.labels, return_counts=True)[1] / len(asked.labels)
    return {
        "n": len(right),
        "right": float(right.mean()),
        "interval": interval(right, settings.seed),
        "shuffled": float(np.mean(exchanged)),
        "shuffled_interval": interval(np.mean(exchanged, axis=0), settings.seed),
        "chance": float((shares**2).sum()),
    }, made.pixels


def interval(outcomes: np.ndarray, seed: int) -> list[float]:
    """The middle 95 % of the means of draws with replacement (Efron's bootstrap)."""
    rng = np.random.default_rng(seed)
    means = [rng.choice(outcomes, len(outcomes)).mean() for _ in range(DRAWS)]
    return [float(edge) for edge in np.quantile(means, (0.025, 0.975))]


def sheet(rows: Mapping[str, np.ndarray], each: int = 10, scale: int = 2) -> np.ndarray:
    """Samples uint8 ``[H, W, 3]``: a row for each set, its first ``each`` drawings, enlarged, on white."""
    lines = []
    enlarge: Callable[[np.ndarray], np.ndarray] = lambda picture: picture.repeat(scale, 0).repeat(scale, 1)  # noqa: E731
    for pixels in rows.values():
        shown = [np.pad(enlarge(one), ((2, 2), (2, 2), (0, 0)), constant_values=255) for one in pixels[:each]]
        blank = np.full_like(shown[0], 255)
        lines.append(np.concatenate([*shown, *([blank] * (each - len(shown)))], axis=1))
    return np.concatenate(lines)
