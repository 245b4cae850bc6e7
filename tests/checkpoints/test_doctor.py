"""Looking at folders: what is whole, what belongs together, what is found when it is not."""

import json
import shutil

import pytest
import torch
from support.model_folders import change_json, change_tensors, copy_folder, shift
from support.tiny import language_model

from imagebind_llm.checkpoints import checks, doctor
from imagebind_llm.checkpoints.doctor import diagnose
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.locate import nano_folder
from imagebind_llm.inference.driver import Completion, Driver

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tiny_model_folder, tmp_path):
    """A model that may be spoilt."""
    return copy_folder(tiny_model_folder, tmp_path / "model")


def found(report):
    return {finding.part: finding.problem for finding in report.findings}


def run(capsys, *words):
    from imagebind_llm.cli import main

    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", *map(str, words)])
    printed = capsys.readouterr()
    return leaving.value.code, printed.out, printed.err


def test_nano_is_healthy(capsys):
    code, printed, _ = run(capsys, "nano", "--json")
    assert code == 0
    values = json.loads(printed)
    assert values["healthy"]
    assert values["kind"] == "model"
    for part in ("encoder", "language_model"):
        assert values["fingerprints"][part]["recorded"] == values["fingerprints"][part]["found"] != None  # noqa: E711
    assert values["cache"]["encoder_fingerprint"] == values["fingerprints"]["encoder"]["found"]
    test = values["self_test"]
    assert test["text_only_identical"]
    assert test["condition_changes_logits_by"] > 0
    assert test["embedding_length"] == pytest.approx(1, abs=1e-3)
    assert test["answer"]
    assert values["tokenizer"]["round_trip"]
    counts = values["parameters"]
    assert values["memory"]["needed_bytes"]["float32"] > 4 * counts["total"]


def test_a_model_of_any_other_sizes_and_its_words(folder, capsys):
    code, printed, _ = run(capsys, folder, "--no-self-test")
    assert code == 0
    assert "stage: base" in printed
    assert "note: the self-test was left out" in printed
    assert printed.endswith("healthy\n")


def test_a_finding_has_a_remedy_and_exit_code_2(folder, capsys):
    change_tensors(folder / WEIGHTS, lambda state: state.pop("bind.project.bias"))
    code, printed, _ = run(capsys, folder)
    assert code == 2
    assert "found: weights: 1 tensors missing: bind.project.bias\n   do: copy or download" in printed
    assert "note: the self-test was left out: mend the findings first" in printed
    assert printed.endswith("1 found\n")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.update(surplus=torch.ones(2)), "1 tensors unexpected: surplus"),
        (lambda s: s.update({"bind.project.bias": torch.ones(7)}), "bind.project.bias [7] instead of [40]"),
    ],
)
def test_weights_that_do_not_fit(change, problem, folder):
    change_tensors(folder / WEIGHTS, change)
    assert problem in found(diagnose(str(folder)))["weights"]


def test_weights_that_are_cut_short_or_gone(folder):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).unlink()
    assert "has no weights" in found(diagnose(str(folder)))["weights"]
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    assert "is cut short or damaged" in found(diagnose(str(folder)))["weights"]


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("language model", "language_model.model.layers.1.mlp.up_proj.weight"),
        ("encoder", "encoder.modality_trunks.vision.blocks.0.norm_1.weight"),
    ],
)
def test_weights_that_are_not_the_recorded_ones(part, name, folder):
    change_tensors(folder / WEIGHTS, shift(name))
    report = diagnose(str(folder), self_test=False)
    recorded = report.facts["fingerprints"][part.replace(" ", "_")]["recorded"]
    assert found(report).keys() == {part}
    assert f"recorded is the fingerprint {recorded}, but the weights have " in found(report)[part]
    assert diagnose(str(folder), fingerprints=False, self_test=False).healthy  # headers do not tell


def test_a_cache_of_another_encoder(folder, tiny_cache_folder):
    copy_folder(tiny_cache_folder, folder / "cache")
    assert diagnose(str(folder), self_test=False).healthy
    own = json.loads((folder / "cache" / "manifest.json").read_text())["encoder_fingerprint"]
    change_json(folder / "cache" / "manifest.json", encoder_fingerprint="0" * 16)
    problem = found(diagnose(str(folder), self_test=False))["cache"]
    assert problem == f"it was made by encoder {'0' * 16}, but the model uses encoder {own}"
    (folder / "cache" / "index.faiss").unlink()
    assert "has no index.faiss" in found(diagnose(str(folder), self_test=False))["cache"]


def test_a_tokenizer_of_another_model(folder):
    from transformers import AutoTokenizer

    from imagebind_llm.model import register

    register()
    other = AutoTokenizer.from_pretrained(folder)
    other.add_tokens(["<one>", "<two>"])
    for file in folder.glob("tokenizer*"):
        file.unlink()
    other.save_pretrained(folder)
    report = diagnose(str(folder), fingerprints=False, self_test=False)
    assert found(report)["tokenizer"] == "it has 261 tokens, the language model embeds 259"
    (folder / "tokenizer_config.json").unlink()
    assert "has no tokenizer_config.json" in found(diagnose(str(folder), self_test=False))["tokenizer"]


def test_a_configuration_of_which_nothing_can_be_built(folder):
    config = json.loads((folder / "config.json").read_text())
    change_json(folder / "config.json", text_config={**config["text_config"], "vocab_size": 100})
    problem = found(diagnose(str(folder)))["config.json"]
    assert problem.startswith("no model can be built from it: Padding_idx must be within")


def test_an_empty_answer_is_noted(folder, monkeypatch):
    monkeypatch.setattr(Driver, "complete", lambda self, jobs: [Completion([], "stop")] * len(jobs))
    assert any("the answer is empty" in note for note in diagnose(str(folder)).notes)


