"""Folders that lack something or are damaged: one line that names it, whichever command meets it."""

import json
import shutil

import pytest
from support.model_folders import change_json, copy_folder
from support.tiny import language_model

from imagebind_llm.cli import main

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tiny_model_folder, tmp_path):
    """A model that may be spoilt."""
    return copy_folder(tiny_model_folder, tmp_path / "model")


@pytest.fixture
def llm(tiny_model_folder, tmp_path):
    """A language model that may be spoilt."""
    language_model("llama", vocab_size=260).save_pretrained(tmp_path / "llm")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model_folder / name, tmp_path / "llm")
    return tmp_path / "llm"


@pytest.fixture
def run(capsys):
    """``run("ask", …)`` → exit code, output, complaint."""

    def call(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(word) for word in words])
        found = capsys.readouterr()
        return leaving.value.code, found.out, found.err

    return call


def refused(found, *words):
    code, _, shown = found
    last = shown.strip().splitlines()[-1]
    assert code == 2, shown
    assert last.startswith("error: "), shown
    for word in words:
        assert word in last, shown


def rewrite(file, change):
    """Put something else in the place of a linked file."""
    content = file.read_bytes()
    file.unlink()
    if change is not None:
        file.write_bytes(change(content))


def cut(content):
    return content[: len(content) // 2]


DAMAGE = {
    "weights cut": (WEIGHTS, cut, "cannot be read"),
    "weights empty": (WEIGHTS, lambda _: b"", "cannot be read"),
    "weights are text": (WEIGHTS, lambda _: b"hello, hello, hello", "cannot be read"),
    "weights gone": (WEIGHTS, None, "cannot be read"),
    "config cut": ("config.json", cut, "is not JSON"),
    "config is a list": ("config.json", lambda _: b"[]", "holds a list"),
    "config in another encoding": ("config.json", lambda _: b"\xff\xfe\x00", "is not JSON"),
    "generation settings cut": ("generation_config.json", cut, "is not JSON"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_asking_and_exporting(name, folder, run, tmp_path):
    file, change, words = DAMAGE[name]
    rewrite(folder / file, change)
    refused(run("ask", "Hi?", "--model", folder), words, str(folder))
    refused(run("export", folder, tmp_path / "out", "--full"), words, str(folder))
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    assert run("doctor", folder)[0] == 2


@pytest.mark.parametrize("name", ["weights cut", "weights empty", "weights are text", "config is a list"])
def test_summary(name, folder, run):
    file, change, _ = DAMAGE[name]
    rewrite(folder / file, change)
    refused(run("info", folder), file)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"base_models": {"encoder": 3, "language_model": None}}, "no model can be made of"),
        ({"base_models": {"encoder": {"path": "x"}, "language_model": None}}, "no model can be made of"),
        ({"text_config": {"model_type": "nope"}}, "no model can be made of"),
        ({"stage": "odd"}, "stage is 'odd'"),
    ],
)
def test_odd_settings(values, words, folder):
    from imagebind_llm.checkpoints.doctor import diagnose
    from imagebind_llm.common.errors import UserError
    from imagebind_llm.model.configuration import read_model_config

    change_json(folder / "config.json", **values)
    with pytest.raises(UserError, match=words):
        read_model_config(folder)
    (finding,) = diagnose(str(folder)).findings
    assert words in finding.problem


def test_an_adapter_keeps_its_generation_settings(tmp_path):
    from imagebind_llm.checkpoints.export import export
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model

    export("nano", tmp_path / "adapter", "adapter")
    change_json(tmp_path / "adapter" / "generation_config.json", max_new_tokens=17)
    assert Model.from_pretrained(tmp_path / "adapter").generation_config.max_new_tokens == 17


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("config.json", {"num_attention_heads": 0}, "no model can be built from it"),
        ("config.json", {"model_type": "nope"}, "no model can be built from it"),
        ("generation_config.json", cut, "is not JSON"),
    ],
)
def test_a_language_model(file, change, words, llm, run, tiny_model_folder, tmp_path):
    assert run("doctor", llm)[0] == 0
    if isinstance(change, dict):
        change_json(llm / file, **change)
    else:
        rewrite(llm / file, change)
    code, printed, _ = run("doctor", llm)
    assert code == 2
    assert words in printed
    refused(run("new", "--llm", llm, "--encoder", tiny_model_folder, "--out", tmp_path / "o"), "llm")
    assert not (tmp_path / "o").exists()


def test_a_chat_template_that_rewrites_turns_is_noted(llm, run):
    (llm / "chat_template.jinja").write_text("{{ messages | length }}{{ messages[0].content }}")
    code, printed, _ = run("doctor", llm, "--json")
    assert code == 0
    assert "imagebind-llm new takes this model with --template alpaca" in json.loads(printed)["notes"][-1]


def test_weights_of_other_shapes(llm, run, tiny_model_folder, tmp_path):
    change_json(llm / "config.json", intermediate_size=24)
    more = ("--encoder", tiny_model_folder, "--out", tmp_path / "o")
    refused(run("new", "--llm", llm, *more), "other shapes than its config.json says")
    refused(run("new", "--llm", llm, *more, "--revision", "v1"), "is a folder, which has no revisions")


def test_a_file_to_offload_to(folder, run, tmp_path):
    (tmp_path / "file").write_text("x")
    more = ("--device-map", "auto", "--max-memory", "cpu=100KB", "--offload-dir", tmp_path / "file")
    refused(run("ask", "Hi?", "--model", folder, *more), "is a file; name a folder to offload to")
