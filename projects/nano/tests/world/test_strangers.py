"""What training shows as unclear: pictures, photographs of other things, shapes, sounds and motions."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagebind_llm.common.errors import ConfigError, UserError
from nano_lab.data.pictures import NanoPictures
from nano_lab.grammar.facts import DOG, SHIP
from nano_lab.recipes import PictureData, check_others
from nano_lab.world.augment import augment_images
from nano_lab.world.concepts import UNCLEAR
from nano_lab.world.copies import smoothed, stored
from nano_lab.world.drawings import drawings
from nano_lab.world.furniture import furniture
from nano_lab.world.motion import aimless_paths
from nano_lab.world.penpath import KNOTS
from nano_lab.world.photographs import (
    SIDE,
    crops,
    known_photographs,
    other_photographs,
    shown_thing,
    shows_known,
)
from nano_lab.world.strangers import strange_images
from nano_lab.world.tables import check_tables
from nano_lab.world.tunes import strange_wave

CAPTIONS = {
    "people": ["Two women walk along a street .", "A man in a red shirt ."],
    "dogs": ["Two puppies play .", "A brown animal runs ."],
    "cars": ["A man stands there .", "Someone beside a parked car ."],
}


def photograph(shade: int) -> dict[str, object]:
    file = io.BytesIO()
    Image.fromarray(np.full((224, 224, 3), shade, np.uint8)).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": "x.png"}


@pytest.fixture
def with_photographs(tiny_root, tmp_path):
    for folder in tiny_root.iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    (tmp_path / "flickr8k").mkdir()
    table = pa.table({"image": [photograph(s) for s in (200, 100, 50)], "captions": list(CAPTIONS.values())})
    pq.write_table(table, tmp_path / "flickr8k" / "train.parquet")
    return tmp_path


def test_drawings_differ_and_depend_on_the_generator_alone() -> None:
    first = drawings(np.random.default_rng(0), 40)
    assert first.shape == (40, 32, 32, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, drawings(np.random.default_rng(0), 40))
    assert len({picture.tobytes() for picture in first}) == 40
    assert (first.std((1, 2)).max(1) > 3).all(), "none is blank"


@pytest.mark.parametrize(("name", "known"), [("people", False), ("dogs", True), ("cars", True)])
def test_captions_tell_whether_a_photograph_shows_a_known_thing(name, known) -> None:
    assert shows_known(CAPTIONS[name]) == known


def test_photographs_of_known_things_are_left_out(with_photographs) -> None:
    found = other_photographs(str(with_photographs), "train")
    assert found.shape == (1, SIDE, SIDE, 3)
    assert (found == 200).all()
    cut = crops(np.random.default_rng(0), found, np.zeros(5, int))
    assert cut.shape == (5, 32, 32, 3)
    assert (cut == 200).all()


def test_photographs_join_only_when_they_are_asked_for(with_photographs) -> None:
    plain, more = NanoPictures(with_photographs), NanoPictures(with_photographs, ("flickr8k",))
    for world, real in ((plain, False), (more, True)):
        pool = world.images("train")
        rows = pool.domains["unclear"]
        assert (pool.labels[rows] == UNCLEAR).all()
        flat = (pool.pixels[rows] == 200).all((1, 2, 3)).mean()
        assert (0.4 < flat < 0.7) == real
        fresh = world.fresh(pool, rows[:200], np.random.default_rng(1))
        assert ((fresh == 200).all((1, 2, 3)).mean() > 0.3) == real
    first, second = plain.images("test"), more.images("test")
    assert np.array_equal(first.pixels, second.pixels), "what is tested does not depend on it"


@pytest.mark.parametrize(
    ("captions", "label"),
    [
        (["A dog runs .", "Two puppies .", "A brown dog .", "The dog plays .", "An animal in grass ."], DOG),
        (["A dog runs .", "Two puppies .", "A brown dog .", "An animal .", "An animal in grass ."], None),
        (["A dog and a horse .", "A dog .", "A dog .", "A dog .", "A dog ."], None),
        (["A man ."] * 5, None),
        (["A carpet , a category , a boathouse ."] * 5, None),
    ],
)
def test_a_photograph_shows_what_nearly_all_captions_name_and_nothing_else(captions, label) -> None:
    assert shown_thing(captions) == label


def test_photographs_of_known_things_are_shown_under_their_names(tmp_path, with_photographs) -> None:
    assert len(known_photographs(str(with_photographs), "train")[1]) == 0
    shades = {90: ["A dog ."] * 5, 160: ["A boat ."] * 5, 230: ["A woman ."] * 5}
    table = pa.table({"image": [photograph(s) for s in shades], "captions": list(shades.values())})
    for folder in with_photographs.iterdir():
        if not folder.name.startswith("flickr8k"):
            (tmp_path / "more" / folder.name).parent.mkdir(exist_ok=True)
            (tmp_path / "more" / folder.name).symlink_to(folder)
    (tmp_path / "more" / "flickr8k").mkdir()
    pq.write_table(table, tmp_path / "more" / "flickr8k" / "train.parquet")
    world = NanoPictures(tmp_path / "more", ("flickr8k",))
    pool = world.images("train")
    rows = pool.domains["photographs"]
    assert pool.labels[rows].tolist() == [DOG, SHIP]
    fresh = world.fresh(pool, rows[[1, 0, 1]], np.random.default_rng(0))
    assert np.abs(fresh.mean((1, 2, 3)) - [160, 90, 160]).max() < 3


def test_pictures_are_stored_with_blocks_and_smoothed_without() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
    changed = (stored(rng, pictures) != pictures).any((1, 2, 3)).mean()
    assert 0.65 < changed < 0.85
    soft = smoothed(rng, pictures)
    moved = (soft != pictures).any((1, 2, 3))
    assert 0.25 < moved.mean() < 0.45
    assert soft[moved].std() < 0.7 * pictures[moved].std()
    flat = np.full((50, 32, 32, 3), 77, np.uint8)
    assert (smoothed(rng, flat) == 77).all()
    assert np.abs(stored(rng, flat).astype(int) - 77).max() <= 2


def test_missing_photographs_are_said_before_the_work(tiny_root) -> None:
    check_tables(tiny_root)
    with pytest.raises(UserError, match=r"flickr8k.train\.parquet"):
        check_tables(tiny_root, ("flickr8k",))


def test_other_data_sets_than_the_known_are_refused() -> None:
    check_others(("flickr8k",))
    with pytest.raises(ConfigError, match=r"data\.others names 'coco'; known are flickr8k"):
        PictureData(root="x", others=("coco",))


def test_strange_images_are_of_several_sorts_without_photographs() -> None:
    found = strange_images(np.random.default_rng(2), 60)
    assert found.shape == (60, 32, 32, 3)
    assert found.dtype == np.uint8
    assert strange_images(np.random.default_rng(2), 0).shape == (0, 32, 32, 3)


def test_furniture_fills_the_unit_sphere() -> None:
    clouds = furniture(np.random.default_rng(3), 12, 256)
    assert clouds.shape == (12, 256, 3)
    assert np.linalg.norm(clouds, axis=2).max(1) == pytest.approx(np.ones(12), abs=1e-4)
    assert clouds.mean(1) == pytest.approx(np.zeros((12, 3)), abs=1e-4)
    assert furniture(np.random.default_rng(3), 0, 256).shape == (0, 256, 3)


def test_tunes_are_loud_enough_and_never_clip() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        wave = strange_wave(rng, 0.8)
        assert wave.shape == (12_800,)
        assert wave.dtype == np.float32
        assert 0.02 < np.abs(wave).max() <= 0.72  # -30 to -3 dB


def test_aimless_paths_move_a_lot() -> None:
    paths = aimless_paths(np.random.default_rng(5), 30)
    assert paths.shape == (30, KNOTS, 2)
    assert np.abs(paths).max() <= 1.0
    assert (np.abs(np.diff(paths, axis=1)).sum((1, 2)) > 3.0).all()


def test_training_batches_of_every_sense_hold_strange_things(tiny_world) -> None:
    from imagebind_llm.common.modality import Modality

    for modality in (Modality.POINT, Modality.IMU):
        tensor, labels, rows = tiny_world.modality_batch(modality, np.random.default_rng(6), 200)
        unclear = labels == UNCLEAR
        assert 0.05 < unclear.float().mean() < 0.3
        assert (rows[unclear] == -1).all()
        assert tensor.isfinite().all()


def test_augmented_photographs_keep_still_frames_alike() -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    labels = np.full(64, 13)
    clips = augment_images(pixels, labels, np.random.default_rng(8), 0.0)
    assert (clips[:, :, 0] == clips[:, :, 1]).all()
    again = augment_images(pixels, labels, np.random.default_rng(8), 0.0)
    assert (clips == again).all()
    assert clips.isfinite().all()
