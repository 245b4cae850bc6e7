"""The direct loader gives what the general one gives, and leaves to it what it does not know."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny import language_model
from support.tiny_model import write_tiny_model
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.locate import locate_folder
from imagebind_llm.inference.loading import load_model
from imagebind_llm.model.adaptation import add_biases, add_lora, merge_lora, tune_norms
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.direct import load_folded
from imagebind_llm.model.families import FAMILIES
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model

CPU = torch.device("cpu")


def assert_same(found, expected):
    for kind in ("state_dict", "named_buffers"):
        ours, theirs = dict(getattr(found, kind)()), dict(getattr(expected, kind)())
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert tensor.dtype == theirs[name].dtype, name
            assert torch.equal(tensor, theirs[name]), name
    assert [type(module) for module in found.modules()] == [type(module) for module in expected.modules()]
    assert not any(module.training for module in found.modules())
    assert found.config.to_dict() == expected.config.to_dict()
    assert found.config.name_or_path == expected.config.name_or_path
    assert found.generation_config.to_dict() == expected.generation_config.to_dict()
    output, token = found.get_output_embeddings().weight, found.get_input_embeddings().weight
    tied = expected.get_output_embeddings().weight is expected.get_input_embeddings().weight
    assert (output is token) == tied


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_nano_is_the_same_bit_for_bit(dtype):
    folder = locate_folder("nano")
    expected = Model.from_pretrained(folder, dtype=dtype)
    merge_lora(expected)
    found = load_folded(folder, dtype)
    assert found is not None
    assert_same(found, expected)
    assert found.encoder.fingerprint == expected.encoder.fingerprint


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    """A folder with updates, added biases and other norms, whose values are not those of a fresh model."""
    folder = tmp_path_factory.mktemp("direct") / "model"
    write_tiny_model(folder)
    model = Model.from_pretrained(folder)
    add_lora(model, rank=3, scale=0.7)
    add_biases(model)
    tune_norms(model)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    model.save_pretrained(folder)
    return folder


def test_updates_and_added_biases(finetuned):
    expected = Model.from_pretrained(finetuned, dtype=torch.float32)
    merge_lora(expected)
    found = load_folded(finetuned, torch.float32)
    assert found is not None
    assert_same(found, expected)


def test_loading_directly_draws_no_random_numbers(finetuned):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert load_folded(finetuned, torch.float32) is not None
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("fault", ["missing", "left over", "shape", "half an update", "cut"])
def test_what_does_not_fit_is_left_to_the_general_loader_which_refuses_it(finetuned, tmp_path, fault):
    folder = tmp_path / "model"
    shutil.copytree(finetuned, folder)
    file = folder / "model.safetensors"
    state = load_file(file)
    if fault == "missing":
        del state["bind.project.bias"]
    elif fault == "left over":
        state["bind.more"] = torch.zeros(1)
    elif fault == "shape":
        state["bind.project.bias"] = state["bind.project.bias"][:-1].clone()
    elif fault == "half an update":
        del state[next(name for name in state if "lora_B" in name)]
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        save_file(state, file, metadata={"format": "pt"})
    assert load_folded(folder, torch.float32) is None
    with pytest.raises(CheckpointError):
        load_model(folder, CPU, torch.float32)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_is_the_same(family, tmp_path):
    language = language_model(family)
    config = ImageBindLLMConfig(text_config=language.config, embedding_dim=8)
    Model(config, language_model=language).save_pretrained(tmp_path)
    expected = Model.from_pretrained(tmp_path, dtype=torch.float32)
    found = load_folded(tmp_path, torch.float32)
    if not load_file(tmp_path / "model.safetensors").keys() <= expected.state_dict().keys():
        assert found is None  # tensors have other names on disk: GPT-NeoX, in newer versions of transformers
        found = load_model(tmp_path, CPU, torch.float32)
    assert found is not None
    assert_same(found, expected)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_no_family_has_other_values_on_disk_than_in_memory(family):
    for name in (family, type(language_model(family)).__name__):
        changes = get_checkpoint_conversion_mapping(name) or ()
        assert all(type(change) is WeightRenaming for change in changes)


def test_tied_tensors_that_are_stored_with_different_values_are_left_to_the_general_loader(tmp_path):
    language = language_model("llama", tie_word_embeddings=True)
    config = ImageBindLLMConfig(text_config=language.config, embedding_dim=8)
    Model(config, language_model=language).save_pretrained(tmp_path)
    assert load_folded(tmp_path, torch.float32) is not None
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    token = state["language_model.model.embed_tokens.weight"]
    save_file({**state, "language_model.lm_head.weight": token.clone()}, file, metadata={"format": "pt"})
    assert load_folded(tmp_path, torch.float32) is not None
    save_file({**state, "language_model.lm_head.weight": token + 1}, file, metadata={"format": "pt"})
    assert load_folded(tmp_path, torch.float32) is None
