"""Derived senses keep the digit, equal the media pipeline, and come in the shapes the encoders take."""

import numpy as np
import pytest
import torch

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media import load_media
from imagebind_llm.media.text import tokenize
from nano_lab.captions import captions
from nano_lab.world.concepts import UNCLEAR
from nano_lab.world.extrude import any_turns, extruded_points, small_turns
from nano_lab.world.hearing import spectrum
from nano_lab.world.heat import diffuse, heat_picture, thermal_batch
from nano_lab.world.motion import GRAVITY, imu_batch, unclear_motion, writing_motion
from nano_lab.world.penpath import pen_paths, thin
from nano_lab.world.relief import depth_batch, relief_depth
from nano_lab.world.settings import nano_media_settings
from nano_lab.world.shapes import CUBE_TURNS
from nano_lab.world.testing import modality_test_set

SETTINGS = nano_media_settings()
SHAPES = {
    Modality.AUDIO: (1, 64, 204),
    Modality.POINT: (512, 3),
    Modality.DEPTH: (1, 32, 32),
    Modality.THERMAL: (1, 32, 32),
    Modality.IMU: (6, 2000),
    Modality.VIDEO: (15, 3, 2, 32, 32),
}
DERIVED = [modality for modality in SHAPES if modality is not Modality.AUDIO]


@pytest.mark.parametrize("modality", list(SHAPES))
def test_batches_have_the_encoders_shape_and_repeat(tiny_world, modality) -> None:
    tensor, labels, rows = tiny_world.modality_batch(modality, np.random.default_rng(5), 40)
    again = tiny_world.modality_batch(modality, np.random.default_rng(5), 40)
    assert tensor.shape == (40, *SHAPES[modality])
    assert tensor.dtype == torch.float32
    assert tensor.isfinite().all()
    assert labels.dtype == rows.dtype == torch.int64
    assert all(torch.equal(a, b) for a, b in zip((tensor, labels, rows), again, strict=True))
    assert (rows[labels == UNCLEAR] == -1).all()
    if modality in DERIVED:
        paired = rows >= 0
        assert paired.any()
        wanted = torch.from_numpy(tiny_world.images.labels)[rows[paired]]
        assert torch.equal(labels[paired], wanted)


def test_images_have_no_sense_batches(tiny_world) -> None:
    with pytest.raises(UserError, match="image"):
        tiny_world.modality_batch(Modality.IMAGE, np.random.default_rng(0), 4)


def test_texts_are_captions_with_and_without_a_mark_or_in_sentences(tiny_world) -> None:
    tokens, labels, rows = tiny_world.modality_batch(Modality.TEXT, np.random.default_rng(5), 1500)
    again = tiny_world.modality_batch(Modality.TEXT, np.random.default_rng(5), 1500)
    assert all(torch.equal(a, b) for a, b in zip((tokens, labels, rows), again, strict=True))
    assert (rows == -1).all()
    assert set(labels.tolist()) == set(range(UNCLEAR + 1))
    bare = {label: tokenize(list(captions(label)), SETTINGS.text) for label in range(UNCLEAR + 1)}
    plain = sum((bare[int(label)] == row).all(1).any() for row, label in zip(tokens, labels, strict=True))
    assert 200 < plain < 600  # half are bare captions, and of these four of nine have no mark
    stop = tokenize([text + "." for text in captions(15)], SETTINGS.text)
    dogs = tokens[labels == 15]
    assert any((stop == row).all(1).any() for row in dogs)


def test_batch_forms_equal_the_media_pipeline(tiny_world) -> None:
    rng = np.random.default_rng(0)
    rows = tiny_world.images.rows_of("mnist")[:6]
    ink = torch.from_numpy(tiny_world.images.ink(rows))
    metres, celsius = relief_depth(ink, rng, 32), heat_picture(ink, rng, 32)
    motion = writing_motion(tiny_world.pen_paths(rows), rng, 2000, 400.0)
    pairs = [
        (Modality.DEPTH, metres.numpy(), depth_batch(metres, SETTINGS.depth)),
        (Modality.THERMAL, celsius.numpy(), thermal_batch(celsius, SETTINGS.thermal)),
        (Modality.IMU, motion, imu_batch(motion, SETTINGS.imu)),
    ]
    for modality, raw, batch in pairs:
        wanted = torch.stack([load_media(modality, item, SETTINGS) for item in raw])
        torch.testing.assert_close(batch, wanted, atol=2e-4, rtol=0)


def test_spectra_equal_the_media_pipeline() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    wave -= wave.mean()
    heard = load_media(Modality.AUDIO, wave, SETTINGS)[0, 0]
    own = (spectrum(wave, SETTINGS.audio) - SETTINGS.audio.mean) / SETTINGS.audio.std
    np.testing.assert_allclose(heard[:, : len(own)].T.numpy(), own, atol=1e-3)


def test_heat_spreads_and_is_conserved() -> None:
    field = torch.zeros(2, 33, 33)
    field[:, 16, 16] = 1.0
    out = diffuse(field, np.array([1.0, 2.0]))
    torch.testing.assert_close(out.sum((1, 2)), torch.ones(2), atol=5e-3, rtol=0)
    offset = torch.arange(33.0) - 16
    variance = (out.sum(1) * offset**2).sum(1)
    torch.testing.assert_close(variance, torch.tensor([1.0, 4.0]), atol=0.1, rtol=0)


