"""A small classifier that was trained on the real training pictures alone, to judge drawings.

It is independent: it shares no weight with the encoder or the generator. Its own accuracy on the real test
pictures is reported beside its judgements, of which it is the ceiling.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nano_lab.data.pool import ImagePool

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
