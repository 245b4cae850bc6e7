"""Tokens of encoders: vectors of a medium's parts beside its own, and their groups."""

import pytest
import torch
import torch.nn.functional as F

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel
from imagebind_llm.encoders.tokens import EncodedTokens, TokenEncoder, cells, grouped, with_groups

SHAPES = {
    "image": ((3, 32, 32), (4, 4)),
    "video": ((3, 2, 32, 32), (4, 4)),
    "audio": ((1, 64, 204), None),
    "depth": ((1, 32, 32), (4, 4)),
    "thermal": ((1, 32, 32), (4, 4)),
}


@pytest.fixture(scope="module")
def nano():
    torch.manual_seed(3)
    return ImageBindModel(ImageBindConfig.nano()).eval().requires_grad_(False)


def media(name, count=2):
    shape, _ = SHAPES[name]
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(5))


def test_the_optional_part_of_the_contract(nano):
    assert isinstance(nano, TokenEncoder)
    assert nano.token_modalities == {Modality(name) for name in SHAPES}
    assert not isinstance(torch.nn.Linear(1, 1), TokenEncoder)


@pytest.mark.parametrize("name", SHAPES)
def test_the_vector_is_that_of_encode_and_tokens_are_unit_rows(nano, name):
    modality = Modality(name)
    found = nano.tokens(modality, media(name))
    torch.testing.assert_close(found.vectors, nano.encode(modality, media(name)), atol=2e-6, rtol=0)
    grid = SHAPES[name][1] or (nano.config.audio.grid[1],)
    assert found.tokens.shape == (2, *grid, 128)
    assert found.tokens.dtype == torch.float32
    torch.testing.assert_close(found.tokens.norm(dim=-1), torch.ones(2, *grid))


def test_a_token_is_what_the_head_makes_of_the_trunks_output_there(nano):
    pictures = media("image")
    states = nano.modality_trunks["vision"](nano.modality_preprocessors["vision"](pictures).values)
    own = F.normalize(nano.modality_heads["vision"](states[:, 1 + 4 * 2 + 3]), dim=-1)
    found = nano.tokens(Modality.IMAGE, pictures).tokens
    torch.testing.assert_close(found[:, 2, 3], own)


def test_clips_of_a_sound_follow_each_other_and_those_of_a_film_are_averaged(nano):
    sounds, films = media("audio", 6).unflatten(0, (2, 3)), media("video", 6).unflatten(0, (2, 3))
    heard = nano.tokens(Modality.AUDIO, sounds)
    each = nano.tokens(Modality.AUDIO, sounds.flatten(0, 1)).tokens.unflatten(0, (2, 3))
    torch.testing.assert_close(heard.tokens, each.flatten(1, 2), atol=2e-6, rtol=0)
    torch.testing.assert_close(heard.vectors, nano.encode(Modality.AUDIO, sounds), atol=2e-6, rtol=0)
    seen = nano.tokens(Modality.VIDEO, films).tokens
    each = nano.tokens(Modality.VIDEO, films.flatten(0, 1)).tokens.unflatten(0, (2, 3))
    torch.testing.assert_close(seen, F.normalize(each.mean(1), dim=-1), atol=2e-6, rtol=0)


def test_what_has_no_tokens_or_another_shape_is_refused(nano):
    with pytest.raises(UserError, match="no tokens of text; it has of audio, depth, image, thermal, video"):
        nano.tokens(Modality.TEXT, torch.zeros(1, 77, dtype=torch.int64))
    with pytest.raises(UserError, match="image batch has shape"):
        nano.tokens(Modality.IMAGE, torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (2, (1, 2)), (4, (2, 2)), (6, (2, 3)), (7, (1, 7))]
)
def test_fields_are_as_near_to_a_square_as_their_number_allows(count, shape):
    assert cells(count) == shape


def test_groups_are_fields_of_pictures_and_stretches_of_sounds():
    tokens = torch.randn(2, 4, 4, 5)
    found = grouped(tokens, 4)
    assert found.shape == (2, 4, 5)
    torch.testing.assert_close(found[:, 1], F.normalize(tokens[:, :2, 2:].mean((1, 2)), dim=-1))
    torch.testing.assert_close(found[:, 2], F.normalize(tokens[:, 2:, :2].mean((1, 2)), dim=-1))
    torch.testing.assert_close(grouped(tokens, 16), F.normalize(tokens.flatten(1, 2), dim=-1))
    sound = tokens.flatten(1, 2)
    torch.testing.assert_close(grouped(sound, 4)[:, 3], F.normalize(sound[:, 12:].mean(1), dim=-1))
    with pytest.raises(UserError, match=r"32 groups .* \(4 x 8\), but the encoder gives 4 x 4"):
        grouped(tokens, 32)


def test_the_whole_comes_before_its_groups():
    class Encoder:
        token_modalities = frozenset({Modality.IMAGE})

        def tokens(self, modality, batch):
            return EncodedTokens(batch[:, 0], batch[:, 1:])

    rows = F.normalize(torch.randn(3, 5, 6), dim=-1)
    found = with_groups(Encoder(), Modality.IMAGE, rows, 4)
    torch.testing.assert_close(found, rows)
