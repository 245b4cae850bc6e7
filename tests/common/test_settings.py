"""One reader of settings for media, encoders and models: it names the key, the value and what it wants."""

import math
from dataclasses import dataclass
from typing import Literal

import pytest

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import build, overlay, parse_scalar
from imagebind_llm.encoders.imagebind import ImageBindConfig
from imagebind_llm.encoders.pe_av.settings import PeAvSettings
from imagebind_llm.media.settings import AudioSettings, ImageSettings, MediaSettings, TextSettings
from imagebind_llm.model.configuration import ImageBindLLMConfig


@dataclass(frozen=True)
class Numbers:
    share: float = 0.5
    pair: tuple[float, float] = (0.0, 1.0)
    kind: Literal[1, 2] = 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MediaSettings.from_dict({"imgae": {}}), "'media.imgae'; did you mean 'media.image'?"),
        (
            lambda: MediaSettings.from_dict({"image": {"sise": 3}}),
            "'media.image.sise'; did you mean 'media.image.size'?",
        ),
        (
            lambda: MediaSettings.from_dict({"sensors": {"sonar": {"kind": "grid"}}}),
            "media.sensors.sonar.shape is missing; add it",
        ),
        (
            lambda: MediaSettings.from_dict({"image": [1]}),
            "media.image is [1]; expected a mapping of settings, not list",
        ),
        (lambda: PeAvSettings.from_dict({"frame": 3}), "'media.frame'; did you mean 'media.frames'?"),
        (lambda: PeAvSettings.from_dict({"hop": "a"}), "media.hop is 'a'; expected int"),
        (lambda: PeAvSettings(frames=0), "PeAvSettings.frames is 0; expected more than 0"),
        (
            lambda: ImageBindConfig.from_dict({**ImageBindConfig.nano().to_dict(), "vison": {}}),
            "'imagebind.vison'; did you mean 'imagebind.vision'?",
        ),
        (lambda: ImageBindLLMConfig(bind={"dept": 3}), "'bind.dept'; did you mean 'bind.depth'?"),
        (lambda: ImageBindLLMConfig(injection={"query": 3}), "injection.query is 3; expected bool"),
        (lambda: ImageBindLLMConfig(lora={"rank": "a"}), "lora.rank is 'a'; expected int"),
        (lambda: ImageSettings(size=1.5), "ImageSettings.size is 1.5; expected int"),
        (lambda: ImageSettings(alpha="red"), "ImageSettings.alpha is 'red'; use one of 'drop'"),
        (lambda: AudioSettings(mean=math.nan), "AudioSettings.mean is nan; expected a finite number"),
        (lambda: AudioSettings(std=-1.0), "AudioSettings.std is -1.0; expected more than 0"),
        (lambda: AudioSettings(std="inf"), "AudioSettings.std is inf; expected a finite number"),
        (lambda: build(Numbers, {"share": math.nan}), "share is nan; expected a finite number"),
        (lambda: build(Numbers, {"share": -math.inf}), "share is -inf; expected a finite number"),
        (lambda: build(Numbers, {"share": "nan"}), "share is nan; expected a finite number"),
        (lambda: build(Numbers, {"pair": [1, "1e999"]}), "pair[1] is inf; expected a finite number"),
        (lambda: build(Numbers, {"share": 10**400}), "share is a whole number of 333 hex digits"),
        (lambda: build(Numbers, {"share": True}), "share is True; expected float"),
        (lambda: build(Numbers, {"kind": True}), "kind is True; use one of 1, 2"),
        (lambda: build(Numbers, {"kind": 1.0}), "kind is 1.0; use one of 1, 2"),
        (lambda: parse_scalar("1" * 5000), "as a value; quote it or write it as YAML"),
        (lambda: parse_scalar("[" * 5000), "as a value; quote it or write it as YAML"),
        (lambda: TextSettings(end_token_on_truncation=1), "end_token_on_truncation is 1; expected bool"),
    ],
)
def test_a_wrong_setting_is_named(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_made_in_python_or_read_they_are_equal():
    made = ImageSettings(mean=[0, 1, 2])
    assert made.mean == (0.0, 1.0, 2.0)
    assert made == MediaSettings.from_dict({"image": {"mean": [0, 1, 2]}}).image
    config = ImageBindLLMConfig(injection={"layers": (1, 2)}, lora={})
    assert config.injection == {"style": "residual", "layers": [1, 2], "query": None, "gate_std": 0.0}
    assert ImageBindLLMConfig(injection=config.injection, lora=config.lora).lora == config.lora


def test_changes_are_laid_over_group_by_group():
    base = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert overlay(base, {"a": {"c": {"d": 4}}, "e": {"f": 5}}) == {
        "a": {"b": 1, "c": {"d": 4}},
        "e": {"f": 5},
    }
    assert base == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
