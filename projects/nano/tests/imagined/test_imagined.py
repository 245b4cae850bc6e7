"""The judge of drawings: it learns, and tells a generator that listens from one that does not."""

import numpy as np
import torch

from imagebind_llm.skills.generation.contract import Pictures, Settings
from nano_lab.data.pool import ImagePool
from nano_lab.imagined.judge import judged, train_judge
from nano_lab.imagined.measure import Asked, interval, measure
from nano_lab.imagined.sheet import sheet

LABELS = 3


def squares(labels: np.ndarray, seed: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 60, (len(labels), 8, 8, 3)).astype(np.uint8)
    pixels[np.arange(len(labels)), :, :, labels] += 150
    return pixels


class Draws:
    """Draws the colour that the embedding's largest number names, or always the first one."""

    about = {"generator": "test"}  # noqa: RUF012

    def __init__(self, listens: bool) -> None:
        self.listens = listens

    def make(self, kind, wishes, settings):
        labels = np.array([int(wish.embedding.argmax()) * self.listens for wish in wishes])
        return Pictures(squares(labels, settings.seed))


def test_a_generator_that_listens_is_told_from_one_that_does_not() -> None:
    labels = np.arange(120) % LABELS
    pool = ImagePool(squares(labels, 0), labels, {"digits": np.arange(120)})
    judge = train_judge(pool, LABELS, epochs=60, width=4)
    test = squares(labels, 1)
    assert (judged(judge, test) == labels).mean() > 0.95
    asked = Asked(torch.eye(LABELS)[torch.from_numpy(labels)], labels)
    good, drawn = measure(asked, Draws(True), judge, Settings(), range(1, 20))
    assert good["right"] > 0.95
    assert abs(good["shuffled"] - good["chance"]) < 0.1
    assert abs(good["chance"] - 1 / LABELS) < 1e-9
    deaf, _ = measure(asked, Draws(False), judge, Settings())
    assert abs(deaf["right"] - 1 / LABELS) < 0.1
    assert sheet({"text": drawn, "speech": drawn[:3]}).shape == (2 * 20, 10 * 20, 3)


def test_the_interval_is_that_of_a_share() -> None:
    low, high = interval(np.arange(400) % 4 == 0, 0)
    assert low < 0.25 < high
    assert 0.06 < high - low < 0.11
