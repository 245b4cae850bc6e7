"""Nothing is converted that is not exactly what it should be, and nothing half-written stays."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import convert_worlds as world


def imagebind(convert, folder, state, **save):
    file = world.write_encoder(folder / "in", state, **save)
    return convert("imagebind", file, "--config", folder / "in" / "sizes.json", "--out", folder / "out")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: s.pop("modality_trunks.audio.blocks.1.attn.bias_k"),
            ("1 missing", "blocks.1.attn.bias_k"),
        ),
        (lambda s: s.update(surplus=torch.ones(2)), ("1 unexpected", "surplus")),
        (
            lambda s: s.update({"modality_heads.imu.3.weight": torch.ones(3, 3)}),
            ("1 of another shape", "modality_heads.imu.3.weight [3, 3] instead of [32, 32]"),
        ),
        (lambda s: [s.pop(k) for k in list(s) if "point" in k], ("missing", "point")),
        (lambda s: s["modality_preprocessors.text.mask"].zero_(), ("mask", "not 0 up to the diagonal")),
        (lambda s: s.clear(), ("holds nothing",)),
    ],
    ids=["missing", "extra", "shape", "point", "mask", "empty"],
)
def test_imagebind(change, words, convert, tmp_path, leftovers):
    state = {key: tensor.clone() for key, tensor in world.arrays("weights").items()}
    change(state)
    imagebind(convert, tmp_path, state).refused("imagebind.pth", *words)
    assert not leftovers(tmp_path, "in")


def test_imagebind_of_other_sizes_needs_them(convert, tmp_path):
    file = world.write_encoder(tmp_path / "in")
    convert("imagebind", file, "--out", tmp_path / "out").refused("of another shape", "missing")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("layers.1.attention.wo.weight"), ("1 missing", "layers.1.attention.wo.weight")),
        (lambda s: s.update({"layers.9.ffn_norm.weight": torch.ones(64)}), ("1 unexpected", "layers.9.ffn")),
        (
            lambda s: s.update({"layers.2.feed_forward.w2.weight": torch.ones(64, 191)}),
            ("layers.2.feed_forward.w2.weight [64, 191] instead of [64, 192]",),
        ),
        (lambda s: s.update({"tok_embeddings.weight": torch.ones(300, 63)}), ("hold 63 columns", "says 64")),
        (lambda s: s.pop("tok_embeddings.weight"), ("has no 'tok_embeddings.weight'",)),
    ],
    ids=["missing", "extra", "shape", "width", "embedding"],
)
def test_llama(change, words, convert, tmp_path, leftovers):
    state = world.base_state()
    change(state)
    folder = world.write_llama(tmp_path / "in", state)
    convert("llama", folder, "--out", tmp_path / "out").refused(*words)
    assert not leftovers(tmp_path, "in")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"dim": None}, ("no number 'dim'",)),
        ({"vocab_size": 301}, ("300 rows of token embedding", "params.json says 301")),
        ({"use_scaled_rope": True}, ("use_scaled_rope",)),
        ({"moe_args": {}}, ("moe_args",)),
        ({"n_layers": 5}, ("9 missing", "layers.4.attention")),
        ({"dim": 64.5}, ("64.5 for 'dim', expected a whole number above 0",)),
        ({"n_heads": 0}, ("0 for 'n_heads', expected a whole number above 0",)),
        ({"n_heads": 7}, ("shares a width of 64 among 7 heads",)),
        ({"rope_theta": "x"}, ("'x' for 'rope_theta', expected a number",)),
        ({"max_seq_len": "y"}, ("'y' for 'max_seq_len', expected a whole number",)),
        ({"vocab_size": "z"}, ("'z' for 'vocab_size', expected a number",)),
        ({"norm_eps": True}, ("True for 'norm_eps', expected a number",)),
    ],
)
def test_llama_parameters(params, words, convert, tmp_path):
    folder = world.write_llama(tmp_path / "in", params=world.facts("params") | params)
    convert("llama", folder, "--out", tmp_path / "out").refused(*words)


def test_llama_files(convert, tmp_path):
    out = ("--out", tmp_path / "out")
    convert("llama", tmp_path / "nowhere", *out).refused("no folder", "nowhere")
    folder = world.write_llama(tmp_path / "in", count=4)
    (folder / "consolidated.02.pth").rename(tmp_path / "third.pth")
    convert("llama", folder, *out).refused("has no consolidated.02.pth but later ones")
    (folder / "consolidated.03.pth").unlink()
    convert("llama", folder, *out).refused("the 2 consolidated files", "hold 32 columns", "says 64")
    for file in folder.glob("*.pth"):
        file.unlink()
    convert("llama", folder, *out).refused("no consolidated.00.pth")
    (folder / "params.json").write_text("{")
    convert("llama", folder, *out).refused("is not JSON")
    (folder / "params.json").unlink()
    convert("llama", folder, *out).refused("params.json")


def test_llama_pieces_of_different_models(convert, tmp_path):
    folder = world.write_llama(tmp_path / "in", count=2)
    part = torch.load(folder / "consolidated.01.pth", weights_only=True)
    part["norm.weight"] += 1
    torch.save(part, folder / "consolidated.01.pth")
    convert("llama", folder, "--out", tmp_path / "out").refused("different values of norm.weight")
    del part["norm.weight"]
    torch.save(part, folder / "consolidated.01.pth")
    convert("llama", folder, "--out", tmp_path / "out").refused("do not hold the same tensors", "norm.weight")
    assert not (tmp_path / "out").exists()


def test_llama_tokenizer(convert, tmp_path):
    folder = world.write_llama(tmp_path / "in", pieces=299)
    out = ("--out", tmp_path / "out")
    convert("llama", folder, *out).refused("299 pieces", "300 rows")
    (folder / "tokenizer.model").write_bytes(b"no model")
    convert("llama", folder, *out).refused("not a whole SentencePiece model")
    (folder / "tokenizer.model").unlink()
    convert("llama", folder, *out).refused("tokenizer.model", "--tokenizer FILE")
    world.write_tokenizer(tmp_path / "tokenizer.model")  # where Meta's download has it: in the folder above
    assert convert("llama", folder, *out).code == 0


class Attack:
    """Runs a command when it is unpickled the careless way."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code(zipped, convert, tmp_path, leftovers):
    state = dict(world.arrays("weights")) | {"zz": Attack(tmp_path / "owned")}
    run = imagebind(convert, tmp_path, state, _use_new_zipfile_serialization=zipped)
    run.refused("holds code", "system", "source you trust")
    assert not leftovers(tmp_path, "in")


