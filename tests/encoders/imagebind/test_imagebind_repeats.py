"""Equal clips and crops are encoded once, and nothing else changes."""

import copy

import numpy as np
import pytest
import torch

from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.repeats import once_each
from imagebind_llm.media.audio import load_audio
from imagebind_llm.media.video import frames_to_tensor
from nano_lab.world.settings import nano_media_settings


class Counted:
    """Counts the rows that a trunk of the model is given."""

    def __init__(self, model, trunk):
        self.rows = []
        self.handle = model.modality_trunks[trunk].register_forward_hook(
            lambda module, given, output: self.rows.append(len(given[0]))
        )

    def __enter__(self):
        return self.rows

    def __exit__(self, *error):
        self.handle.remove()


@pytest.fixture(scope="module")
def settings():
    return nano_media_settings()


def one_by_one(model, modality, clips):
    """The mean over clips, each encoded by itself."""
    every = torch.stack([model.features(modality, clips[:, n]).embedding for n in range(clips.shape[1])])
    return torch.nn.functional.normalize(every.mean(0), dim=-1)


@pytest.mark.parametrize(("seconds", "different"), [(0.4, 1), (2.0, 1), (2.5, 3)])
def test_a_short_sound_is_heard_once(frozen_nano, settings, seconds, different):
    rate = settings.audio.sample_rate
    wave = np.random.default_rng(0).normal(size=int(seconds * rate)).astype(np.float32) * 0.1 + 0.02
    clips = load_audio(wave, settings.audio)[None]
    with Counted(frozen_nano, "audio") as rows:
        found = frozen_nano.encode(Modality.AUDIO, clips)
    assert rows == [different]
    torch.testing.assert_close(found, one_by_one(frozen_nano, Modality.AUDIO, clips), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("still", "height", "width", "different"),
    [(True, 40, 40, 1), (True, 40, 80, 3), (False, 40, 40, 5), (False, 40, 80, 15)],
)
def test_equal_crops_and_clips_of_a_film_are_seen_once(
    frozen_nano, settings, still, height, width, different
):
    assert (settings.video.clips, settings.video.crops) == (5, 3)
    film = np.random.default_rng(1).integers(0, 256, (5, 2, height, width, 3), dtype=np.uint8)
    if still:  # as a film shorter than a clip is read
        film[:] = film[0]
    clips = frames_to_tensor(film, settings.video)[None]
    assert clips.shape[1] == 15
    with Counted(frozen_nano, "vision") as rows:
        found = frozen_nano.encode(Modality.VIDEO, clips)
    assert rows == [different]
    torch.testing.assert_close(found, one_by_one(frozen_nano, Modality.VIDEO, clips), atol=1e-6, rtol=0)


def test_repeats_are_found_across_a_batch_and_told_apart_by_every_bit(frozen_nano, media):
    clips = torch.stack([media["audio"], media["audio"]], dim=1)  # [2, 2 equal clips, …]
    with Counted(frozen_nano, "audio") as rows:
        frozen_nano.features(Modality.AUDIO, clips)
        clips[1, 1, 0, 3, 5] += 1e-6
        changed = frozen_nano.features(Modality.AUDIO, clips).prenorm
    assert rows == [2, 3]
    expected = torch.stack([frozen_nano.features(Modality.AUDIO, clips[:, n]).prenorm for n in range(2)])
    torch.testing.assert_close(changed, expected.mean(0), atol=2e-5, rtol=0)


def test_in_training_every_clip_counts(frozen_nano, media):
    model = copy.deepcopy(frozen_nano).train()
    clips = torch.stack([media["audio"], media["audio"]], dim=1)
    with Counted(model, "audio") as rows:
        model.features(Modality.AUDIO, clips)
    assert rows == [4]


def test_gradients_of_repeats_add_up():
    weight = torch.randn(6, 3, requires_grad=True)
    rows = torch.randn(2, 6)[[0, 1, 0, 0]]
    once_each(rows, lambda given: given @ weight).pow(2).sum().backward()
    found, weight.grad = weight.grad, None
    (rows @ weight).pow(2).sum().backward()
    torch.testing.assert_close(found, weight.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_rows_of_any_precision_and_none(dtype):
    rows = torch.arange(6).view(3, 2)[[0, 0, 1, 2, 1]].to(dtype)
    seen = []

    def encode(given):
        seen.append(len(given))
        return given.float() * 2

    assert torch.equal(once_each(rows, encode), rows.float() * 2)
    assert once_each(rows[:0], encode).shape == (0, 2)
    assert seen == [3, 0]
