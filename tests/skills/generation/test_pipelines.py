"""The real classes of diffusers, tiny and with random weights, from a folder to a file."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from tiny_pipelines import shap_e, stable_audio, unclip

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.skills.generation import Settings, Wish, generator_kind, make_wish, write_sounds
from imagebind_llm.skills.generation.shap_e import mesh_of

FEATURE = Wish(feature=torch.linspace(-2, 2, 128))


@pytest.fixture(scope="module")
def unclip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unclip")
    unclip(folder, 128)
    return folder


def test_unclip_from_a_sound_to_a_picture(unclip_folder):
    generator = generator_kind("unclip").open(str(unclip_folder), "cpu")
    bot = Assistant.from_pretrained("nano", device="cpu")
    from pathlib import Path

    heard = Path(__file__).parents[3] / "examples" / "inputs" / "eight.ogg"
    wish = make_wish(bot, {"audio": str(heard)}, generator, negative="grey")
    settings = Settings(steps=2, seed=1, count=2)
    made = generator.make("picture", [wish], settings).pixels
    assert made.shape[0] == 2
    assert made.dtype == np.uint8
    assert (made[0] != made[1]).any()
    again = generator.make("picture", [wish], Settings(steps=2, seed=2)).pixels
    assert (again[0] == made[1]).all(), "thing 1 of seed 1 is thing 0 of seed 2"


def test_unclip_is_told_the_feature_and_not_its_direction(unclip_folder):
    generator = generator_kind("unclip").open(str(unclip_folder), "cpu")
    seen = []
    noise_level = generator.pipeline.noise_image_embeddings

    def spy(image_embeds, **more):
        seen.append(image_embeds.clone())
        return noise_level(image_embeds=image_embeds, **more)

    generator.pipeline.noise_image_embeddings = spy
    generator.make("picture", [FEATURE], Settings(steps=1))
    assert torch.equal(seen[0][0], FEATURE.feature)


def test_unclip_refuses_features_of_another_size(unclip_folder):
    generator = generator_kind("unclip").open(str(unclip_folder), "cpu")
    with pytest.raises(UserError, match=r"takes features of shape \[128\], this model's are \[64\]"):
        generator.make("picture", [Wish(feature=torch.zeros(64))], Settings())
    with pytest.raises(UserError, match="makes no sound, only pictures"):
        generator.make("sound", [FEATURE], Settings())


def test_stable_audio_from_a_description_to_a_wav(tmp_path):
    stable_audio(tmp_path / "weights")
    generator = generator_kind("stable-audio").open(str(tmp_path / "weights"), "cpu")
    settings = Settings(steps=2, seconds=0.5, seed=3)
    wish = Wish(description="a dog barks", negative="noise")
    made = generator.make("sound", [wish], settings)
    assert [samples.shape for samples in made.samples] == [(2, 200)]
    assert made.rate == 400
    assert np.isfinite(made.samples[0]).all()
    assert made.samples[0].std() > 0
    write_sounds(tmp_path / "bark.wav", made, [{"made_of": "test"}])
    with pytest.raises(UserError, match="refuses these settings"):
        generator.make("sound", [wish], Settings(steps=1, seconds=500))
    with pytest.raises(UserError, match="reads words"):
        generator.make("sound", [Wish()], settings)


def test_shap_e_from_a_description_to_a_mesh(tmp_path):
    shap_e(tmp_path / "full", cubes=True)
    shap_e(tmp_path / "empty", cubes=False)
    generator = generator_kind("shap-e").open(str(tmp_path / "full"), "cpu")
    generator.grid = 12
    wish = Wish(description="a chair")
    (mesh,) = generator.make("shape", [wish], Settings(steps=1)).meshes
    assert mesh.faces.max() < len(mesh.vertices)
    assert mesh.colours.shape == mesh.vertices.shape
    assert len(mesh.faces) > 0
    with pytest.raises(UserError, match="no negative words"):
        generator.make("shape", [Wish(description="a chair", negative="red")], Settings())
    nothing = generator_kind("shap-e").open(str(tmp_path / "empty"), "cpu")
    nothing.grid = 12
    with pytest.raises(UserError, match="came out empty"):
        nothing.make("shape", [wish], Settings(steps=1))


def test_a_mesh_of_shap_e_is_turned_upright():
    channels = {name: torch.tensor([0.0, 0.5, 2.0]) for name in "RGB"}
    found = SimpleNamespace(verts=torch.eye(3), faces=torch.tensor([[0, 1, 2]]), vertex_channels=channels)
    mesh = mesh_of(found)
    assert mesh.vertices.tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    assert mesh.colours[:, 0].tolist() == [0, 128, 255]
    with pytest.raises(UserError, match="came out empty"):
        mesh_of(SimpleNamespace(**{**vars(found), "faces": torch.zeros(0, 3)}))


def test_what_is_no_such_pipeline_is_refused(unclip_folder, tmp_path):
    with pytest.raises(UserError, match="brings no weights"):
        generator_kind("unclip").open(None, "cpu")
    with pytest.raises(CheckpointError, match=r"no model_index\.json"):
        generator_kind("unclip").open(str(tmp_path), "cpu")
    with pytest.raises(
        CheckpointError, match="holds a StableUnCLIPImg2ImgPipeline; expected a ShapEPipeline"
    ):
        generator_kind("shap-e").open(str(unclip_folder), "cpu")
    index = json.loads((unclip_folder / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="no StableUnCLIPImg2ImgPipeline can be opened"):
        generator_kind("unclip").open(str(tmp_path), "cpu")


def test_no_torchvision_is_imported():
    assert not {"torchvision", "torchaudio"} & set(sys.modules)
