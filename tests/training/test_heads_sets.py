"""Pairs of features: who is drawn with whom, and what counts as a hit."""

import numpy as np
import torch

from imagebind_llm.common.modality import Modality
from imagebind_llm.training.heads.features import Features
from imagebind_llm.training.heads.sets import ClassPairs, RowPairs, hit_rate

SIDES = (Modality.IMAGE, Modality.AUDIO)


def side(kind, labels):
    """Features that say which item they are of."""
    numbers = torch.arange(len(labels), dtype=torch.float16)[:, None]
    return Features({kind: numbers}, torch.tensor(labels))


def test_pairs_by_class_are_of_equal_label_and_drawn_anew():
    first, second = side(SIDES[0], [7, 7, 8, 9]), side(SIDES[1], [8, 7, 7, 7, 8])
    pairs = ClassPairs(SIDES, (first, second), (first, second))
    seen = set()
    for number in range(40):
        drawn = pairs.draw(np.random.default_rng(number), 3)
        assert torch.equal(drawn.first_labels, drawn.second_labels)
        assert torch.equal(second.labels[drawn.second[:, 0].long()], drawn.second_labels)
        assert 9 not in drawn.first_labels  # nothing of the other side is of this class
        seen |= set(zip(drawn.first[:, 0].tolist(), drawn.second[:, 0].tolist(), strict=True))
    assert seen == {(a, b) for a in (0.0, 1.0) for b in (1.0, 2.0, 3.0)} | {(2.0, 0.0), (2.0, 4.0)}
    again = [pairs.draw(np.random.default_rng(5), 3) for _ in range(2)]
    assert all(one.equal(other) for one, other in zip(*again, strict=True))


def test_rows_stay_together():
    whole = Features(
        {SIDES[0]: torch.arange(9.0)[:, None].half(), SIDES[1]: -torch.arange(9.0)[:, None].half()},
        torch.arange(9),
    )
    drawn = RowPairs(SIDES, whole, None).draw(np.random.default_rng(0), 6)
    assert torch.equal(drawn.first, -drawn.second)
    assert len(drawn.first_labels.unique()) == 6  # none twice while there are enough
    assert len(RowPairs(SIDES, whole, None).held_out(5).first) == 0
    assert len(RowPairs(SIDES, whole, whole).held_out(5).first) == 5


def test_a_hit_is_of_the_right_label():
    own, others = torch.tensor([1, 1, 2]), torch.tensor([2, 1, 1])
    assert hit_rate(torch.tensor([1, 2, 0]), own, others) == 1.0
    assert hit_rate(torch.tensor([0, 2, 1]), own, others) == torch.tensor(1 / 3).item()
