"""Average precision against cases worked by hand."""

import numpy as np
import pytest

pytest.importorskip("pycocotools")

from imagebind_llm.evaluation.box_scores import box_scores


def truth(*things, images=2, categories=("a", "b")):
    return {
        "images": [{"id": number, "width": 100, "height": 100} for number in range(1, images + 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for number, (image, category, box) in enumerate(things, 1)
        ],
    }


def box(image, category, place, score):
    return {"image_id": image, "category_id": category, "bbox": place, "score": score}


ONE, OTHER = [0, 0, 10, 10], [50, 50, 10, 10]


def test_all_found_is_one():
    scores = box_scores(truth((1, 1, ONE), (2, 2, OTHER)), [box(1, 1, ONE, 0.9), box(2, 2, OTHER, 0.2)], 20)
    assert scores["AP50"].value == pytest.approx(1.0)
    assert scores["AP"].value == pytest.approx(1.0)
    assert scores["by_category"] == {"a": pytest.approx(1), "b": pytest.approx(1)}


def test_nothing_found_is_nought():
    scores = box_scores(truth((1, 1, ONE)), [], 5)
    assert scores["AP50"].value == 0
    assert scores["by_category"] == {"a": 0.0, "b": None}  # there is no b to be found


def test_a_false_alarm_before_the_right_box_halves_it():
    """Precision is 1/2 at every recall."""
    scores = box_scores(truth((1, 1, ONE)), [box(1, 1, OTHER, 0.9), box(1, 1, ONE, 0.8)], 5)
    assert scores["AP50"].value == pytest.approx(0.5)


def test_a_second_box_around_one_thing_is_false():
    things = truth((1, 1, ONE), (1, 1, OTHER))
    found = [box(1, 1, ONE, 0.9), box(1, 1, [1, 0, 10, 10], 0.8), box(1, 1, OTHER, 0.7)]
    # recall 0.5 at precision 1, recall 1 at precision 2/3; 51 and 50 of the 101 points
    assert box_scores(things, found, 5)["AP50"].value == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_an_overlap_of_two_thirds_counts_at_four_of_ten_thresholds():
    """8 of 12 columns are shared: 0.5, 0.55, 0.6 and 0.65."""
    scores = box_scores(truth((1, 1, [0, 0, 10, 10])), [box(1, 1, [2, 0, 10, 10], 0.9)], 5)
    assert scores["AP50"].value == pytest.approx(1.0)
    assert scores["AP"].value == pytest.approx(0.4)


def test_the_right_box_with_the_wrong_name_is_wrong():
    scores = box_scores(truth((1, 1, ONE), (1, 2, OTHER)), [box(1, 2, ONE, 0.9), box(1, 2, OTHER, 0.8)], 5)
    assert scores["by_category"] == {"a": 0.0, "b": pytest.approx(0.5)}


def test_the_interval_holds_the_value_and_is_the_same_again():
    random = np.random.default_rng(0)
    things, found = [], []
    for image in range(1, 31):
        things.append((image, 1, ONE))
        found.append(box(image, 1, ONE if random.random() < 0.7 else OTHER, float(random.random())))
    first, again = (box_scores(truth(*things, images=30), found, 100, seed=1)["AP50"] for _ in range(2))
    assert first.low < first.value < first.high
    assert first == again
    assert 0.3 < first.high - first.low + 0.2 < 0.9


def test_order_of_ids_does_not_matter():
    things = truth((2, 2, ONE))
    things["categories"].reverse()
    things["images"].reverse()
    scores = box_scores(things, [box(2, 2, ONE, 0.5)], 5)
    assert scores["by_category"] == {"b": pytest.approx(1.0), "a": None}
