"""A Whisper of CTranslate2 → transformers: the same tensors, the same words, and what is refused."""

import json

import numpy as np
import pytest
import torch
from support.part_files import WHISPER_ALIASES, ctranslate2, whisper_files, whisper_model, whisper_variables

from imagebind_llm.checkpoints.convert.store import convert
from imagebind_llm.checkpoints.parts.whisper import plan_part
from imagebind_llm.common.errors import CheckpointError


def unpacked(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def model():
    return whisper_model()


def changed(model, aliases=WHISPER_ALIASES, **variables):
    """The files with other variables; ``None`` leaves one out."""
    found = {**whisper_variables(model), **variables}
    content = ctranslate2({name: value for name, value in found.items() if value is not None}, aliases)
    return {**whisper_files(model), "tiny/model/model.bin": content}


@torch.no_grad()
def test_encoder_and_decoder_give_the_numbers_of_the_model_it_was_made_of(model, tmp_path):
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    out = tmp_path / "out"
    convert(plan_part(unpacked(tmp_path / "in", whisper_files(model)), torch.float32), out)
    found, info = WhisperForConditionalGeneration.from_pretrained(
        out, local_files_only=True, output_loading_info=True
    )
    assert not any(info.values()), info
    assert found.dtype == torch.float32
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    processor = WhisperProcessor.from_pretrained(out, local_files_only=True)
    sound = np.sin(np.arange(16_000, dtype=np.float32) / 9)
    features = processor(sound, sampling_rate=16_000, return_tensors="pt").input_features
    assert features.shape == (1, 80, 3000)
    ids = torch.tensor([[257, 264, 70]])
    assert torch.equal(
        found(features, decoder_input_ids=ids).logits, model(features, decoder_input_ids=ids).logits
    )
    said = found.generate(features, max_new_tokens=4)
    assert isinstance(processor.batch_decode(said, skip_special_tokens=True)[0], str)
    tokens = processor.tokenizer
    text = "two words, 12"
    assert tokens.decode(tokens(text).input_ids, skip_special_tokens=True) == text


def test_the_settings_are_those_of_the_files(model, tmp_path):
    convert(plan_part(unpacked(tmp_path / "in", whisper_files(model)), None), tmp_path / "out")
    values = json.loads((tmp_path / "out/config.json").read_text())
    assert (values["encoder_attention_heads"], values["decoder_attention_heads"]) == (3, 2)
    assert (values["encoder_layers"], values["decoder_layers"], values["dtype"]) == (2, 1, "float16")
    settings = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert settings["suppress_tokens"] == [1, 2]
    assert settings["begin_suppress_tokens"] == [220]
    assert (settings["decoder_start_token_id"], settings["no_timestamps_token_id"]) == (257, 264)
    assert settings["is_multilingual"] is False


def test_a_bias_of_keys_is_not_dropped_in_silence(model, tmp_path):
    name = "decoder/layer_0/attention/linear_1/bias"
    bias = whisper_variables(model)[name].copy()
    bias[3] = 0.5
    with pytest.raises(
        CheckpointError, match="has a bias of keys in decoder/layer_0/attention/linear_1/bias"
    ):
        plan_part(unpacked(tmp_path, changed(model, **{name: bias})), None)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"decoder/activation": np.array(2, np.int8)}, "has decoder/activation 2; expected 3"),
        ({"decoder/pre_norm": np.array(0, np.int8)}, "has decoder/pre_norm 0; expected 1"),
        ({"decoder/alibi": None}, "missing"),
        ({"decoder/surprise": np.array(1, np.int8)}, "unexpected"),
        ({"encoder/surprise": np.ones(3, np.float16)}, "unexpected"),
        ({"encoder/conv1/bias": None}, "missing"),
        ({"encoder/conv1/bias": np.ones(5, np.float16)}, "other shapes"),
        ({"encoder/layer_0/ffn/linear_1/bias": np.array([np.nan] * 24, np.float16)}, "no number|NaN"),
    ],
)
def test_another_kind_of_whisper_is_refused(variables, said, model, tmp_path):
    with pytest.raises(CheckpointError, match=said) as found:
        convert(plan_part(unpacked(tmp_path / "in", changed(model, **variables)), None), tmp_path / "out")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()


def test_an_output_layer_of_its_own_and_another_model_are_refused(model, tmp_path):
    with pytest.raises(CheckpointError, match="expected that the output layer is the token embedding"):
        plan_part(unpacked(tmp_path / "a", changed(model, aliases=())), None)
    other = ctranslate2(whisper_variables(model), WHISPER_ALIASES, name="TransformerSpec")
    with pytest.raises(CheckpointError, match="is a TransformerSpec of revision 3; expected WhisperSpec 3"):
        plan_part(unpacked(tmp_path / "b", {**whisper_files(model), "tiny/model/model.bin": other}), None)


def test_words_of_another_model_are_refused(model, tmp_path):
    files = whisper_files(model)
    for name in ("vocabulary.txt", "tokenizer.json", "config.json"):
        some = {path: content for path, content in files.items() if not path.endswith(name)}
        with pytest.raises(CheckpointError, match=name):
            convert(plan_part(unpacked(tmp_path / f"no-{name}", some), None), tmp_path / "out")
    words = files["tiny/model/vocabulary.txt"].split(b"\n")
    words[5], words[6] = words[6], words[5]
    for name, lines in (("order", words), ("number", words[1:])):
        with pytest.raises(CheckpointError, match="use files that belong together"):
            plan_part(
                unpacked(tmp_path / name, {**files, "tiny/model/vocabulary.txt": b"\n".join(lines)}), None
            )