def test_a_bare_pickle_with_code(convert, tmp_path, leftovers):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "7B.pth").write_bytes(pickle.dumps(Attack(tmp_path / "owned"), protocol=2))
    convert("imagebind", tmp_path / "in" / "7B.pth", "--out", tmp_path / "out").refused("7B.pth")
    assert not leftovers(tmp_path, "in")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file(share, zipped, convert, tmp_path, leftovers):
    file = world.write_encoder(tmp_path / "in", _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    sizes = ("--config", tmp_path / "in" / "sizes.json")
    convert("imagebind", file, *sizes, "--out", tmp_path / "out").refused("download it again")
    assert not leftovers(tmp_path, "in")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "a list"),
        ({"model": {"x": 1}}, "a int under 'x'"),
        ({"state_dict": torch.ones(2), "epoch": 3}, "a int under 'epoch'"),
    ],
)
def test_other_content(content, words, convert, tmp_path):
    imagebind(convert, tmp_path, content).refused("holds", words)


def test_other_files(convert, tmp_path):
    out = ("--out", tmp_path / "out")
    file = tmp_path / "page.pth"
    file.write_text("<html>not found</html>")
    convert("imagebind", file, *out).refused("no PyTorch or safetensors file", "<html>")
    convert("imagebind", tmp_path / "none.pth", *out).refused("no file", "none.pth")
    broken = tmp_path / "x.safetensors"
    save_file({"x": torch.ones(9)}, broken)
    broken.write_bytes(broken.read_bytes()[:-5])
    convert("imagebind", broken, *out).refused("cut short or damaged")


