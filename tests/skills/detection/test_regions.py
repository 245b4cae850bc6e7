"""Regions that differ from their ground."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("scipy")

from imagebind_llm.skills.detection.boxes import overlaps
from imagebind_llm.skills.detection.regions import RegionProposer, ground

THINGS = np.array([[20, 30, 60, 70], [110, 20, 150, 90]], dtype=np.float64)


def scene(grain=0.0, slope=0.0, side=(160, 120)):
    random = np.random.default_rng(0)
    width, height = side
    pixels = np.full((height, width, 3), 0.6) + slope * np.linspace(-1, 1, width)[None, :, None]
    pixels = pixels + random.normal(0, grain, pixels.shape)
    for x0, y0, x1, y1 in THINGS.astype(int):
        pixels[y0:y1, x0:x1] = random.random((y1 - y0, x1 - x0, 3)) * 0.5
    return Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))


@pytest.mark.parametrize(("grain", "slope"), [(0, 0), (0.05, 0), (0, 0.25), (0.03, 0.2)])
def test_things_on_a_ground_are_found(grain, slope):
    found = RegionProposer().propose(scene(grain, slope), 20)
    best = overlaps(THINGS, found.boxes)
    assert (best.max(axis=1) > 0.85).all()
    assert best.max(axis=0)[0] > 0.85  # the first proposal is one of them


def test_large_pictures_are_found_in_their_own_pixels():
    picture = scene().resize((1600, 1200), Image.Resampling.NEAREST)
    found = RegionProposer().propose(picture, 20)
    assert (overlaps(THINGS * 10, found.boxes).max(axis=1) > 0.85).all()


def test_strokes_of_one_sign_become_one_box():
    pixels = np.full((100, 100, 3), 255, dtype=np.uint8)
    pixels[30:70, 40:44] = pixels[30:70, 48:52] = 0
    found = RegionProposer().propose(Image.fromarray(pixels), 20)
    best = overlaps(np.array([[40.0, 30, 52, 70]]), found.boxes).max()
    assert best > 0.8  # one pixel more on each side is 0.82


@pytest.mark.parametrize("size", [(100, 80), (1, 1), (3, 400)])
def test_an_empty_picture_has_no_boxes(size):
    assert len(RegionProposer().propose(Image.new("RGB", size, (200, 180, 90)), 20)) == 0


def test_the_ground_is_what_most_pixels_lie_near():
    pixels = np.asarray(scene(slope=0.2), dtype=np.float64) / 255
    surface = ground(pixels)
    expected = 0.6 + 0.2 * np.linspace(-1, 1, 160)
    assert np.abs(surface[60, :, 0] - expected).max() < 0.02


def test_the_most_is_kept_to():
    assert len(RegionProposer().propose(scene(), 1)) == 1
