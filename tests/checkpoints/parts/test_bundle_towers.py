"""The encoder of a bundle: heads kept without their backbones, put back on them, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file
from support.model_folders import change_json
from support.part_files import llama_model
from support.tiny_backbones import write_bert, write_whisper

from imagebind_llm.checkpoints.parts.bundle import assemble
from imagebind_llm.checkpoints.parts.towers import join_heads, write_heads
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.registry import load_encoder, media_of_encoder
from imagebind_llm.encoders.towers.making import make_towers
from imagebind_llm.encoders.towers.recipe import NewEncoder, NewTower
from imagebind_llm.encoders.towers.settings import HeadSettings
from imagebind_llm.encoders.towers.weights import save_towers


@pytest.fixture
def backbones(tmp_path):
    return {"text": write_bert(tmp_path / "bert"), "audio": write_whisper(tmp_path / "whisper")}


@pytest.fixture
def encoder(backbones, tmp_path):
    """The folder of an encoder whose heads are no longer as they were made."""
    recipe = NewEncoder(
        {
            "text": NewTower(str(backbones["text"]), head=HeadSettings("linear"), context=20),
            "audio": NewTower(str(backbones["audio"]), head=HeadSettings("mlp", hidden=9), seconds=2),
        },
        embedding_dim=28,
    )
    made, media = make_towers(recipe)
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            if ".head." in name:
                tensor.add_(torch.rand_like(tensor))
    save_towers(made, media, tmp_path / "encoder")
    return tmp_path / "encoder"


def test_heads_alone_are_small_and_give_the_same_encoder_again(encoder, backbones, tmp_path):
    write_heads(encoder, backbones, tmp_path / "heads")
    kept = load_file(tmp_path / "heads/model.safetensors")
    assert kept
    assert all(".head." in name for name in kept)
    join_heads(tmp_path / "heads", backbones, tmp_path / "again")
    before, after = load_encoder(str(encoder)), load_encoder(str(tmp_path / "again"))
    assert after.fingerprint == before.fingerprint
    assert json.loads((tmp_path / "again/config.json").read_text()) == json.loads(
        (encoder / "config.json").read_text()
    )
    for modality, medium in (
        (Modality.TEXT, "two words"),
        (Modality.AUDIO, torch.rand(9000).numpy()),
    ):
        first, second = (
            one.encode(modality, media_of_encoder(str(folder), one).load(modality, medium)[None])
            for one, folder in ((before, encoder), (after, tmp_path / "again"))
        )
        assert torch.equal(first, second)


def test_a_tower_that_is_no_part_stays_with_the_heads(encoder, backbones, tmp_path):
    write_heads(encoder, ["text"], tmp_path / "heads")
    assert any(
        name.startswith("towers.audio.backbone.") for name in load_file(tmp_path / "heads/model.safetensors")
    )
    join_heads(tmp_path / "heads", {"text": backbones["text"]}, tmp_path / "again")
    assert load_encoder(str(tmp_path / "again")).fingerprint == load_encoder(str(encoder)).fingerprint
    with pytest.raises(CheckpointError, match="which is of the part 'audio'"):
        join_heads(tmp_path / "heads", backbones, tmp_path / "more")


def test_what_does_not_belong_to_the_heads_is_refused(encoder, backbones, tmp_path):
    heads = tmp_path / "heads"
    write_heads(encoder, backbones, heads)
    with pytest.raises(CheckpointError, match="missing"):
        join_heads(heads, {"text": backbones["text"]}, tmp_path / "a")
    with pytest.raises(CheckpointError, match="and no 'image'; give those that belong"):
        join_heads(heads, {**backbones, "image": backbones["text"]}, tmp_path / "a")
    change_json(backbones["audio"] / "preprocessor_config.json", hop_length=200)
    with pytest.raises(CheckpointError, match="has another reading of media than the heads were trained for"):
        join_heads(heads, backbones, tmp_path / "a")
    with pytest.raises(CheckpointError, match="expected imagebind_llm_towers"):
        write_heads(backbones["text"], [], tmp_path / "b")
    assert not (tmp_path / "a").exists()


@torch.no_grad()
def test_language_model_adapter_and_encoder_become_one_folder(encoder, backbones, tmp_path):
    from imagebind_llm.model.configuration import ImageBindLLMConfig
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model

    parts = {"language_model": tmp_path / "llama", **backbones}
    base = llama_model()
    base.save_pretrained(parts["language_model"])
    for role, folder in backbones.items():
        (folder / "source.json").write_text(json.dumps({"role": role}))
        (folder / "licences").mkdir()
        (folder / "licences/LICENSE").write_text("free")
    there = load_encoder(str(encoder))
    config = ImageBindLLMConfig(
        text_config=base.config,
        embedding_dim=28,
        encoder_config=there.settings,
        base_models={
            "language_model": {"id": str(parts["language_model"]), "revision": None},
            "encoder": {"id": str(encoder), "revision": None},
        },
    )
    model = Model(config, language_model=base, encoder=there).eval()
    model.injection.gate.normal_()
    model.save_pretrained(tmp_path / "trained/adapter", adapter_only=True)
    write_heads(encoder, backbones, tmp_path / "trained/heads")
    out = tmp_path / "out"
    out.mkdir()
    assemble(parts, tmp_path / "trained", out)
    for folder in (encoder, *parts.values()):
        folder.rename(folder.with_name(f"no-{folder.name}"))
    found = Model.from_pretrained(out)
    assert found.encoder.fingerprint == there.fingerprint
    ids = torch.tensor([[5, 90, 30]])
    batch = media_of_encoder(str(out / "encoder"), found.encoder).load(Modality.TEXT, "two words")[None]
    answers = [one(ids, conditions=one.encoder.encode(Modality.TEXT, batch)).logits for one in (found, model)]
    assert torch.equal(*answers)
    bases = json.loads((out / "config.json").read_text())["base_models"]
    assert {part: base["id"] for part, base in bases.items()} == {
        "language_model": "language_model",
        "encoder": "encoder",
    }
    assert (out / "backbones/text/licences/LICENSE").read_text() == "free"
    assert json.loads((out / "backbones/audio/source.json").read_text()) == {"role": "audio"}
    assert not (out / "text").exists()
