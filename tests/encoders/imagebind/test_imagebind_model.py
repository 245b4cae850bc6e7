"""How the encoder behaves: unit rows, clips, batches, gradients, training noise, shapes refused."""

import copy
import dataclasses
import pickle

import pytest
import torch
import torch.nn.functional as F

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, JointEncoder
from imagebind_llm.encoders.imagebind.config import ConvLayer, GridConfig, StemConfig, TrunkConfig
from imagebind_llm.encoders.imagebind.stems import GridStem
from imagebind_llm.encoders.imagebind.transformer import Block, DropPath, PointBlock, Trunk
from imagebind_llm.encoders.imagebind.weights import skeleton

ALL = [modality.value for modality in Modality]


def test_protocol_and_properties(frozen_nano):
    assert isinstance(frozen_nano, JointEncoder)
    assert frozen_nano.modalities == frozenset(Modality)
    assert frozen_nano.embedding_dim == 128
    without = dataclasses.replace(ImageBindConfig.nano(), point=None, vision=None)
    assert skeleton(without).modalities == frozenset(Modality) - {
        Modality.POINT,
        Modality.IMAGE,
        Modality.VIDEO,
    }


@pytest.mark.parametrize("name", ALL)
def test_unit_rows_and_batch_independence(frozen_nano, media, name):
    modality = Modality(name)
    out = frozen_nano.encode(modality, media[name])
    assert out.shape == (2, 128)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.norm(dim=1), torch.ones(2))
    single = torch.cat([frozen_nano.encode(modality, row[None]) for row in media[name]])
    torch.testing.assert_close(out, single, atol=2e-6, rtol=0)
    assert torch.equal(out, frozen_nano.encode(modality, media[name]))


@pytest.mark.parametrize("name", ["image", "video", "audio", "depth", "thermal"])
def test_clips_are_averaged(frozen_nano, media, name):
    modality = Modality(name)
    clips = torch.stack([media[name], media[name].flip(0) * 0.5], dim=1)  # [2, 2 clips, …]
    out = frozen_nano.features(modality, clips)
    parts = [frozen_nano.features(modality, clips[:, i]) for i in range(2)]
    for found, one, other in zip(out, *parts, strict=True):  # embedding, then prenorm
        torch.testing.assert_close(found, (one + other) / 2, atol=2e-5, rtol=0)
    unit = frozen_nano.encode(modality, clips)
    torch.testing.assert_close(unit, F.normalize(out.embedding, dim=1), atol=2e-6, rtol=0)
    assert (out.embedding.norm(dim=1) < parts[0].embedding.norm(dim=1)).all()


def test_image_equals_video_of_equal_frames(frozen_nano, media):
    still = frozen_nano.encode(Modality.IMAGE, media["image"])
    twice = media["image"][:, :, None].repeat(1, 1, 2, 1, 1)
    torch.testing.assert_close(frozen_nano.encode(Modality.VIDEO, twice), still, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("image", (2, 3, 31, 32), "[B, 3, 32, 32] or [B, clips, 3, 32, 32]"),
        ("image", (3, 32, 32), "[B, 3, 32, 32]"),
        ("video", (2, 3, 3, 32, 32), "[B, 3, 2, 32, 32]"),
        ("audio", (2, 0, 1, 64, 204), "[B, 1, 64, 204]"),
        ("imu", (2, 6, 1999), "[B, 6, 2000]"),
        ("point", (2, 63, 3), "at least 64"),
        ("point", (2, 512, 4), "[B, N, 3]"),
        ("text", (2, 78), "[B, 77]"),
        ("text", (2, 77), "token ids"),
    ],
)
def test_wrong_shapes_are_refused(frozen_nano, name, shape, expected):
    with pytest.raises(UserError) as caught:
        frozen_nano.encode(Modality(name), torch.zeros(shape))
    assert expected in str(caught.value)
    assert name in str(caught.value)


def test_absent_modality_is_refused(frozen_nano):
    config = ImageBindConfig(128, depth=frozen_nano.config.depth)
    with pytest.raises(UserError, match="no audio; it knows depth"):
        ImageBindModel(config).encode(Modality.AUDIO, torch.zeros(1, 1, 64, 204))


@pytest.mark.parametrize("name", ALL)
def test_gradient_reaches_every_parameter(media, name):
    torch.manual_seed(0)
    trunk = "vision" if name in ("image", "video") else name
    quiet = {
        key: dataclasses.replace(part, trunk=dataclasses.replace(part.trunk, drop_path=0.0))
        for key, part in ImageBindConfig.nano().parts()
        if key == trunk
    }
    model = ImageBindModel(ImageBindConfig(128, **quiet)).train()
    out = model.features(Modality(name), media[name]).embedding
    (out * torch.randn_like(out)).sum().backward()
    dead = [
        key
        for key, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert dead == []


def test_dropout_and_drop_path_act_in_training_only(media):
    torch.manual_seed(0)
    model = ImageBindModel(ImageBindConfig(128, imu=ImageBindConfig.nano().imu))
    with torch.no_grad():
        assert not torch.equal(*(model.encode(Modality.IMU, media["imu"]) for _ in range(2)))
        model.eval()
        assert torch.equal(*(model.encode(Modality.IMU, media["imu"]) for _ in range(2)))


def test_drop_path_grows_with_depth_and_keeps_the_mean():
    trunk = Trunk(TrunkConfig(16, blocks=4, heads=2, drop_path=0.6))
    assert [block.drop_path.rate for block in trunk.blocks] == pytest.approx([0.0, 0.2, 0.4, 0.6])
    torch.manual_seed(0)
    dropped = DropPath(0.6)(torch.ones(20_000, 1, 1))
    assert dropped.unique().tolist() == pytest.approx([0.0, 2.5])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)