def test_gates_that_are_closed_after_training(folder):
    change_json(folder / "config.json", stage="finetune")
    assert diagnose(str(folder)).healthy
    change_tensors(folder / WEIGHTS, lambda state: state["injection.gate"].zero_())
    assert "media change nothing, though the stage is 'finetune'" in found(diagnose(str(folder)))["self-test"]


def test_large_folders_are_not_read(folder, monkeypatch):
    from imagebind_llm.common.fingerprint import StreamedTensors

    def refuse(*_, **__):
        raise AssertionError("read the weights")

    monkeypatch.setattr(doctor, "_CHEAP_BYTES", 1000)
    monkeypatch.setattr(StreamedTensors, "__getitem__", refuse)
    report = diagnose(str(folder))
    assert report.healthy
    assert [note.split(";")[0] for note in report.notes] == [
        "fingerprints were not computed from the weights",
        "the self-test was left out",
    ]
    with pytest.raises(AssertionError, match="read the weights"):
        diagnose(str(folder), fingerprints=True)


def test_an_adapter_and_its_parts(tmp_path):
    from imagebind_llm.checkpoints.export import export

    adapter = tmp_path / "adapter"
    export("nano", adapter, "adapter")
    report = diagnose(str(adapter))
    assert report.kind == "adapter"
    assert report.healthy
    assert report.facts["self_test"]["text_only_identical"]
    other = copy_folder(nano_folder(), tmp_path / "other")
    change_tensors(other / WEIGHTS, shift("language_model.model.layers.1.mlp.up_proj.base_layer.weight"))
    places = {"language_model": {"id": "../other"}, "encoder": {"id": "../gone"}}
    change_json(adapter / "config.json", base_models=places)
    problems = found(diagnose(str(adapter), self_test=False))
    assert problems.keys() == {"language model", "encoder"}
    assert "but the weights have" in problems["language model"]
    assert problems["encoder"] == "there is no folder '../gone'"
    places = {"language_model": {"id": "owner/llm"}, "encoder": None}
    change_json(adapter / "config.json", base_models=places)
    report = diagnose(str(adapter), self_test=False)
    assert found(report) == {"encoder": "the adapter does not say where it is"}
    assert any("owner/llm on the hub: it was not compared" in note for note in report.notes)


def test_an_adapter_whose_parts_are_those_of_another_adapter(tmp_path):
    from imagebind_llm.checkpoints.export import export

    for name in ("first", "second"):
        export("nano", tmp_path / name, "adapter")
    places = {"language_model": {"id": "../first"}, "encoder": {"id": "../first"}}
    change_json(tmp_path / "second" / "config.json", base_models=places)
    report = diagnose(str(tmp_path / "second"))
    assert report.healthy, report.findings
    for part in ("encoder", "language_model"):
        prints = report.facts["fingerprints"][part]
        assert prints["found"] == prints["recorded"] != None  # noqa: E711


def test_an_encoder_a_cache_and_a_language_model(tmp_path, tiny_model_folder, tiny_cache_folder, bot):
    from imagebind_llm.encoders import load_encoder
    from imagebind_llm.encoders.imagebind import save_imagebind

    save_imagebind(load_encoder(tiny_model_folder), tmp_path / "encoder")
    report = diagnose(str(tmp_path / "encoder"))
    assert (report.kind, report.healthy) == ("encoder", True)
    assert report.facts["encoder"]["fingerprint"] == bot.encoder_fingerprint
    assert report.facts["self_test"]["embedding_length"] == pytest.approx(1, abs=1e-3)
    change_tensors(
        tmp_path / "encoder" / WEIGHTS,
        lambda state: state.pop("modality_trunks.vision.blocks.0.norm_1.weight"),
    )
    assert "1 missing" in found(diagnose(str(tmp_path / "encoder")))["weights"]

    report = diagnose(str(tiny_cache_folder))
    assert (report.kind, report.healthy, report.facts["cache"]["pictures"]) == ("cache", True, 40)

    language_model("qwen2", vocab_size=260).save_pretrained(tmp_path / "llm")
    for file in [*tiny_model_folder.glob("tokenizer*"), tiny_model_folder / "chat_template.jinja"]:
        shutil.copy(file, tmp_path / "llm")
    report = diagnose(str(tmp_path / "llm"))
    assert (report.kind, report.healthy) == ("language model", True)
    assert len(report.facts["fingerprint"]) == 16
    assert "memory" in report.facts


def test_what_is_nothing(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"colour": "red"}')
    with pytest.raises(CheckpointError, match="holds no model, adapter, encoder, cache or language model"):
        diagnose(str(tmp_path))
    code, _, shown = run(capsys, tmp_path / "nowhere")
    assert code == 2
    assert shown.startswith("error: no model")


@pytest.mark.parametrize(
    ("free", "plan"),
    [
        ({"cuda:0": 20, "cpu": 99}, "--device cuda:0 --dtype bfloat16"),
        ({"cuda:0": 9, "cpu": 99}, "--device cuda:0 --quantize int8"),
        ({"cuda:0": 3, "cpu": 99}, "--device cpu --dtype float32"),
        ({"cuda:0": 3, "cpu": 17}, "--device cpu --dtype bfloat16"),
        ({"cuda:0": 3, "cuda:1": 3, "cpu": 4}, "--dtype bfloat16 --device-map auto --offload-dir FOLDER"),
        ({"cuda:0": 4, "cuda:1": 4, "cpu": 7}, "--dtype bfloat16 --device-map auto"),
    ],
)
def test_device_plan(free, plan):
    needed = {"float32": 30, "bfloat16": 15, "float16": 15, "int8": 8, "4bit": 5}
    assert checks.device_plan(needed, free).startswith(plan)
