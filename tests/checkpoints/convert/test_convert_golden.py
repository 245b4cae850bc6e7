"""The golden tiny model, in its original file formats, through the command line to the golden tokens."""

import json

import pytest
import torch
from support import convert_worlds as world
from torch.testing import assert_close

from imagebind_llm.cli import main
from imagebind_llm.common.folders import MARK
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.batch import MediaBatch, MediaPart
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model

CASES = ("image", "video", "audio", "point", "image_audio", "thermal_imu_depth", "text")
TEXT = "A photo of a dog playing the piano, isn't it?"
"""The words of the first golden text row."""
PLAIN = "{{ bos_token }}{{ messages[0].content }}"


def convert(*arguments):
    with pytest.raises(SystemExit) as leaving:
        main(["convert", *map(str, arguments)])
    assert leaving.value.code == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Everything converted, once, by the commands that people type."""
    place = tmp_path_factory.mktemp("golden")
    source = place / "published"
    file = world.write_encoder(source)
    convert("imagebind", file, "--config", source / "sizes.json", "--out", place / "encoder")
    convert("llama", world.write_llama(source / "LLaMA" / "7B"), "--out", place / "base")
    (place / "base" / "chat_template.jinja").write_text(PLAIN)
    torch.save({"model": dict(world.tensors("adapter"))}, source / "7B.pth")
    parts = ("--base", place / "base", "--encoder", place / "encoder")
    convert("adapter", source / "7B.pth", *parts, "--out", place / "model")
    convert("adapter", source / "7B.pth", *parts, "--out", place / "whole", "--full", "--shard-size", "300kB")
    return place


@pytest.fixture(scope="module", params=["model", "whole"])
def model(request, place):
    return Model.from_pretrained(place / request.param, dtype=torch.float32)


def test_folders_are_what_they_should_be(place):
    def names(folder):
        return {file.name for file in (place / folder).iterdir()}

    assert names("encoder") == {"config.json", "model.safetensors", "conversion.json", MARK}
    common = {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "conversion.json",
        "chat_template.jinja", MARK,
    }  # fmt: skip
    assert names("base") == common | {"model.safetensors"}
    assert names("model") == common | {"adapter.safetensors", "processor_config.json"}
    assert len([name for name in names("whole") if name.startswith("model-")]) > 3
    assert not [file.name for file in place.iterdir() if file.name.startswith(".")]
    config = json.loads((place / "model" / "config.json").read_text())
    assert config["stage"] == "finetune"
    assert config["base_models"]["language_model"]["id"] == "../base"
    assert all(len(value) == 16 for value in config["fingerprints"].values())


@pytest.mark.parametrize("case", CASES)
def test_media_to_golden_tokens(case, model):
    recorded = world.facts("e2e")
    parts = [
        MediaPart(Modality.parse(name.lower()), world.arrays("inputs")[key][0], weight)
        for name, (key, weight) in recorded["cases_modality_to_input_tensor_and_weight"][case].items()
    ]
    prompt = world.tensors("inputs")[recorded["prompt"]][None]
    out = model.generate(
        input_ids=prompt, media=MediaBatch.collate([parts]), max_new_tokens=12, do_sample=False,
        eos_token_id=None, pad_token_id=0, return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    expected = world.tensors("e2e_outputs")[f"{case}.prefill_logits"]
    assert_close(out.logits[0], expected, atol=1e-3, rtol=0)
    assert out.sequences[0, prompt.shape[1] :].tolist() == recorded["generations_greedy_12"][case]


@pytest.mark.parametrize("folder", ["model", "whole"])
def test_ask_gives_the_golden_tokens(folder, place, capsys):
    ids = world.tensors("inputs")["prompt1"].tolist()
    assert ids[:2] == [1, world.SPACE]  # begin of text, and the space that SentencePiece puts in front
    question = "".join(map(world.letter, ids[2:]))
    arguments = ["ask", question, "--text", TEXT, "--model", str(place / folder), "--device", "cpu"]
    with pytest.raises(SystemExit) as leaving:
        main([*arguments, "--max-new-tokens", "12", "--no-cache"])
    found = capsys.readouterr()
    assert leaving.value.code == 0, found.err
    expected = world.facts("e2e")["generations_greedy_12"]["text"]
    assert found.out == "".join(map(world.letter, expected)) + "\n"


@pytest.mark.parametrize("number", [0, 1])
def test_embeddings_to_golden_tokens(number, model):
    raw = world.tensors("inputs")["raw_embeddings"]
    unit = torch.nn.functional.normalize(raw, dim=-1)[number][None] / (1 + 1e-6)
    prompt = world.tensors("inputs")[f"prompt{number}"][None]
    out = model.generate(
        input_ids=prompt, conditions=unit, max_new_tokens=16, do_sample=False, eos_token_id=2, pad_token_id=0
    )
    expected = world.facts("outputs")["generations"][f"plain_{number}"]
    assert out[0, prompt.shape[1] :].tolist() == expected


def test_parts_are_bound_to_the_adapter(place, tmp_path):
    """The fingerprints that were taken without loading are those of the loaded parts; others are refused."""
    from transformers import AutoModelForCausalLM

    from imagebind_llm.common.errors import CheckpointError
    from imagebind_llm.encoders.imagebind import load_imagebind
    from imagebind_llm.model.adaptation import language_model_fingerprint

    recorded = json.loads((place / "model" / "config.json").read_text())["fingerprints"]
    base = AutoModelForCausalLM.from_pretrained(place / "base")
    assert language_model_fingerprint(base) == recorded["language_model"]
    assert load_imagebind(place / "encoder").fingerprint == recorded["encoder"]
    with torch.no_grad():
        base.model.layers[1].mlp.up_proj.weight[3, 5] += 0.01
    found = language_model_fingerprint(base)
    with pytest.raises(CheckpointError, match=f"{recorded['language_model']}, but this one is {found}"):
        Model.from_pretrained(place / "model", language_model=base)


def test_old_bind_network(place, tmp_path):
    torch.save({"model": world.legacy_adapter()}, tmp_path / "old.pth")
    parts = ("--base", place / "base", "--encoder", place / "encoder")
    convert("adapter", tmp_path / "old.pth", *parts, "--out", tmp_path / "old")
    model = Model.from_pretrained(tmp_path / "old")
    raw = torch.nn.functional.normalize(world.tensors("inputs")["raw_embeddings"], dim=-1) / (1 + 1e-6)
    found = model.bind(raw)
    assert_close(found, world.tensors("outputs")["legacy_visual_from_raw"][:, 0], atol=1e-5, rtol=1e-5)


def test_the_first_stage(place, tmp_path, capsys):
    """Its file has no updates or biases; its norms say which base it belongs to."""
    own = world.pretrain_part(world.tensors("adapter"), world.base_state())
    torch.save({"model": own}, tmp_path / "7B-pretrained.pth")
    parts = ("--base", place / "base", "--encoder", place / "encoder")
    convert("adapter", tmp_path / "7B-pretrained.pth", *parts, "--out", tmp_path / "first", "--json")
    values = json.loads(capsys.readouterr().out)
    assert values["stage"] == "pretrain"
    assert values["norms_differ_from_base"] == 0
    model = Model.from_pretrained(tmp_path / "first")
    assert model.config.stage == "pretrain"
    assert model.config.lora is None
    assert torch.equal(model.injection.query, world.tensors("adapter")["prefix_query.weight"])


def test_a_first_stage_on_another_base_is_refused(place, tmp_path, capsys):
    other = world.pretrain_part(world.tensors("adapter"), world.base_state())
    other["llama.layers.2.ffn_norm.weight"] = other["llama.layers.2.ffn_norm.weight"] * 1.1
    torch.save({"model": other}, tmp_path / "other.pth")
    arguments = ["convert", "adapter", str(tmp_path / "other.pth"), "--base", str(place / "base")]
    arguments += ["--encoder", str(place / "encoder"), "--out", str(tmp_path / "other")]
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    error = capsys.readouterr().err
    assert leaving.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "trained on another base" in error
    assert "layers.2.post_attention_layernorm" in error
    assert not (tmp_path / "other").exists()
    convert(*arguments[1:], "--any-base")
    assert (tmp_path / "other" / "adapter.safetensors").is_file()


@pytest.mark.parametrize("name", ["encoder", "model", "whole"])
def test_an_encoder_is_named_as_everywhere(name, place, tmp_path):
    """By its own folder, or by that of a model or adapter that has it."""
    index = world.GOLDEN / "cache_tiny" / "knn.index"
    convert("cache", index, "--encoder", place / name, "--out", tmp_path / "cache")
    recorded = json.loads((place / "model" / "config.json").read_text())["fingerprints"]["encoder"]
    manifest = json.loads((tmp_path / "cache" / "manifest.json").read_text())
    assert manifest["encoder_fingerprint"] == recorded
    source, more = place / "published" / "7B.pth", ("--base", place / "base", "--encoder", place / name)
    for form in ((), ("--full",)):
        out = tmp_path / "-".join(("out", *form))
        convert("adapter", source, *more, "--out", out, *form)
        expected = place / ("whole" if form else "model")
        config = json.loads((out / "config.json").read_text())
        assert config["fingerprints"]["encoder"] == recorded
        weights = Model.from_pretrained(out).state_dict()
        for key, tensor in Model.from_pretrained(expected).state_dict().items():
            assert torch.equal(weights[key], tensor), key


def test_nanos_encoder_has_another_width(place, tmp_path, capsys):
    index = world.GOLDEN / "cache_tiny" / "knn.index"
    for command in (
        ["cache", str(index)],
        ["adapter", str(place / "published" / "7B.pth"), "--base", str(place / "base")],
    ):
        with pytest.raises(SystemExit) as leaving:
            main(["convert", *command, "--encoder", "nano", "--out", str(tmp_path / "out")])
        assert leaving.value.code == 2
        assert "the encoder 'nano' gives 128" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_a_whole_training_checkpoint(place, tmp_path):
    """The original training saves everything, with its settings: the frozen part is left out."""
    from argparse import Namespace

    state = dict(world.tensors("adapter")) | {
        f"image_bind.{k}": t for k, t in world.arrays("weights").items()
    }
    state |= {f"llama.{k}": t for k, t in world.base_state().items() if "rope" not in k and "norm" not in k}
    state["prefix_projector_norm.weight"] = torch.ones(3)
    content = {"model": {k.replace("llama.", "llma."): t for k, t in state.items()}, "epoch": 3}
    torch.save(content | {"args": Namespace(lr=0.1)}, tmp_path / "checkpoint-3.pth")
    parts = ("--base", place / "base", "--encoder", place / "encoder")
    convert("adapter", tmp_path / "checkpoint-3.pth", *parts, "--out", tmp_path / "m")
    here, there = (
        (folder / "adapter.safetensors").read_bytes() for folder in (tmp_path / "m", place / "model")
    )
    assert here == there
