"""Modalities that only an encoder knows: names, configuration, towers, loading arrays."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from support.sensor_worlds import CONFIG, tiny_encoder

from imagebind_llm.common.errors import CheckpointError, ConfigError, UserError
from imagebind_llm.common.locate import nano_folder
from imagebind_llm.common.modality import Modality, trunk_name
from imagebind_llm.encoders.imagebind import ImageBindConfig, load_imagebind, save_imagebind
from imagebind_llm.encoders.imagebind.kind import sensor_media
from imagebind_llm.media import MediaError, MediaSettings, SensorSettings, load_media
from imagebind_llm.training.new_sensor import NewSensor, with_sensor

SENSORS = {
    "grid": NewSensor("grid", (2, 12, 8), width=12, blocks=1, heads=2, patch=4),
    "patches": NewSensor("grid", (1, 12, 9), width=12, blocks=1, heads=2, patch=3, stem="linear"),
    "sequence": NewSensor("sequence", (3, 40), width=12, blocks=1, heads=2, patch=8),
    "cloud": NewSensor("cloud", (32, 3), width=12, blocks=1, heads=2, patch=4),
}


def grown(kind: str, name: str = "tactile"):
    new = SENSORS[kind]
    return with_sensor(tiny_encoder(), name, new.config((0.5,), (2.0,)), seed=1)


def test_a_declared_name_is_a_modality_like_the_others():
    touch = Modality.declare("touchpad")
    assert Modality.parse("touchpad") is touch is Modality.declare("touchpad")
    assert (touch, touch.value, touch.name, f"{touch}") == ("touchpad", "touchpad", "TOUCHPAD", "touchpad")
    assert not touch.built_in
    assert Modality.IMAGE.built_in
    assert touch in Modality.known()
    assert touch not in list(Modality)
    assert trunk_name(touch) == "touchpad"
    assert pickle.loads(pickle.dumps(touch)) is touch is copy.deepcopy(touch)
    assert pickle.loads(pickle.dumps(Modality.AUDIO)) is Modality.AUDIO
    assert {touch: 1}["touchpad"] == 1


def test_a_pickled_sensor_is_known_in_a_process_that_never_met_it():
    import subprocess
    import sys

    dumped = pickle.dumps(Modality.declare("whisker"))
    code = f"import pickle; m = pickle.loads({dumped!r}); print(repr(m), m in type(m).known())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "<Modality.WHISKER: 'whisker'> True"


@pytest.mark.parametrize("name", ["image", "vision", "Touch", "a b", "", "3d", "question", "x" * 33])
def test_names_that_mean_something_else_are_refused(name):
    with pytest.raises(ConfigError, match="cannot be called"):
        Modality.declare(name)


def test_an_unknown_name_lists_what_is_known():
    Modality.declare("sonar")
    with pytest.raises(UserError, match=r"unknown modality 'sonra'.*thermal.*sonar"):
        Modality.parse("sonra")


def test_nano_and_huge_are_what_they_were():
    for config in (ImageBindConfig.nano(), ImageBindConfig.huge(point=True)):
        assert "sensors" not in config.to_dict()
    from imagebind_llm.encoders.registry import load_encoder

    recorded = json.loads((nano_folder() / "config.json").read_text())["fingerprints"]["encoder"]
    assert load_encoder("nano").fingerprint == recorded
    media = json.loads((nano_folder() / "processor_config.json").read_text())["media"]
    assert MediaSettings.from_dict(media).to_dict() == media


@pytest.mark.parametrize("kind", SENSORS)
def test_a_tower_is_added_beside_the_others(kind, tmp_path):
    before, encoder = tiny_encoder(), grown(kind)
    tactile = Modality.parse("tactile")
    assert encoder.modalities == before.modalities | {tactile}
    assert encoder.fingerprint != before.fingerprint
    state = encoder.state_dict()
    assert all(tensor.equal(state[name]) for name, tensor in before.state_dict().items())
    assert {name.split(".")[1] for name in state if name not in before.state_dict()} == {"tactile"}
    encoder.eval()
    batch = torch.randn(5, *SENSORS[kind].shape)
    found = encoder.encode(tactile, batch)
    assert found.shape == (5, 10)
    assert torch.allclose(found.norm(dim=1), torch.ones(5))
    save_imagebind(encoder, tmp_path / "encoder")
    loaded = load_imagebind(tmp_path / "encoder")
    assert loaded.config == encoder.config
    assert loaded.fingerprint == encoder.fingerprint
    assert loaded.encode(tactile, batch).equal(found)


def test_seeds_make_the_new_tower():
    one, two = grown("grid"), grown("grid")
    assert all(t.equal(two.state_dict()[name]) for name, t in one.state_dict().items())


def test_a_sensor_without_weights_is_refused(tmp_path):
    save_imagebind(tiny_encoder(), tmp_path / "encoder")
    (tmp_path / "encoder" / "config.json").write_text(json.dumps(grown("grid").config.to_dict()))
    with pytest.raises(CheckpointError, match=r"missing \(modality_.*tactile"):
        load_imagebind(tmp_path / "encoder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": None}, "exactly one"),
        ({"std": [0.0]}, "above 0"),
        ({"mean": [0.0, 1.0, 2.0]}, "1 or 2"),
        ({"colour": 1}, "unknown setting"),
    ],
)
def test_impossible_sensors_are_refused(change, message):
    sensor = grown("grid").config.to_dict()["sensors"]["tactile"]
    with pytest.raises(ConfigError, match=message):
        ImageBindConfig.from_dict({**CONFIG, "sensors": {"tactile": {**sensor, **change}}})


@pytest.mark.parametrize("name", ["train", "eval", "half", "image", "vision"])
def test_a_tower_cannot_have_a_name_in_use(name):
    with pytest.raises(ConfigError, match=r"cannot be called|knows"):
        grown("grid", name)


def test_a_tower_is_not_added_twice():
    with pytest.raises(ConfigError, match="already"):
        with_sensor(grown("grid"), "tactile", SENSORS["grid"].config((0.0,), (1.0,)), 0)


@pytest.mark.parametrize("patch", [1, 3, 6])
def test_a_convolutional_stem_halves(patch):
    with pytest.raises(ConfigError, match="patch"):
        NewSensor("grid", (1, 24, 24), patch=patch).config((0.0,), (1.0,))


# --- arrays


def media(kind: str) -> MediaSettings:
    return MediaSettings(sensors=sensor_media(grown(kind).config))


def test_arrays_are_standardised(tmp_path):
    array = np.random.default_rng(0).normal(size=(2, 12, 8))
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", other=np.zeros(3), tactile=array)
    for source in (tmp_path / "a.npy", tmp_path / "a.npz", array, torch.from_numpy(array)):
        tensor = load_media(Modality.parse("tactile"), source, media("grid"))
        assert tensor.dtype == torch.float32
        assert np.allclose(tensor.numpy(), (array - 0.5) / 2, atol=1e-6)


def test_statistics_of_each_channel_reach_their_channel():
    settings = SensorSettings("sequence", (2, 3), (1.0, 10.0), (1.0, 5.0))
    tensor = load_media(
        Modality.declare("tactile"), np.full((2, 3), 10.0), MediaSettings(sensors={"tactile": settings})
    )
    assert tensor.tolist() == [[9.0] * 3, [0.0] * 3]


def test_one_channel_may_lack_its_axis():
    array = np.ones((12, 9))
    assert load_media(Modality.declare("tactile"), array, media("patches")).shape == (1, 12, 9)


@pytest.mark.parametrize("count", [1, 20, 32, 500])
def test_clouds_are_brought_to_size(count):
    cloud = np.random.default_rng(0).normal(size=(count, 3))
    tensor = load_media(Modality.declare("tactile"), cloud, media("cloud"))
    assert tensor.shape == (32, 3)
    rows = {tuple(row) for row in ((cloud - 0.5) / 2).astype(np.float32).tolist()}
    assert {tuple(row) for row in tensor.tolist()} <= rows
    assert len(set(map(tuple, tensor.tolist()))) == min(count, 32)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 8, 12)), r"shape \[2, 8, 12\]; expected \[2, 12, 8\]"),
        (np.zeros((12, 8)), r"shape \[12, 8\]"),
        (np.full((2, 12, 8), np.nan), "192 of 192 values are NaN"),
        (np.full((2, 12, 8), 1e300), "float32"),
        (np.full((2, 12, 8), "a"), "real numbers"),
    ],
)
def test_unusable_arrays_are_refused(array, message, tmp_path):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(MediaError, match=message):
        load_media(Modality.declare("tactile"), tmp_path / "bad.npy", media("grid"))


def test_other_files_and_other_models_are_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"not an array")
    with pytest.raises(MediaError, match="not an array file"):
        load_media(Modality.declare("tactile"), tmp_path / "a.npy", media("grid"))
    with pytest.raises(UserError, match="say nothing of tactile"):
        load_media(Modality.declare("tactile"), np.zeros((2, 12, 8)), MediaSettings())


def test_settings_survive_json():
    settings = media("sequence")
    plain = json.loads(json.dumps(settings.to_dict()))
    assert MediaSettings.from_dict(plain) == settings
    plain["sensors"]["tactile"]["depth"] = 1
    with pytest.raises(ConfigError, match="tactile"):
        MediaSettings.from_dict(plain)
