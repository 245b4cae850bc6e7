"""Composed scenes, and what is measured on them, with made-up pictures."""

import numpy as np
import pytest

from imagebind_llm.skills.detection.boxes import overlaps
from nano_lab.detection.measure import truth_of
from nano_lab.detection.scenes import GROUNDS, compose
from nano_lab.world.images import ImageSet


@pytest.fixture(scope="module")
def images():
    """Rings of ink on black, and random photographs."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[-16:16, -16:16]
    ring = (np.abs(np.hypot(y + 0.5, x + 0.5) - 8) < 2).astype(np.uint8) * 255
    digits = np.repeat(ring[None, :, :, None], 3, axis=-1).repeat(6, axis=0)
    photos = random.integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    return ImageSet(
        pixels=np.concatenate([digits, photos]),
        labels=np.array([0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]),
        source=np.array(["mnist"] * 6 + ["cifar10"] * 6),
        index=np.arange(12),
    )


@pytest.mark.parametrize("ground", GROUNDS)
def test_things_lie_apart_and_inside(images, ground):
    for seed in range(8):
        scene = compose(images, np.random.default_rng(seed), ground)
        assert 1 <= len(scene.boxes) <= 5
        assert (scene.boxes[:, :2] >= 5).all()
        assert (scene.boxes[:, 2:] <= np.array(scene.picture.size) - 5).all()
        assert overlaps(scene.boxes, scene.boxes).sum() == pytest.approx(len(scene.boxes))
        assert (images.labels[scene.rows] == scene.labels).all()
        assert scene.ground == ground


def test_a_box_is_that_of_the_ink(images):
    """A ring of 20 of 32 pixels; photographs fill their square."""
    seen = 0
    for seed in range(20):
        scene = compose(images, np.random.default_rng(seed), "plain")
        pixels = np.asarray(scene.picture, dtype=int)
        ground = pixels[0, 0]
        for box, label in zip(scene.boxes.astype(int), scene.labels, strict=True):
            inside = np.abs(pixels[box[1] : box[3], box[0] : box[2]] - ground).max(axis=2) > 8
            if label < 10:
                assert inside.any(axis=1).all()
                assert inside.any(axis=0).all()
                assert not inside[len(inside) // 2, inside.shape[1] // 2]  # no paper
                seen += 1
    assert seen > 10


def test_equal_seeds_give_equal_scenes(images):
    first, again = (compose(images, np.random.default_rng(3)) for _ in range(2))
    assert first.picture.tobytes() == again.picture.tobytes()
    assert (first.boxes == again.boxes).all()


def test_the_truth_leaves_out_what_no_prompt_names(images):
    scenes = [compose(images, np.random.default_rng(seed)) for seed in range(5)]
    digits = truth_of(scenes, range(10))
    assert len(digits["annotations"]) == sum(int((scene.labels < 10).sum()) for scene in scenes)
    every = truth_of(scenes, range(20))
    assert len(every["annotations"]) == sum(len(scene.labels) for scene in scenes)
    one = every["annotations"][0]
    x0, y0, x1, y1 = scenes[0].boxes[0]
    assert one["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    assert one["category_id"] == scenes[0].labels[0] + 1
