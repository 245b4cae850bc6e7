"""Exporting models, and which parts may be put together again."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from support.model_folders import change_json, change_tensors, copy_folder, shift

from imagebind_llm.checkpoints.card import Evaluation
from imagebind_llm.checkpoints.export import export, probe_logits
from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.locate import ADAPTER_FILE, nano_folder
from imagebind_llm.evaluation.report import card_section
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model


def load(name):
    return Model.from_pretrained(nano_folder() if name == "nano" else name, dtype=torch.float32)


@pytest.fixture(scope="module")
def nano_logits():
    return probe_logits(load("nano"))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """An adapter made on nano."""
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    export("nano", folder, "adapter")
    return folder


def test_an_adapter_made_on_nano_and_reloaded_on_nano_gives_identical_logits(adapter, nano_logits):
    names = {path.name for path in adapter.iterdir()}
    assert ADAPTER_FILE in names
    assert "README.md" in names
    assert not names & {"model.safetensors", "cache"}
    config = json.loads((adapter / "config.json").read_text())
    assert config["base_models"]["language_model"]["id"] == "nano"
    assert str(Path.home()) not in json.dumps(config["base_models"])
    assert torch.equal(probe_logits(load(adapter)), nano_logits)


def test_the_transformers_way_to_an_adapter(adapter, nano_logits):
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    from imagebind_llm import register

    register()
    model = AutoModelForMultimodalLM.from_pretrained(adapter, dtype=torch.float32)
    assert torch.equal(probe_logits(model), nano_logits)
    messages = [{"role": "user", "content": "Hi?"}]
    assert "input_ids" in AutoProcessor.from_pretrained(adapter).apply_chat_template(messages)


def test_an_adapter_on_the_hub(adapter, nano_logits, tmp_path, monkeypatch):
    """By its id alone: what it consists of is fetched, and its base is the model in this package."""
    from huggingface_hub import constants
    from support.hub_server import HubServer, Repository

    server = HubServer()
    files = {path.name: path.read_bytes() for path in adapter.iterdir() if path.is_file()}
    server.repositories["maker/adapter"] = Repository(files, lfs={ADAPTER_FILE})
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    try:
        model = Model.from_pretrained("maker/adapter", dtype=torch.float32, cache_dir=tmp_path)
    finally:
        server.shutdown()
        server.server_close()
    assert torch.equal(probe_logits(model), nano_logits)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("language_model", "language_model.model.layers.1.mlp.up_proj.base_layer.weight"),
        ("encoder", "encoder.modality_trunks.vision.blocks.0.norm_1.weight"),
    ],
)
def test_an_adapter_on_another_part_is_refused_with_both_fingerprints(part, name, adapter, tmp_path):
    other = copy_folder(nano_folder(), tmp_path / "other")
    change_tensors(other / "model.safetensors", shift(name))
    copy = copy_folder(adapter, tmp_path / "adapter")
    config = json.loads((copy / "config.json").read_text())
    bases = {**config["base_models"], part: {"id": str(other)}}
    change_json(copy / "config.json", base_models=bases)
    recorded = config["fingerprints"][part]
    expected = f"{part.replace('_', ' ')} {recorded}, but this one is [0-9a-f]{{16}};"
    with pytest.raises(CheckpointError, match=expected) as refused:
        load(copy)
    assert str(refused.value).count(recorded) == 1  # the other one is another


def test_an_adapter_without_norms_of_its_own_cannot_stand_on_a_finetuned_model(adapter, tmp_path):
    copy = copy_folder(adapter, tmp_path / "adapter")
    change_json(copy / "config.json", norm_tuned=False)
    with pytest.raises(
        CheckpointError, match=r"was finetuned \(norms\), and the adapter does not bring its own"
    ):
        load(copy)


def test_a_cache_of_another_encoder_is_refused_with_both_fingerprints(tmp_path):
    from imagebind_llm import Assistant
    from imagebind_llm.common.errors import CacheError

    export("nano", tmp_path / "copy", "full", cache=True)
    manifest = tmp_path / "copy" / "cache" / "manifest.json"
    values = json.loads(manifest.read_text())
    own = values["encoder_fingerprint"]
    manifest.write_text(json.dumps({**values, "encoder_fingerprint": "0" * 16}))
    bot = Assistant.from_pretrained(tmp_path / "copy", device="cpu")
    with pytest.raises(CacheError, match=f"made by encoder {'0' * 16}, but the model uses encoder {own}"):
        _ = bot.cache


def test_full_and_back(adapter, tmp_path, nano_logits):
    done = export(str(adapter), tmp_path / "full", "full", dtype=torch.float32)
    assert "model.safetensors" in done.files
    assert done.files["model.safetensors"] == (tmp_path / "full" / "model.safetensors").stat().st_size
    config = json.loads((tmp_path / "full" / "config.json").read_text())
    assert config["base_models"] == {"encoder": None, "language_model": None}
    assert config["fingerprints"] == json.loads((adapter / "config.json").read_text())["fingerprints"]
    assert torch.equal(probe_logits(load(tmp_path / "full")), nano_logits)
    again = export(str(tmp_path / "full"), tmp_path / "again", "adapter", dtype=torch.float16)
    # its base is the folder it came from, named as seen from where it lies, and we are told so
    places = json.loads((tmp_path / "again" / "config.json").read_text())["base_models"]
    assert places["language_model"]["id"] == os.path.join("..", "full")
    assert places["encoder"]["id"] == "nano"  # the same weights, whatever folder they were taken from
    (told,) = [note for note in again.notes if "before publishing" in note]
    assert told.startswith("the language model is named by its folder")
    assert torch.equal(probe_logits(load(tmp_path / "again")), nano_logits)


def test_merged_says_the_same(tmp_path, nano_logits):
    done = export("nano", tmp_path / "merged", "merged", dtype=torch.float32, cache=False)
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["lora"] is None
    assert not [name for name in load_file(tmp_path / "merged" / "model.safetensors") if "lora" in name]
    found = probe_logits(load(tmp_path / "merged"))
    assert not torch.equal(found, nano_logits)
    assert float((found - nano_logits).abs().max()) <= 1e-3 * float(nano_logits.std())
    assert done.comparison.agreement == 1.0
    before = json.loads((nano_folder() / "config.json").read_text())["fingerprints"]
    assert config["fingerprints"]["encoder"] == before["encoder"]
    assert config["fingerprints"]["language_model"] != before["language_model"]
    with pytest.raises(CheckpointError, match="no low-rank updates to merge"):
        export(str(tmp_path / "merged"), tmp_path / "twice", "merged")
    assert {path.name for path in tmp_path.iterdir()} == {"merged"}


def test_a_merge_that_changes_the_answers_is_not_written(tmp_path, monkeypatch):
    from imagebind_llm.checkpoints import export as module

    merge = module.merge_lora

    def clumsy(model):
        merge(model)
        with torch.no_grad():
            model.language_model.get_input_embeddings().weight[100:300] *= 1.5

    monkeypatch.setattr(module, "merge_lora", clumsy)
    with pytest.raises(
        CheckpointError, match=r"answers differently: logits differ by up to .*, rounding explains"
    ):
        export("nano", tmp_path / "merged", "merged", dtype=torch.float32)
    assert list(tmp_path.iterdir()) == []


def test_the_card(adapter, tmp_path, evaluation_results):
    text = (adapter / "README.md").read_text()
    matter = yaml.safe_load(text.split("---\n")[1])
    assert matter["pipeline_tag"] == "any-to-any"
    assert (matter["license"], matter["license_name"]) == ("other", "research-only")
    assert "Weights: for research only." in text
    assert "model-index" not in matter
    assert "None was recorded with this export." in text
    assert json.loads((adapter / "config.json").read_text())["fingerprints"]["encoder"] in text
    export(
        "nano",
        tmp_path / "named",
        "adapter",
        evaluation=Evaluation(evaluation_results, card_section(evaluation_results)),
        bases={"language_model": "owner/llm", "encoder": "owner/encoder"},
        licence="cc-by-nc-4.0",
    )
    text = (tmp_path / "named" / "README.md").read_text()
    matter = yaml.safe_load(text.split("---\n")[1])
    assert set(matter["base_model"]) == {
        "owner/llm",
        "owner/encoder",
    }
    assert matter["license"] == "cc-by-nc-4.0"
    assert matter["language"] == ["en", "zh"]
    (entry,) = matter["model-index"]
    assert entry["name"] == "named"
    assert entry["results"][0]["metrics"][0]["value"] == 87.5
    assert "| spoken digits (real) |" in text
    other = json.loads(json.dumps(evaluation_results))
    other["model"]["fingerprints"]["encoder"] = "f" * 16
    with pytest.raises(UserError, match=f"whose encoder is {'f' * 16}, that of"):
        export("nano", tmp_path / "wrong", "full", evaluation=Evaluation(other, card_section(other)))
    assert not (tmp_path / "wrong").exists()


@pytest.fixture
def evaluation_results():
    """What the card reads of an evaluation's results."""
    score = {"n": 40, "correct": 35, "accuracy": 0.875, "low": 0.74, "high": 0.95}
    row = {
        "name": "spoken digits",
        "origin": "real",
        "modality": "audio",
        "default": "on",
        "cache_on": score,
        "cache_off": score,
        "encoder": score,
        "doubt": score,
        "shuffled": score,
        "chance": 0.1,
    }
    mixture = {"name": "picture + sound", "default": "off", "cache_on": score, "cache_off": score}
    fingerprints = json.loads((nano_folder() / "config.json").read_text())["fingerprints"]
    return {
        "task": "nano",
        "model": {"fingerprints": fingerprints},
        "senses": [row],
        "mixtures": [mixture],
        "wordings": {"all": {"en/heldout": score, "zh/heldout": score}},
    }


