"""Names and shapes of the published files; strict loading; saving; fingerprints."""

import dataclasses
import gzip
import json
import subprocess
import sys

import pytest
import torch

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import (
    ImageBindConfig,
    ImageBindModel,
    imagebind_from_state_dict,
    load_imagebind,
    save_imagebind,
)
from imagebind_llm.encoders.imagebind.weights import skeleton


def manifest(golden, name):
    with gzip.open(golden / "manifests" / f"{name}.json.gz", "rt") as file:
        return json.load(file)


def test_skeleton_needs_no_compiler():
    """Loading must not import torch's compiler, which takes seconds."""
    code = (
        "import sys; from imagebind_llm.encoders.imagebind import ImageBindConfig; "
        "from imagebind_llm.encoders.imagebind.weights import skeleton; "
        "model = skeleton(ImageBindConfig.nano()); "
        "assert all(t.is_meta for t in model.state_dict().values()); "
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def small() -> ImageBindModel:
    """A random model with two modalities, quick to save."""
    nano = ImageBindConfig.nano()
    torch.manual_seed(1)
    return ImageBindModel(ImageBindConfig(nano.embedding_dim, depth=nano.depth, imu=nano.imu)).eval()


@pytest.mark.parametrize(
    ("name", "point", "count"), [("imagebind_huge", False, 1311), ("imagebind_w3D", True, 1476)]
)
def test_published_layout(golden, name, point, count):
    expected = manifest(golden, name)
    found = skeleton(ImageBindConfig.huge(point=point)).state_dict()
    assert len(found) == count
    layout = {key: [list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in found.items()}
    assert layout == expected


def test_each_difference_is_named(small):
    weights = small.state_dict()
    gone = weights.pop("modality_heads.imu.3.weight")
    weights["modality_heads.imu.2.weight"] = gone
    weights["modality_heads.depth.0.bias"] = torch.zeros(7)
    weights["modality_heads.depth.0.weight"] = torch.zeros(96, dtype=torch.int64)
    with pytest.raises(CheckpointError) as caught:
        imagebind_from_state_dict(small.config, weights)
    message = str(caught.value)
    assert "1 missing (modality_heads.imu.3.weight)" in message
    assert "1 unexpected (modality_heads.imu.2.weight)" in message
    assert "1 of another shape (modality_heads.depth.0.bias [7] instead of [96])" in message
    assert "modality_heads.depth.0.weight torch.int64" in message
    assert "\n" not in message


def test_many_differences_are_counted(small):
    with pytest.raises(CheckpointError, match=r"\d\d missing \(.*, .*, .*, …\)"):
        imagebind_from_state_dict(small.config, {})


def test_mix_up_with_point_bind_is_explained(reference_config, reference_weights):
    without = dataclasses.replace(reference_config, point=None)
    with pytest.raises(CheckpointError, match=r"add the point encoder .*huge\(point=True\)"):
        imagebind_from_state_dict(without, reference_weights)
    fewer = {key: value for key, value in reference_weights.items() if "point" not in key}
    with pytest.raises(CheckpointError, match=r"leave the point encoder out .*huge\(point=False\)"):
        imagebind_from_state_dict(reference_config, fewer)


def test_mask_that_is_not_causal_is_refused(reference_config, reference_weights):
    name = "modality_preprocessors.text.mask"
    with pytest.raises(CheckpointError, match="mask is not 0"):
        imagebind_from_state_dict(reference_config, reference_weights | {name: torch.zeros(77, 77)})


def test_loaded_model_does_not_share_memory_with_its_source(small):
    copy = imagebind_from_state_dict(small.config, small.state_dict())
    before = copy.modality_heads["imu"][3].weight.clone()
    with torch.no_grad():
        small.modality_heads["imu"][3].weight.add_(1)
    assert torch.equal(copy.modality_heads["imu"][3].weight, before)


def test_round_trip(small, tmp_path, media):
    save_imagebind(small, tmp_path / "model")
    loaded = load_imagebind(tmp_path / "model")
    assert loaded.config == small.config
    assert not loaded.training
    assert all(p.requires_grad for p in loaded.parameters())
    for key, value in small.state_dict().items():
        assert loaded.state_dict()[key].dtype == value.dtype
        assert torch.equal(loaded.state_dict()[key], value), key
    assert loaded.fingerprint == small.fingerprint
    assert torch.equal(loaded.encode(Modality.IMU, media["imu"]), small.encode(Modality.IMU, media["imu"]))


def test_half_precision_file(small, tmp_path, media):
    save_imagebind(small, tmp_path / "half", dtype=torch.float16)
    loaded = load_imagebind(tmp_path / "half")
    assert loaded.modality_heads["imu"][3].weight.dtype == torch.float32
    assert loaded.fingerprint == small.fingerprint
    with torch.no_grad():
        ours, theirs = (model.encode(Modality.DEPTH, media["depth"]) for model in (loaded, small))
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_half_precision_file_keeps_the_text_mask(frozen_nano, tmp_path, media):
    save_imagebind(frozen_nano, tmp_path / "half", dtype=torch.float16)
    loaded = load_imagebind(tmp_path / "half")
    assert loaded.encode(Modality.TEXT, media["text"]).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_loading_in_half_precision(small, tmp_path, media, dtype):
    save_imagebind(small, tmp_path / "model")
    loaded = load_imagebind(tmp_path / "model", dtype=dtype)
    assert loaded.fingerprint == small.fingerprint
    out = loaded.encode(Modality.IMU, media["imu"])
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(out, small.encode(Modality.IMU, media["imu"]), atol=0.05, rtol=0)


def test_fingerprint_survives_moving_and_order(small):
    known = small.fingerprint
    assert len(known) == 16
    assert int(known, 16) >= 0
    backwards = dict(reversed(small.state_dict().items()))
    assert imagebind_from_state_dict(small.config, backwards).fingerprint == known
    assert small.to(torch.bfloat16).fingerprint == known


def test_fingerprint_sees_any_change(small):
    known = small.fingerprint
    with torch.no_grad():
        small.modality_heads["imu"][3].weight[0, 0].add_(0.01)
    changed = small.fingerprint
    assert changed != known
    with torch.no_grad():
        small.modality_preprocessors["depth"].depth_stem.first_norm.running_mean.add_(0.1)
    assert small.fingerprint not in (known, changed)


def test_fingerprint_sees_an_optimiser_step_and_a_load(small):
    known, weights = small.fingerprint, {k: v.clone() for k, v in small.state_dict().items()}
    optimiser = torch.optim.AdamW(small.parameters(), lr=1e-2)
    small.modality_heads["imu"][3].weight.sum().backward()
    optimiser.step()
    assert small.fingerprint != known
    small.load_state_dict(weights)
    assert small.fingerprint == known


def test_fingerprint_sees_the_configuration(small):
    other = dataclasses.replace(
        small.config,
        imu=dataclasses.replace(small.config.imu, trunk=dataclasses.replace(small.config.imu.trunk, heads=2)),
    )
    assert imagebind_from_state_dict(other, small.state_dict()).fingerprint != small.fingerprint


def test_folder_errors(small, tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_imagebind(tmp_path / "nothing")
    save_imagebind(small, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_imagebind(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        load_imagebind(tmp_path / "model")
