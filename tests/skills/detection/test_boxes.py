"""Arithmetic of boxes, by hand."""

import numpy as np
import pytest
from PIL import Image

from imagebind_llm.skills.detection.boxes import cut, overlaps, squared, suppress
from imagebind_llm.skills.detection.proposals import Proposals

BOXES = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 40], [3, 3, 3, 9]], dtype=np.float64)


def test_overlaps_by_hand():
    found = overlaps(BOXES, BOXES)
    assert found[0, 1] == pytest.approx(50 / 150)
    assert found[0, 2] == 0
    assert found[0, 0] == 1
    assert found[3, 3] == 0  # without area


def test_the_better_of_two_boxes_stays():
    assert suppress(BOXES[:3], np.array([0.5, 0.9, 0.1]), 0.3).tolist() == [1, 2]
    assert suppress(BOXES[:3], np.array([0.5, 0.9, 0.1]), 0.34).tolist() == [1, 0, 2]
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


def test_a_box_that_only_a_suppressed_one_overlaps_stays():
    chain = np.array([[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]], dtype=np.float64)
    assert suppress(chain, np.array([0.9, 0.8, 0.7]), 0.3).tolist() == [0, 2]


def test_squares_keep_the_middle():
    assert squared(np.array([10.0, 20, 14, 40]), 1.5).tolist() == [-3, 15, 27, 45]


def test_the_border_is_continued():
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[:, -1] = 200
    found = np.asarray(cut(Image.fromarray(pixels), np.array([4.0, -2, 9, 3])))
    assert found.shape == (5, 5, 3)
    assert found[:, 0].max() == 0
    assert found[:, 1:].min() == 200


@pytest.mark.parametrize("box", [[-9, -9, -3, -3], [50, 50, 60, 60], [2.2, 2.2, 2.3, 2.3]])
def test_any_box_has_a_pixel(box):
    assert min(cut(Image.new("RGB", (6, 4), (1, 2, 3)), np.array(box, dtype=np.float64)).size) >= 1


def test_proposals_are_clipped_sorted_and_joined():
    boxes = [[-5, -5, 20, 20], [0, 0, 20, 20], [50, 50, 90, 90], [1, 1, 2, 30]]
    found = Proposals.of(np.array(boxes, dtype=np.float64), np.array([0.2, 0.3, 0.9, 1.0]), (60, 60))
    assert found.boxes.tolist() == [[50, 50, 60, 60], [0, 0, 20, 20]]
    assert found.objectness.tolist() == [0.9, 0.3]
    assert len(found.first(1)) == 1


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ValueError, match="finite"):
        Proposals.of(np.array([[0, 0, np.nan, 1]]), np.array([1.0]), (9, 9))