# --- nothing half-written


def test_a_folder_in_use_is_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(CheckpointError, match="already exists; give a new folder"):
        export("nano", tmp_path / "mine", "full")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_full_disk_is_seen_before(tmp_path, monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 70 * 10**6))
    with pytest.raises(CheckpointError, match=r"needs 2\d\.\d MB, but the disk of '.*' has 70.0 MB free"):
        export("nano", tmp_path / "out", "full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # as safetensors says it
    ],
)
def test_a_disk_that_fills_up_leaves_nothing(error, tmp_path, monkeypatch):
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(ImageBindLLMProcessor, "save_pretrained", fail)  # after the weights
    with pytest.raises(CheckpointError, match="is full, or the file would be larger than allowed"):
        export("nano", tmp_path / "out", "full")
    assert list(tmp_path.iterdir()) == []


_IN_A_PROCESS = """
import sys, time, resource, signal
from imagebind_llm.cli import main
from imagebind_llm.common import folders
if sys.argv[1] == "limit":  # the kernel refuses to write beyond 8 MB, as a full disk or a quota does
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))
else:
    def wait(*_):
        print("writing", flush=True)
        time.sleep(120)
    setattr(folders, sys.argv[1], wait)
main(["export", "nano", sys.argv[2], "--full"])
"""