def test_random_point_start_changes_the_choice_of_centres(media):
    torch.manual_seed(0)
    model = ImageBindModel(ImageBindConfig(128, point=ImageBindConfig.nano().point)).eval()
    with torch.no_grad():
        plain = model.encode(Modality.POINT, media["point"])
        model.point_trunk.point_encoder.start = torch.Generator().manual_seed(1)
        assert not torch.allclose(model.encode(Modality.POINT, media["point"]), plain, atol=1e-6)


@pytest.mark.parametrize("frames", [2, 4])
def test_tubelet_stem_equals_a_3d_convolution(frames):
    torch.manual_seed(0)
    stem_config = StemConfig(6, (2, 3, 3), (2, 2, 2), (0, 1, 1))
    config = GridConfig(3, (8, 8), stem_config, TrunkConfig(6, 1, 2), frames=frames)
    stem = GridStem(config)
    clip = torch.randn(2, 3, frames, 8, 8)
    weight = stem.state_dict()["proj.1.weight"]
    expected = F.conv3d(clip, weight, stride=(2, 2, 2), padding=(0, 1, 1))
    tokens = stem(clip)
    assert tokens.shape[1] == frames // 2 * 16
    torch.testing.assert_close(tokens, expected.flatten(2).transpose(1, 2), atol=1e-6, rtol=1e-5)
    still = clip[:, :, 0]
    repeated = clip[:, :, :1].repeat(1, 1, frames, 1, 1)
    repeated = F.conv3d(repeated, weight, stride=(2, 2, 2), padding=(0, 1, 1))
    torch.testing.assert_close(stem(still), repeated.flatten(2).transpose(1, 2), atol=1e-6, rtol=1e-5)


def test_refined_stem_keeps_the_order_of_tokens():
    """A mark in one corner of one window of time must show in the token of that place."""
    torch.manual_seed(0)
    convs = (ConvLayer(6, kernel=1, pool=2, residual=True),)
    stem_config = StemConfig(6, (2, 1, 1), (2, 1, 1), (0, 0, 0), convs=convs)
    stem = GridStem(GridConfig(3, (4, 8), stem_config, TrunkConfig(6, 1, 2), frames=4)).eval()
    clip = torch.zeros(1, 3, 4, 4, 8)
    clip[0, :, 2:, 3, 0] = 5.0  # second window, bottom row, left column
    changed = (stem(clip) - stem(torch.zeros_like(clip))).abs().sum(-1)[0]
    assert changed.nonzero().flatten().tolist() == [1 * (2 * 4) + 1 * 4 + 0]


def test_position_is_added_before_every_block():
    torch.manual_seed(0)
    trunk = Trunk(TrunkConfig(8, blocks=2, heads=2)).eval()
    x, position = torch.randn(1, 3, 8), torch.randn(1, 3, 8)
    expected = trunk.blocks[1](trunk.blocks[0](x + position) + position)
    assert torch.equal(trunk(x, position=position), expected)


@pytest.mark.parametrize("name", ALL)
def test_empty_batch(frozen_nano, media, name):
    assert frozen_nano.encode(Modality(name), media[name][:0]).shape == (0, 128)


def test_copy_and_pickle(frozen_nano, media):
    model = ImageBindModel(ImageBindConfig(128, depth=frozen_nano.config.depth)).eval()
    known = model.fingerprint
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.fingerprint == known
        assert torch.equal(
            twin.encode(Modality.DEPTH, media["depth"]), model.encode(Modality.DEPTH, media["depth"])
        )


@pytest.mark.parametrize(("block", "bias_kv"), [(Block, True), (Block, False), (PointBlock, False)])
def test_the_first_token_alone_is_that_of_the_whole_stream(block, bias_kv):
    torch.manual_seed(0)
    trunk = Trunk(TrunkConfig(24, blocks=3, heads=4, bias_kv=bias_kv), block)
    for parameter in trunk.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 7, 24)
    seen = []
    trunk.blocks[-1].mlp.register_forward_hook(lambda module, given, out: seen.append(out.shape[1]))
    whole, alone = trunk(x), trunk(x, first=True)
    assert seen == [7, 1]
    torch.testing.assert_close(alone, whole[:, :1], atol=1e-5, rtol=1e-5)
    first = [torch.autograd.grad(out[:, 0].pow(2).sum(), list(trunk.parameters())) for out in (whole, alone)]
    for one, other in zip(*first, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
