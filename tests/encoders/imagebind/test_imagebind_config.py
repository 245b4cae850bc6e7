"""Configurations: plain values and back, and contradictions named."""

import dataclasses
import json

import pytest

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.encoders.imagebind import ImageBindConfig
from imagebind_llm.encoders.imagebind.config import ConvLayer, StemConfig

CONFIGS = [ImageBindConfig.huge(), ImageBindConfig.huge(point=True), ImageBindConfig.nano()]


@pytest.mark.parametrize("config", CONFIGS)
def test_json_round_trip(config):
    assert ImageBindConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_huge_grids():
    huge = ImageBindConfig.huge()
    assert huge.vision.grid == (1, 16, 16)
    assert huge.audio.grid == (12, 19)
    assert huge.depth.grid == (14, 14)


def test_grid_follows_padding_strides_and_pools():
    stem = StemConfig(8, (3, 3), (2, 1), (1, 0), convs=(ConvLayer(8, pool=2), ConvLayer(8, stride=2)))
    assert stem.grid((33, 20)) == (4, 5)


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        ("vision.trunk.heads", 5, ["vision.trunk.width", "vision.trunk.heads"]),
        ("vision.trunk.width", 96, ["vision.stem.convs[", "vision.trunk.width"]),
        ("vision.stem.padding", [1, 1, 1], ["vision.stem.padding", "time"]),
        ("vision.stem.kernel", [3, 3], ["vision.stem.kernel", "vision.frames"]),
        ("vision.frames", 0, ["vision.stem.kernel", "vision.frames"]),
        ("vision.size", [4, 4], ["vision.stem", "vision.size"]),
        ("imu.kernel_size", 7, ["imu.length", "imu.kernel_size"]),
        ("imu.kernel_size", 0, ["imu.kernel_size"]),
        ("imu.kernel_size", "8", ["imagebind.imu.kernel_size", "int"]),
        ("imu.kernel_size", True, ["imagebind.imu.kernel_size", "int"]),
        ("imu.trunk.drop_path", 1.0, ["imu.trunk.drop_path"]),
        ("text.trunk.bias_kv", True, ["text.trunk.bias_kv"]),
        ("text.head.dropout", 0.5, ["text.head.dropout"]),
        ("point.trunk.qkv_bias", True, ["point.trunk", "qkv_bias"]),
        ("audio.head.logit_scale", -1, ["audio.head.logit_scale"]),
        ("audio.head.logit_scale", None, []),
        ("text.head.logit_scale", None, ["text.head.learn_scale", "text.head.logit_scale"]),
        ("audio.colour", 1, ["imagebind.audio", "colour"]),
        ("audio.stem", 3, ["imagebind.audio.stem"]),
    ],
)
def test_contradictions_name_the_fields(path, value, names):
    values = ImageBindConfig.nano().to_dict()
    *parents, last = path.split(".")
    table = values
    for parent in parents:
        table = table[parent]
    table[last] = value
    if not names:
        ImageBindConfig.from_dict(values)
        return
    with pytest.raises(ConfigError) as caught:
        ImageBindConfig.from_dict(values)
    assert all(name in str(caught.value) for name in names), caught.value


def test_missing_setting_and_empty_configuration():
    values = ImageBindConfig.nano().to_dict()
    del values["text"]["trunk"]["width"]
    with pytest.raises(ConfigError, match=r"imagebind\.text\.trunk\.width is missing"):
        ImageBindConfig.from_dict(values)
    with pytest.raises(ConfigError, match="no modality"):
        ImageBindConfig(128)


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ImageBindConfig.nano().embedding_dim = 3