def test_a_write_that_the_kernel_refuses_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_PROCESS, "limit", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: the disk of ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["mark", "atomic_write"])
def test_killed_in_the_middle_leaves_no_result_and_the_next_run_cleans_up(moment, tmp_path):
    """When all is written and not yet in its place, and while the weights are moved into the folder."""
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_A_PROCESS, moment, str(tmp_path / "other")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(tmp_path.glob(".other.imagebind-llm-????????"))) == 1
    time.sleep(0.1)
    export("nano", out, "adapter")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert (out / ADAPTER_FILE).is_file()
    assert not (out / "model.safetensors").exists()


def test_command_line(tmp_path, capsys):
    from imagebind_llm.cli import main

    def run(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main(["export", *map(str, words)])
        printed = capsys.readouterr()
        return leaving.value.code, printed.out, printed.err

    code, printed, _ = run("nano", tmp_path / "a", "--adapter-only", "--json")
    assert code == 0
    values = json.loads(printed)
    assert values["bytes"] == sum(path.stat().st_size for path in (tmp_path / "a").iterdir())
    for words, message in (
        (("nano", tmp_path / "b"), "exactly one of --adapter-only, --full, --merged"),
        (("nano", tmp_path / "b", "--full", "--merged"), "exactly one of"),
        (("nano", tmp_path / "b", "--full", "--encoder", "x/y"), "are for --adapter-only"),
        (("nano", tmp_path / "b", "--full", "--dtype", "int8"), "int8"),
        (("nano", tmp_path / "b", "--full", "--evaluation", tmp_path), "has no results.json"),
        ((tmp_path / "a", tmp_path / "b", "--full", "--cache"), "has no visual cache to take along"),
    ):
        code, _, shown = run(*words)
        assert (code, message in shown) == (2, True), shown
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