def test_what_exists_is_not_touched(convert, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    imagebind(convert, tmp_path, None).refused("already exists")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_options(convert, tmp_path):
    file = world.write_encoder(tmp_path / "in")
    sizes = ("--config", tmp_path / "in" / "sizes.json", "--out", tmp_path / "out")
    convert("imagebind", file, *sizes, "--shard-size", "many").refused("not a size", "2GB")
    convert("imagebind", file, *sizes, "--dtype", "int8").refused("unknown dtype 'int8'")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A converted base and encoder."""
    from imagebind_llm.checkpoints.convert.imagebind import plan_imagebind
    from imagebind_llm.checkpoints.convert.llama import plan_llama
    from imagebind_llm.checkpoints.convert.store import convert

    place = tmp_path_factory.mktemp("parts")
    file = world.write_encoder(place)
    convert(plan_imagebind(file, place / "sizes.json"), place / "encoder")
    convert(plan_llama(world.write_llama(place / "LLaMA")), place / "base")
    state, params = world.grouped_state(dtype=torch.float32)
    convert(plan_llama(world.write_llama(place / "small", state, params=params)), place / "other")
    return place


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.pop("llama.layers.2.feed_forward.lora_w3_l2.weight"), ("1 missing", "lora_w3_l2")),
        (lambda a: a.pop("llama.layers.3.attention.gate"), ("layers is 3", "is 4")),
        (
            lambda a: a.update({"llama.layers.0.attention.wk.bias": torch.ones(64)}),
            ("1 unexpected", "wk.bias"),
        ),
        (lambda a: a.pop("prefix_query.weight"), ("no tensor 'prefix_query.weight'",)),
        (
            lambda a: a.update({"image_bind_f2_3.weight": torch.ones(64, 255)}),
            ("bind.blocks.2.f2.weight [64, 255] instead of [64, 256]",),
        ),
        (
            lambda a: a.update({"image_bind_proj.weight": torch.ones(64, 33)}),
            ("embeddings of 33 numbers", "gives 32", "use the one it was trained with"),
        ),
        (lambda a: a.update({"image_bind_proj.weight": torch.ones(3)}), ("7B.pth", "has vectors where")),
        (lambda a: a.update({"prefix_query.weight": torch.tensor(3.0)}), ("7B.pth", "has vectors where")),
        (
            lambda a: a.update({"llama.layers.1.attention.gate": torch.ones(1, 3, 1, 1)}),
            ("does not fit the language model", "use the base it was trained with"),
        ),
        (
            lambda a: a.update({"llama.layers.1.attention.lora_wq_l2.weight": torch.ones(63, 16)}),
            ("does not fit the language model", "use the base it was trained with"),
        ),
        (
            lambda a: a.update({"prefix_query.weight": a["prefix_query.weight"].long()}),
            ("injection.query torch.int64 instead of torch.float32",),
        ),
        (
            lambda a: a.update({"llma.norm.weight": a["llama.norm.weight"] * 2}),
            ("the same tensor as llama.norm.weight and as llma.norm.weight",),
        ),
        (
            lambda a: a.update({"prefix_query.weight": torch.ones(9, 64)}),
            ("last 9 layers", "has 4"),
        ),
    ],
    ids=[
        "missing",
        "gate",
        "extra",
        "query",
        "shape",
        "encoder",
        "axes",
        "query axes",
        "heads",
        "rows",
        "kind",
        "twice",
        "queries",
    ],
)
def test_adapter(change, words, parts, convert, tmp_path, leftovers):
    state = dict(world.tensors("adapter"))
    change(state)
    torch.save({"model": state}, tmp_path / "7B.pth")
    places = ("--base", parts / "base", "--encoder", parts / "encoder", "--out", tmp_path / "out")
    convert("adapter", tmp_path / "7B.pth", *places).refused(*words)
    assert not leftovers(tmp_path, "7B.pth")


def test_adapter_on_wrong_parts(parts, convert, tmp_path, leftovers):
    torch.save({"model": dict(world.tensors("adapter"))}, tmp_path / "7B.pth")

    def call(base, encoder):
        return convert(
            "adapter", tmp_path / "7B.pth", "--base", base, "--encoder", encoder, "--out", tmp_path / "o"
        )

    call(parts / "base", tmp_path / "7B.pth").refused("is a file; give the model folder")
    call(parts / "other", parts / "encoder").refused("width is 64", "is 32", "the base it was trained with")
    call(parts / "LLaMA", parts / "encoder").refused("Meta's layout", "convert llama")
    call(parts / "encoder", parts / "encoder").refused("expected 'llama'")
    call(parts / "base", tmp_path).refused("no config.json")
    call(tmp_path, parts / "encoder").refused("neither params.json nor config.json")
    assert not leftovers(tmp_path, "7B.pth")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{", ("is not JSON", "config.json")),
        ({"num_attention_heads": 0}, ("no LLaMA can be built", "config.json")),
        ({"hidden_size": "wide"}, ("no LLaMA can be built", "config.json")),
        ({"num_hidden_layers": 5}, ("9 missing", "layers.4.")),
    ],
)
def test_adapter_on_a_damaged_base(change, words, parts, convert, tmp_path):
    import shutil

    torch.save({"model": dict(world.tensors("adapter"))}, tmp_path / "7B.pth")
    base = shutil.copytree(parts / "base", tmp_path / "base")
    config = base / "config.json"
    text = change if isinstance(change, str) else json.dumps(json.loads(config.read_text()) | change)
    config.write_text(text)
    more = ("--base", base, "--encoder", parts / "encoder", "--out", tmp_path / "out")
    convert("adapter", tmp_path / "7B.pth", *more).refused(*words)
    assert not (tmp_path / "out").exists()


def test_the_vocabulary_of_7b_is_checked(tmp_path):
    """Of LLaMA-7B's sizes only one vocabulary was ever used; sizes are enough, no weights are needed."""
    from types import SimpleNamespace

    from imagebind_llm.checkpoints.convert.adapter import check_vocabulary
    from imagebind_llm.common.errors import CheckpointError

    sizes = {
        "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 32,
        "intermediate_size": 11008,
    }  # fmt: skip
    for size in (32000, 49954):
        base = SimpleNamespace(config=SimpleNamespace(**sizes, vocab_size=size), folder=tmp_path)
        if size == 32000:
            check_vocabulary(base, tmp_path)
            continue
        with pytest.raises(CheckpointError, match=r"vocabulary of 32000, but .* has 49954"):
            check_vocabulary(base, tmp_path)


def cut_index(path, rows):
    import faiss

    index = faiss.IndexFlatIP(32)
    index.add(rows)
    faiss.write_index(index, str(path))


def test_cache(parts, convert, tmp_path, leftovers):
    rows = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    file = tmp_path / "knn.index"
    cut_index(file, rows)
    more = ("--encoder", parts / "encoder", "--out", tmp_path / "cache")
    (tmp_path / "names.json").write_text(json.dumps(["a"] * 49))
    convert("cache", file, *more, "--names", tmp_path / "names.json").refused("49 names for 50 vectors")
    (tmp_path / "names.json").write_text("{}")
    convert("cache", file, *more, "--names", tmp_path / "names.json").refused("not a JSON list of names")
    convert("cache", file, *more, "--kind", "tiny").refused("expected keep, exact or hnsw_sq8")
    convert("cache", tmp_path / "none", *more).refused("no file")
    cut_index(tmp_path / "long.index", rows * 3)
    convert("cache", tmp_path / "long.index", *more).refused("vector of length 3")
    file.write_bytes(file.read_bytes()[:-99])
    convert("cache", file, *more).refused("truncated or not a faiss index")
    assert not leftovers(tmp_path, "knn.index", "long.index", "names.json")
