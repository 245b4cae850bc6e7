"""Augmentation keeps what a picture means; unclear pictures are varied."""

import numpy as np
import torch

from imagebind_llm.media.image import image_to_tensor
from nano_lab.world.augment import augment_images, plain_images
from nano_lab.world.settings import nano_media_settings
from nano_lab.world.unclear import unclear_images


def test_augmented_pictures_are_fresh_reproducible_and_finite(tiny_world) -> None:
    images = tiny_world.images
    first = augment_images(images.pixels, images.labels, np.random.default_rng(1))
    again = augment_images(images.pixels, images.labels, np.random.default_rng(1))
    other = augment_images(images.pixels, images.labels, np.random.default_rng(2))
    assert first.shape == (60, 3, 32, 32)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.isfinite().all()


def test_only_the_asked_share_of_clips_moves(tiny_world) -> None:
    images = tiny_world.images
    rows = images.rows_of("mnist")
    still = augment_images(images.pixels[rows], images.labels[rows], np.random.default_rng(0), 0.0)
    moving = augment_images(images.pixels[rows], images.labels[rows], np.random.default_rng(0), 1.0)
    assert still.shape == (30, 3, 2, 32, 32)
    gap = (moving[:, :, 0] - moving[:, :, 1]).abs().amax((1, 2, 3))
    assert (gap > 0.1).all()
    # The frames of a still clip differ by the camera's grain at most.
    still_gap = (still[:, :, 0] - still[:, :, 1]).abs().amax((1, 2, 3))
    assert (still_gap < gap).float().mean() > 0.9


def test_digits_are_never_mirrored() -> None:
    """Ink that fills only the left half stays left of the middle on average, photographs do not."""
    pixels = np.zeros((200, 32, 32, 3), np.uint8)
    pixels[:, 8:24, 8:14] = 255
    axis = torch.linspace(-1.0, 1.0, 32)

    def sides(label: int) -> torch.Tensor:
        out = augment_images(pixels, np.full(200, label), np.random.default_rng(3)).mean(1)
        edges = (out - out.flatten(1).median(1).values[:, None, None]).abs().sum(1)
        return (edges * axis).sum(1) / edges.sum(1)

    assert (sides(2) < 0).float().mean() > 0.75
    assert 0.3 < (sides(13) < 0).float().mean() < 0.7


def test_plain_pictures_equal_the_media_pipeline(tiny_world) -> None:
    from PIL import Image

    pixels = tiny_world.images.pixels[:4]
    wanted = [image_to_tensor(Image.fromarray(p), nano_media_settings().image) for p in pixels]
    torch.testing.assert_close(plain_images(pixels), torch.stack(wanted), atol=1e-5, rtol=0)


def test_unclear_pictures_include_blank_and_busy_ones(tiny_world) -> None:
    pictures = unclear_images(np.random.default_rng(0), 300, tiny_world.images.pixels)
    spread = pictures.reshape(300, -1).std(1)
    assert pictures.shape == (300, 32, 32, 3)
    assert pictures.dtype == np.uint8
    assert (spread < 1).any()
    assert (spread > 60).any()
    assert len(np.unique(pictures.reshape(300, -1), axis=0)) > 250
