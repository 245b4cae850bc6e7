"""EfficientNet-Lite and sentence-transformers: the same tensors, the files beside them, what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file
from support.part_files import bert_model, sentence_files, torch_file, zip_of

from imagebind_llm.checkpoints.convert.store import convert
from imagebind_llm.checkpoints.parts import efficientnet_lite, sentence_bert
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.encoders.towers.backbones.efficientnet_lite import EfficientNetLite, EfficientNetLiteConfig


def efficientnet_state():
    """Every tensor of an EfficientNet-Lite2, each with a value of its own."""
    state = {}
    with torch.device("meta"):
        network = EfficientNetLite(EfficientNetLiteConfig("lite2"))
    for number, (name, tensor) in enumerate(network.state_dict().items()):
        state[name] = torch.full(tensor.shape, number, dtype=tensor.dtype)
    return state


def test_efficientnet_keeps_names_and_values(tmp_path):
    state = efficientnet_state()
    assert len(state) == 386  # this and the next number: of the published file
    assert sum(one.numel() for one in state.values() if one.is_floating_point()) == 6_150_168
    (tmp_path / "in").mkdir()
    (tmp_path / "in/lite2.pth").write_bytes(torch_file(state))
    convert(efficientnet_lite.plan_part(tmp_path / "in", None), tmp_path / "out")
    found = load_file(tmp_path / "out/model.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    values = json.loads((tmp_path / "out/config.json").read_text())
    assert (values["model_type"], values["variant"], values["image_size"]) == (
        "efficientnet_lite",
        "lite2",
        260,
    )
    assert values["mean"] == pytest.approx([127 / 255] * 3)
    assert values["std"] == pytest.approx([128 / 255] * 3)


def test_another_efficientnet_is_refused(tmp_path):
    state = efficientnet_state()
    state["_conv_head.weight"] = torch.zeros(1280, 320, 1, 1)  # as Lite0 has it
    (tmp_path / "lite.pth").write_bytes(torch_file(state))
    with pytest.raises(
        CheckpointError, match=r"_conv_head.weight \[1280, 320, 1, 1\] instead of \[1280, 352"
    ):
        efficientnet_lite.plan_part(tmp_path, None)
    del state["_fc.bias"]
    (tmp_path / "lite.pth").write_bytes(torch_file(state))
    with pytest.raises(CheckpointError, match=r"1 missing \(_fc.bias\)"):
        efficientnet_lite.plan_part(tmp_path, None)
    (tmp_path / "lite.pth").write_bytes(torch_file({**state, "_fc.bias": print}))
    with pytest.raises(CheckpointError, match="holds code"):
        efficientnet_lite.plan_part(tmp_path, None)


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("positions", [True, False])
@torch.no_grad()
def test_a_sentence_model_gives_the_same_vectors(zipped, positions, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    model = bert_model()
    files = sentence_files(model, positions=positions)
    write(tmp_path / "in/tiny", {"model.zip": zip_of(files)} if zipped else files)
    convert(sentence_bert.plan_part(tmp_path / "in", None), tmp_path / "out")
    found, info = AutoModel.from_pretrained(tmp_path / "out", local_files_only=True, output_loading_info=True)
    assert not any(info.values()), info
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    batch = tokenizer(["a dog runs", "cats"], padding=True, return_tensors="pt")
    assert batch.input_ids.tolist() == [[2, 5, 6, 8, 3], [2, 7, 9, 3, 0]]
    assert torch.equal(found(**batch).last_hidden_state, model(**batch).last_hidden_state)
    assert tokenizer.model_max_length == 12
    assert (
        json.loads((tmp_path / "out/1_Pooling/config.json").read_text())["pooling_mode_mean_tokens"] is True
    )


def test_a_sentence_model_that_pools_otherwise_is_refused(tmp_path):
    files = sentence_files(bert_model())
    with pytest.raises(CheckpointError, match="pools by pooling_mode_cls_token"):
        sentence_bert.plan_part(write(tmp_path / "a", sentence_files(bert_model(), mean=False)), None)
    modules = json.loads(files["modules.json"])[:2]
    with pytest.raises(CheckpointError, match="is made of Transformer, Pooling; known is"):
        sentence_bert.plan_part(
            write(tmp_path / "b", {**files, "modules.json": json.dumps(modules).encode()}), None
        )
    config = {**json.loads(files["config.json"]), "model_type": "mpnet"}
    with pytest.raises(CheckpointError, match="a model of type 'mpnet'; expected bert"):
        sentence_bert.plan_part(
            write(tmp_path / "c", {**files, "config.json": json.dumps(config).encode()}), None
        )
