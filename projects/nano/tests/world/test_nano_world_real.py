"""Reading the data folder, and checks against the real data where it is at hand."""

import os

import numpy as np
import pytest

from imagebind_llm.common.errors import UserError
from nano_lab.world.concepts import CONCEPTS, DIGITS, OBJECTS, UNCLEAR, concept_named
from nano_lab.world.images import load_images
from nano_lab.world.shapes import load_shapes
from nano_lab.world.sounds import load_audio


def test_ids_are_places_in_the_table() -> None:
    assert [concept.id for concept in CONCEPTS] == list(range(21))
    assert [thing.name for thing in OBJECTS] == sorted(thing.name for thing in OBJECTS)
    assert (concept_named("seven").id, concept_named("truck").id, UNCLEAR) == (7, 19, 20)
    assert len(DIGITS) == len(OBJECTS) == 10


def test_unknown_concept_is_named_in_the_error() -> None:
    with pytest.raises(UserError, match="'cow'"):
        concept_named("cow")


def test_digits_are_padded_and_photos_kept(tiny_root) -> None:
    images = load_images(tiny_root, "train")
    assert images.pixels.shape == (60, 32, 32, 3)
    first = images.pixels[images.rows_of("mnist")[1]]
    assert first[:2].max() == 0
    assert first[-2:].max() == 0
    assert first.max() == 255
    photos = images.rows_of("cifar10")
    assert images.labels[photos[9]] == 19
    assert (images.pixels[photos[9]] == 190).all()
    assert images.index[0] == 100


def test_speech_is_resampled_to_16_khz(tiny_root) -> None:
    sounds = load_audio(tiny_root, "test")
    assert len(sounds.waves[0]) == 8000
    spectrum = np.abs(np.fft.rfft(sounds.waves[0]))
    assert np.fft.rfftfreq(8000, 1 / 16_000)[spectrum.argmax()] == 440.0
    assert list(sounds.kind[-2:]) == ["animals", "animals"]
    assert list(sounds.labels[-2:]) == [13, 15]


def test_shapes_are_decoded(tiny_root) -> None:
    shapes = load_shapes(tiny_root, "train")
    assert shapes.points.shape == (2, 1024, 3)
    assert list(shapes.labels) == [10, 18]
    assert np.abs(shapes.points).max() <= 0.5


def test_missing_folder_names_the_path(tmp_path) -> None:
    with pytest.raises(UserError, match="mnist"):
        load_images(tmp_path, "train")


@pytest.mark.skipif("IMAGEBIND_LLM_DATA" not in os.environ, reason="needs IMAGEBIND_LLM_DATA")
def test_real_data_has_the_documented_sizes() -> None:
    root = os.environ["IMAGEBIND_LLM_DATA"]
    images = load_images(root, "test")
    assert (
        np.bincount(images.labels).tolist()
        == [880, 1035, 932, 910, 882, 792, 858, 928, 874, 909] + [900] * 10
    )
    sounds = load_audio(root, "test")
    assert ((sounds.kind == "fsdd").sum(), (sounds.kind == "animals").sum()) == (300, 90)
    assert load_shapes(root, "test").points.shape == (67, 4096, 3)