def test_relief_stands_within_the_documented_distances(tiny_world) -> None:
    ink = torch.from_numpy(tiny_world.images.ink(tiny_world.images.rows_of("mnist")))
    metres = relief_depth(ink, np.random.default_rng(0), 32)
    assert metres.min() > 0.2
    assert metres.max() < 7.0
    assert metres.flatten(1).median(1).values.min() > 0.4


def test_thinning_leaves_a_connected_line_one_pixel_wide() -> None:
    ink = np.zeros((1, 20, 20), bool)
    ink[0, 3:17, 8:12] = True
    line = thin(ink)[0]
    assert line.any(1)[5:15].all()
    assert line.sum(1).max() == 1
    assert not (line & ~ink[0]).any()


def test_pen_follows_the_strokes(tiny_world) -> None:
    rows = np.array([tiny_world.digit_rows[1][0], tiny_world.digit_rows[7][0]])
    one, seven = pen_paths(tiny_world.images.ink(rows))
    assert one[0, 1] > 0.5 > -0.5 > one[-1, 1]  # from the top down
    assert np.abs(one[:, 0] - one[0, 0]).max() < 0.1
    corner = seven[: len(seven) // 2, 0].argmax()
    assert seven[0, 0] < -0.3  # starts at the left, goes right, then down to the left
    assert seven[corner, 0] > 0.2
    assert seven[-1, 1] < -0.4


def test_blank_paper_has_a_resting_pen() -> None:
    assert not pen_paths(np.zeros((2, 32, 32), np.float32)).any()


def test_motion_integrates_back_to_the_path(tiny_world) -> None:
    """The gyroscope's rates, integrated, trace the digit: right is a turn to the right, up a turn upwards."""
    path = tiny_world.pen_paths(tiny_world.digit_rows[7][:1])
    for seed in range(3):
        reading = writing_motion(path, np.random.default_rng(seed), 2000, 400.0)[0].astype(np.float64)
        bias = np.concatenate([reading[:15], reading[-15:]])[:, 3:5].mean(0)  # the pen rests at both ends
        turned = np.cumsum(reading[:, 3:5] - bias, 0) / 400.0
        x, y = -turned[:, 1], turned[:, 0]
        assert x.max() - x[0] > 0.1  # first to the right
        assert y[-1] - y[0] < -0.1  # at the end far below
        assert np.argmax(x) < np.argmin(y)
        assert abs(np.linalg.norm(reading[:5, :3].mean(0)) - GRAVITY) < 0.4  # at rest only gravity is felt


def test_extruded_clouds_are_centred_and_flat(tiny_world) -> None:
    ink = torch.from_numpy(tiny_world.images.ink(tiny_world.images.rows_of("mnist")[:8]))
    clouds = extruded_points(ink, np.random.default_rng(0), 512)
    np.testing.assert_allclose(clouds.mean(1), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(clouds, axis=2).max(1), 1.0, atol=1e-5)
    assert (clouds[..., 2].std(1) < clouds[..., 1].std(1)).all()


def test_turns_are_rotations() -> None:
    rng = np.random.default_rng(0)
    assert len(np.unique(CUBE_TURNS.reshape(24, 9), axis=0)) == 24
    for turns in (CUBE_TURNS, any_turns(rng, 50), small_turns(rng, 50, 25.0)):
        np.testing.assert_allclose(
            turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (len(turns), 1, 1)), atol=1e-5
        )
        np.testing.assert_allclose(np.linalg.det(turns), 1.0, atol=1e-5)
    angle = np.degrees(np.arccos((np.trace(small_turns(rng, 50, 25.0), axis1=1, axis2=2) - 1) / 2))
    assert angle.max() <= 25.0


@pytest.mark.parametrize("modality", list(SHAPES))
def test_test_sets_hold_raw_media_and_what_nano_sees(tiny_test_world, modality) -> None:
    items = modality_test_set(tiny_test_world, modality, seed=1, cap=6)
    again = modality_test_set(tiny_test_world, modality, seed=1, cap=6)
    kinds = {item.kind for item in items}
    assert "unclear" in kinds
    for item, other in zip(items[:6], again, strict=False):
        assert torch.equal(item.tensor, other.tensor)
        assert torch.equal(item.tensor, load_media(modality, item.source, tiny_test_world.settings))
    if modality is Modality.AUDIO:
        assert sum(item.kind == "fsdd" for item in items) == 10
        assert items[0].tensor.shape == (3, *SHAPES[modality])
    else:
        assert "derived digits" in kinds
        assert items[0].tensor.shape == SHAPES[modality]
        for item in items:
            assert item.image_index < 0 or tiny_test_world.images.labels[item.image_index] == item.label


def test_test_sets_need_the_test_split(tiny_world) -> None:
    with pytest.raises(UserError, match="test split"):
        modality_test_set(tiny_world, Modality.DEPTH)


def test_no_unclear_motion_is_an_empty_batch() -> None:
    assert unclear_motion(np.random.default_rng(0), 0, 2000, 400.0).shape == (0, 2000, 6)
