"""A Llama in a GGUF → transformers: the same numbers, the same tokens, and what is refused."""

import sys

import pytest
import torch
from support.part_files import TEMPLATE, llama_model, llama_tokens, write_gguf

from imagebind_llm.checkpoints.convert.store import convert
from imagebind_llm.checkpoints.parts.gguf_llama import plan_part
from imagebind_llm.common.errors import CheckpointError, MissingExtraError

pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def model():
    return llama_model()


@torch.no_grad()
def test_the_folder_computes_what_the_model_did(model, tmp_path):
    from transformers import AutoModelForCausalLM

    write_gguf(tmp_path / "in/tiny.gguf", model)
    convert(plan_part(tmp_path / "in", None), tmp_path / "out")
    found, info = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", local_files_only=True, output_loading_info=True
    )
    assert not any(info.values()), info
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    ids = torch.tensor([[5, 90, 30, 200, 7]])
    assert torch.equal(found(ids).logits, model(ids).logits)
    assert found.config.tie_word_embeddings
    assert found.config.rms_norm_eps == 1e-5
    assert (found.generation_config.eos_token_id, found.generation_config.pad_token_id) == (2, 2)


def test_quantised_weights_are_those_that_transformers_reads(model, tmp_path):
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    write_gguf(tmp_path / "in/tiny.gguf", model, quantised=True)
    convert(plan_part(tmp_path / "in", torch.float32), tmp_path / "out")
    found = load_file(tmp_path / "out/model.safetensors")
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path / "in", gguf_file="tiny.gguf", dtype=torch.float32
    ).state_dict()
    assert {*found, "lm_head.weight"} == set(theirs)
    for name, value in found.items():
        assert torch.equal(value, theirs[name]), name
        assert 0 < (value - model.state_dict()[name]).abs().max() < 0.1 or value.ndim == 1
    convert(plan_part(tmp_path / "in", torch.bfloat16), tmp_path / "small")
    assert all(
        one.dtype == torch.bfloat16 for one in load_file(tmp_path / "small/model.safetensors").values()
    )


def test_text_is_cut_and_joined_as_smollm_does(model, tmp_path):
    from transformers import AutoTokenizer

    write_gguf(tmp_path / "in/tiny.gguf", model)
    convert(plan_part(tmp_path / "in", None), tmp_path / "out")
    found = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    assert len(found) == len(llama_tokens())
    assert found.tokenize("a  1") == ["a", "ĠĠ", "1"]  # GPT-2 cuts it as "a", "Ġ", "Ġ1"
    for text in ("Ünder 12  34\n\tx", "<|im_start|>user\nhi<|im_end|>", " lead"):
        ids = found(text).input_ids
        assert found.decode(ids, skip_special_tokens=False) == text
    assert found("<|im_start|>a<|im_end|>").input_ids[::2] == [1, 2]
    assert (found.bos_token_id, found.eos_token_id, found.unk_token_id, found.pad_token_id) == (1, 2, 0, 2)
    assert found.chat_template == TEMPLATE
    assert found.model_max_length == 128


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "qwen2"}, "of the architecture 'qwen2'; expected llama"),
        ({"change": lambda w: w.add_sliding_window(8)}, "which is not known here"),
        ({"change": lambda w: w.add_add_bos_token(True)}, "adds to texts by itself"),
        ({"change": lambda w: w.add_add_space_prefix(True)}, "adds to texts by itself"),
        ({"change": lambda w: w.add_string("tokenizer.ggml.surprise", "x")}, "surprise, which is not known"),
        ({"pre": "other"}, "cuts text as 'other'; known are gpt2 with smollm"),
        ({"without": ["blk.1.ffn_up"]}, "1 missing"),
        ({"without": ["output_norm"]}, "1 missing"),
    ],
)
def test_what_is_not_known_is_refused(settings, said, model, tmp_path):
    write_gguf(tmp_path / "in/tiny.gguf", model, **settings)
    with pytest.raises(CheckpointError, match=said) as found:
        plan_part(tmp_path / "in", None)
    assert "\n" not in str(found.value)


def test_a_damaged_file_is_one_line(model, tmp_path):
    file = write_gguf(tmp_path / "in/tiny.gguf", model)
    whole = file.read_bytes()
    for content in (b"", b"<html>not found</html>", whole[:100], whole[:3000], whole[:-5000]):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="no whole GGUF file") as found:
            plan_part(tmp_path / "in", None)
        assert "\n" not in str(found.value)


def test_without_the_library_one_line_says_how_to_get_it(model, tmp_path, monkeypatch):
    write_gguf(tmp_path / "in/tiny.gguf", model)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(
        MissingExtraError, match=r"reading a GGUF file .* pip install 'imagebind-llm\[parts\]'"
    ):
        plan_part(tmp_path / "in", None)
