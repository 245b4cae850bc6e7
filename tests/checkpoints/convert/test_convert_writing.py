"""How results are written: same values in every layout, resumed after a kill, never half."""

import builtins
import errno
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import convert_worlds as world

from imagebind_llm.checkpoints.convert import store
from imagebind_llm.checkpoints.convert.imagebind import plan_imagebind
from imagebind_llm.checkpoints.convert.llama import llama_from_original, llama_to_original
from imagebind_llm.checkpoints.convert.shards import write_safetensors
from imagebind_llm.common.folders import MARK
from imagebind_llm.model.families import DecoderShape


def read(folder):
    """All tensors of a folder, through its index if it has one."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return load_file(folder / "model.safetensors")
    where = json.loads(index.read_text())["weight_map"]
    found = {}
    for name in sorted(set(where.values())):
        part = load_file(folder / name)
        assert {where[key] for key in part} == {name}
        found |= part
    assert found.keys() == where.keys()
    return found


def same(one, other):
    assert one.keys() == other.keys()
    return all(one[key].dtype == other[key].dtype and torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_cut_and_grouped_models_round_trip(count, kv_heads, convert, tmp_path):
    """Meta's files for any number of GPUs → transformers → Meta's tensors, bit for bit; and it generates."""
    from transformers import AutoModelForCausalLM

    state, params = world.grouped_state(kv_heads)
    # LLaMA 1 and 2 cut the token embedding by columns, 3 by rows
    folder = world.write_llama(tmp_path / "in", state, count, params, vocabulary_wise=kv_heads == 2)
    assert convert("llama", folder, "--out", tmp_path / "out", "--shard-size", "6kB").code == 0
    found = read(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("model-*"))) > 3
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    shape = DecoderShape.of(model.config)
    assert (shape.kv_heads, model.dtype) == (kv_heads, torch.float16)
    assert same(llama_to_original(found, shape), state)
    assert same(model.state_dict(), llama_from_original(state, shape))
    assert model.config.rms_norm_eps == 1e-5
    assert model.generate(torch.tensor([[1, 5, 6]]), max_new_tokens=3, do_sample=False).shape == (1, 6)


def test_same_numbers_as_the_reference(convert, tmp_path):
    from transformers import AutoModelForCausalLM

    assert convert("llama", world.write_llama(tmp_path / "in", count=2), "--out", tmp_path / "out").code == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    logits = model(world.tensors("inputs")["train_tokens"]).logits
    torch.testing.assert_close(logits, world.tensors("base_outputs")["base_llama_logits"], atol=2e-4, rtol=0)


def test_the_tokenizer_is_the_original_one(tmp_path):
    """Every way a prompt begins and continues: the ids are SentencePiece's, also after saving and loading."""
    import sentencepiece
    from transformers import AutoTokenizer, LlamaTokenizer

    from imagebind_llm.checkpoints.convert.tokenizer import load_original_tokenizer, saved_tokenizer
    from imagebind_llm.model.dialog import ALPACA_TEMPLATE, build_dialog

    text = "Below is an instruction that describes a task.\n### Response: seven birds over  the water 0123\n"
    (tmp_path / "text.txt").write_text(text * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(tmp_path / "tokenizer"), vocab_size=340,
        model_type="bpe", byte_fallback=True, normalization_rule_name="identity", split_digits=True,
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, minloglevel=3,
    )  # fmt: skip
    original = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    load_original_tokenizer(tmp_path / "tokenizer.model", 340).save_pretrained(tmp_path / "saved")
    once = AutoTokenizer.from_pretrained(tmp_path / "saved")
    once.save_pretrained(tmp_path / "again")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "again")
    # a folder as others make it: with the original file, and transformers' own class
    LlamaTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "theirs")
    shutil.copy(tmp_path / "tokenizer.model", tmp_path / "theirs")
    theirs = saved_tokenizer(tmp_path / "theirs", 340)
    for question in ("what is this?", "  seven  birds\n\tover 日本 77", "é"):
        messages = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(messages, chat_template=ALPACA_TEMPLATE, tokenize=False)
        assert prompt.startswith("<s>Below")
        expected = [1, *original.encode(prompt.removeprefix("<s>"))]
        assert build_dialog(messages, tokenizer, True).input_ids == expected
        assert build_dialog(messages, theirs, True).input_ids == expected
        assert tokenizer.decode(expected, skip_special_tokens=True) == original.decode(expected[1:])


def test_dry_run(convert, tmp_path):
    folder = world.write_llama(tmp_path / "in", count=2)
    run = convert("llama", folder, "--out", tmp_path / "out", "--dry-run")
    assert run.code == 0
    assert (
        "layers.1.attention.wk.weight -> model.layers.1.self_attn.k_proj.weight  float32 [64, 64]  "
        "(rows of each head from pairs to halves)\n" in run.out
    )
    assert "rope.freqs -> left out (computed)\n" in run.out
    assert run.out.endswith("nothing was written\n")
    values = json.loads(convert("llama", folder, "--out", tmp_path / "out", "--dry-run", "--json").out)
    assert len(values["tensors"]) == 39
    assert values["bytes"] == sum(t.numel() * 4 for k, t in world.base_state().items() if "rope" not in k)
    assert [file.name for file in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("suffix", ["pth", "old pth", "safetensors"])
def test_encoder_formats_and_precisions(suffix, dtype, convert, tmp_path):
    from imagebind_llm.encoders.imagebind import load_imagebind

    file = world.write_encoder(tmp_path / "in", _use_new_zipfile_serialization=suffix == "pth")
    if suffix == "safetensors":
        file = file.with_suffix(".safetensors")
        save_file(dict(world.arrays("weights")), file)
    sizes = ("--config", tmp_path / "in" / "sizes.json")
    run = convert(
        "imagebind", file, *sizes, "--out", tmp_path / "out", "--dtype", dtype, "--shard-size", "2MB"
    )
    assert run.code == 0, run.err
    found = read(tmp_path / "out")
    for key, tensor in world.arrays("weights").items():
        kind = getattr(torch, dtype) if tensor.is_floating_point() else tensor.dtype
        assert torch.equal(found[key], tensor.to(kind)), key
    loaded = load_imagebind(tmp_path / "out")  # from several files
    assert len(list((tmp_path / "out").glob("model-*"))) > 2
    assert torch.equal(
        loaded.state_dict()["modality_heads.vision.2.weight"].half(),
        found["modality_heads.vision.2.weight"].half(),
    )


def difference(seed=3, scale=0.01):
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(tensor.shape, generator=generator).to(tensor.dtype) * scale
        for key, tensor in world.base_state().items()
        if "rope" not in key
    }


def test_delta(convert, tmp_path):
    """Of either layout, on a base of either layout: the same sum, in the base's precision."""
    base = {key: tensor.half() for key, tensor in world.base_state().items()}
    world.write_llama(tmp_path / "base", base)
    world.write_llama(tmp_path / "delta", difference())
    assert convert("llama", tmp_path / "base", "--out", tmp_path / "base-hf").code == 0
    assert convert("llama", tmp_path / "delta", "--out", tmp_path / "delta-hf").code == 0
    results = []
    for number, pair in enumerate((("delta", "base"), ("delta-hf", "base"), ("delta", "base-hf"))):
        out = tmp_path / f"sum{number}"
        run = convert("delta", tmp_path / pair[0], "--base", tmp_path / pair[1], "--out", out)
        assert run.code == 0, run.err
        results.append(read(out))
    shape = DecoderShape(layers=4, width=64, heads=4, kv_heads=4, head_dim=16)
    expected = {key: (base[key].float() + tensor.float()).half() for key, tensor in difference().items()}
    assert same(llama_to_original(results[0], shape), expected)
    assert same(results[0], results[1])
    assert same(results[0], results[2])
    config = json.loads((out / "config.json").read_text())
    assert config["dtype"] == "float16"
    assert (out / "tokenizer.json").read_bytes() == (tmp_path / "base-hf" / "tokenizer.json").read_bytes()


def test_delta_on_a_wrong_base(convert, tmp_path, leftovers, monkeypatch):
    base = world.write_llama(tmp_path / "base")
    whole = {
        key: tensor + difference()[key] for key, tensor in world.base_state().items() if "rope" not in key
    }
    world.write_llama(tmp_path / "whole", whole)
    state, params = world.grouped_state(dtype=torch.float32)
    world.write_llama(tmp_path / "small", state, params=params)
    world.write_llama(tmp_path / "delta", difference())
    more = ("--base", base, "--out", tmp_path / "out")
    convert("delta", tmp_path / "whole", *more).refused("looks like a whole model")
    convert("delta", tmp_path / "small", *more).refused("tensors of other shapes")
    from imagebind_llm.checkpoints.convert import delta

    # the check of LLaMA-1 7B, made to apply to the tiny sizes
    monkeypatch.setattr(delta, "_SIZES_7B", (4, 64, 4, 4, 192, 300))
    convert("delta", tmp_path / "delta", *more).refused("has the sizes of LLaMA-1 7B but not its SHA-256")
    assert not leftovers(tmp_path, "base", "whole", "small", "delta")
    assert convert("delta", tmp_path / "delta", *more, "--any-base").code == 0


KILLED = """
import os, signal, sys
from imagebind_llm.checkpoints.convert import store
write, count = store.write_safetensors, 0

def killed(path, *arguments):
    global count
    count += 1
    if count == 3:  # in the middle of the third file
        path.write_bytes(b"half a file")
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path, *arguments)

store.write_safetensors = killed
from imagebind_llm.cli import main
main(sys.argv[1:])
"""


def test_killed_and_resumed(convert, tmp_path, leftovers):
    file = world.write_encoder(tmp_path / "in")
    command = [
        "convert",
        "imagebind",
        file,
        "--config",
        tmp_path / "in" / "sizes.json",
        "--shard-size",
        "2MB",
    ]
    assert convert(*command[1:], "--out", tmp_path / "expected").code == 0
    command = [*map(str, command), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", KILLED, *command], capture_output=True)
    assert done.returncode == -9
    stage = tmp_path / ".out.converting"
    assert not (tmp_path / "out").exists()
    assert len(list(stage.glob("model-*.safetensors"))) == 2
    # one of the two finished files is damaged afterwards: it is noticed and written again
    first = stage / "model-00001-of-00004.safetensors"
    kept = (stage / "model-00002-of-00004.safetensors").stat().st_ino
    with open(first, "r+b") as damaged:
        damaged.seek(-3, 2)
        damaged.write(b"xxx")
    values = json.loads(convert(*command[1:], "--json").out)
    assert (values["files"], values["resumed_files"]) == (4, 1)
    assert (tmp_path / "out" / "model-00002-of-00004.safetensors").stat().st_ino == kept
    for expected in (tmp_path / "expected").iterdir():
        assert (tmp_path / "out" / expected.name).read_bytes() == expected.read_bytes(), expected.name
    assert leftovers(tmp_path, "in", "expected") == {"out"}


def test_leftovers_of_another_conversion_are_not_used(convert, tmp_path, monkeypatch):
    file = world.write_encoder(tmp_path / "in")
    command = ["imagebind", str(file), "--config", str(tmp_path / "in" / "sizes.json")]
    command += ["--shard-size", "2MB", "--out", str(tmp_path / "out")]
    written = []

    def interrupted(path, *arguments):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        return write_safetensors(path, *arguments)

    with monkeypatch.context() as context:
        context.setattr(store, "write_safetensors", interrupted)
        assert convert(*command).code == 130
    assert len(list((tmp_path / ".out.converting").glob("*.safetensors"))) == 2
    state = {key: tensor.clone() for key, tensor in world.arrays("weights").items()}
    state["modality_heads.vision.2.weight"] += 1
    world.write_encoder(tmp_path / "in", state)
    assert json.loads(convert(*command, "--json").out)["resumed_files"] == 0
    assert torch.equal(
        read(tmp_path / "out")["modality_heads.vision.2.weight"], state["modality_heads.vision.2.weight"]
    )


class FullDisk:
    """A file that takes some bytes and then has no room."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def write(self, data):
        self._room[0] -= len(data)
        if self._room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)


def test_a_disk_that_fills_up(convert, tmp_path, leftovers, monkeypatch):
    file = world.write_encoder(tmp_path / "in")
    command = ["imagebind", file, "--config", tmp_path / "in" / "sizes.json", "--out", tmp_path / "out"]
    room, real = [6_000_000], builtins.open

    def limited(path, mode="r", *arguments, **settings):
        opened = real(path, mode, *arguments, **settings)
        return FullDisk(opened, room) if mode == "wb" else opened

    monkeypatch.setattr(builtins, "open", limited)
    run = convert(*command, "--shard-size", "2MB")
    monkeypatch.undo()
    run.refused("disk", "is full", "run the same command again", ".out.converting")
    assert leftovers(tmp_path, "in") == {".out.converting"}
    kept = sorted(file.name for file in (tmp_path / ".out.converting").iterdir())
    shards = [f"model-0000{n}-of-00004{suffix}" for n in (1, 2) for suffix in (".json", ".safetensors")]
    assert kept == [MARK, "conversion.json", *shards]
    values = json.loads(convert(*command, "--shard-size", "2MB", "--json").out)
    assert values["resumed_files"] == 2


def test_a_full_disk_is_noticed_before_anything_is_written(convert, tmp_path, leftovers, monkeypatch):
    file = world.write_encoder(tmp_path / "in")
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    run = convert("imagebind", file, "--config", tmp_path / "in" / "sizes.json", "--out", tmp_path / "out")
    run.refused("the result needs", "1.0 MB free")
    assert not leftovers(tmp_path, "in")


def test_two_at_once(tmp_path):
    from imagebind_llm.common.errors import CheckpointError

    with (
        store.staging(tmp_path / "out"),
        pytest.raises(CheckpointError, match="another conversion"),
        store.staging(tmp_path / "out"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_one_tensor_in_memory_at_a_time(tmp_path):
    """Each tensor is read when it is written, and let go before the next."""
    import weakref
    from dataclasses import replace

    file = world.write_encoder(tmp_path)
    plan = plan_imagebind(file, tmp_path / "sizes.json")
    alive, most = weakref.WeakSet(), [0]

    class Held(torch.Tensor):
        pass

    def counted(read):
        def call():
            values = read().clone().as_subclass(Held)
            alive.add(values)
            most[0] = max(most[0], len(alive))
            return values

        return call

    tensors = [replace(tensor, read=counted(tensor.read)) for tensor in plan.tensors]
    store.convert(replace(plan, tensors=tensors), tmp_path / "out", 2_000_000)
    assert most[0] <= 2  # the one being replaced and its successor
    assert same(read(tmp_path / "out"), dict(world.arrays("weights")))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    place = tmp_path_factory.mktemp("encoder")
    file = world.write_encoder(place)
    store.convert(plan_imagebind(file, place / "sizes.json"), place / "encoder")
    return place / "encoder"


GOLDEN_INDEX = world.GOLDEN / "cache_tiny" / "knn.index"


@pytest.mark.parametrize("kind", ["keep", "exact", "hnsw_sq8"])
def test_cache(kind, encoder, convert, tmp_path):
    from imagebind_llm.cache import VisualCache
    from imagebind_llm.encoders.imagebind import load_imagebind

    vectors = next(iter(load_file(world.GOLDEN / "cache_tiny" / "vectors.safetensors").values()))
    (tmp_path / "names.json").write_text(json.dumps([f"{number}.jpg" for number in range(len(vectors))]))
    more = ("--names", tmp_path / "names.json", "--kind", kind, "--json")
    run = convert("cache", GOLDEN_INDEX, "--encoder", encoder, "--out", tmp_path / "cache", *more)
    assert run.code == 0, run.err
    values = json.loads(run.out)
    assert (values["count"], values["dim"], values["resumed"]) == (500, 32, 0)
    cache = VisualCache.load(tmp_path / "cache", load_imagebind(encoder).fingerprint)
    assert cache.manifest.kind == {"keep": "exact"}.get(kind, kind)
    hits = cache.search(vectors[7:9], k=3)
    assert hits.indices[:, 0].tolist() == [7, 8]
    assert torch.allclose(hits.vectors[:, 0], vectors[7:9], atol=1e-6 if kind != "hnsw_sq8" else 0.02)
    assert cache.entry(8).caption == "8.jpg"
    if kind == "keep":
        assert (tmp_path / "cache" / "index.faiss").read_bytes() == GOLDEN_INDEX.read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"cache", "names.json"}


def test_cache_dry_run(encoder, convert, tmp_path):
    command = ("cache", GOLDEN_INDEX, "--encoder", encoder, "--out", tmp_path / "cache", "--dry-run")
    run = convert(*command, "--kind", "hnsw_sq8")
    assert run.code == 0, run.err
    assert "knn.index -> index.faiss  500 vectors of 32 numbers" in run.out
    assert "-> hnsw_sq8, encoded anew)" in run.out
    assert run.out.endswith("nothing was written\n")
    values = json.loads(convert(*command, "--json").out)
    assert values["bytes"] == GOLDEN_INDEX.stat().st_size
    assert (values["count"], values["kind"], values["names"]) == (500, "exact", 0)
    assert not list(tmp_path.iterdir())


def test_a_damaged_half_of_a_cache_is_made_again(encoder, convert, tmp_path, monkeypatch):
    from imagebind_llm.checkpoints.convert import cache as room

    monkeypatch.setattr(room, "BLOCK_ROWS", 100)
    monkeypatch.setattr(room, "SAVE_ROWS", 200)
    command = ("cache", GOLDEN_INDEX, "--encoder", encoder, "--out", tmp_path / "cache", "--kind", "exact")
    with monkeypatch.context() as killed:
        killed.setattr(room, "unit_rows", stop_at(room.unit_rows, 300))
        assert convert(*command).code == 130
    partial = tmp_path / ".cache.converting" / "partial.faiss"
    partial.write_bytes(partial.read_bytes()[:99])
    values = json.loads(convert(*command, "--json").out)
    assert (values["resumed"], values["count"]) == (0, 500)


def test_cache_made_by_an_encoder_of_another_width(convert, tmp_path):
    import dataclasses

    from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, save_imagebind

    config = dataclasses.replace(ImageBindConfig.nano(), embedding_dim=28)
    save_imagebind(ImageBindModel(config), tmp_path / "encoder")
    run = convert("cache", GOLDEN_INDEX, "--encoder", tmp_path / "encoder", "--out", tmp_path / "cache")
    run.refused("vectors of 32 numbers", "gives 28")
    assert not (tmp_path / "cache").exists()


def test_cache_killed_and_resumed(encoder, convert, tmp_path, monkeypatch):
    """What was encoded before the interruption is not encoded again."""
    from imagebind_llm.cache import VisualCache
    from imagebind_llm.checkpoints.convert import cache as room

    monkeypatch.setattr(room, "BLOCK_ROWS", 100)
    monkeypatch.setattr(room, "SAVE_ROWS", 200)
    command = ("cache", GOLDEN_INDEX, "--encoder", encoder, "--out", tmp_path / "cache", "--kind", "hnsw_sq8")
    with monkeypatch.context() as killed:
        killed.setattr(room, "unit_rows", stop_at(room.unit_rows, 300))
        assert convert(*command).code == 130
    assert not (tmp_path / "cache").exists()
    seen = []
    read_rows = room.indexing.reconstruct
    monkeypatch.setattr(
        room.indexing, "reconstruct", lambda index, rows: [seen.append(rows), read_rows(index, rows)][1]
    )
    values = json.loads(convert(*command, "--json").out)
    assert values["resumed"] == 200
    blocks = [
        rows for rows in seen if len(rows) == 100 and np.array_equal(rows, np.arange(rows[0], rows[0] + 100))
    ]
    assert min(rows[0] for rows in blocks) == 200
    vectors = next(iter(load_file(world.GOLDEN / "cache_tiny" / "vectors.safetensors").values()))
    found = VisualCache.load(tmp_path / "cache").search(vectors, k=1).indices[:, 0]
    assert (found == torch.arange(500)).float().mean() > 0.98


def stop_at(function, row):
    def call(block, first_row=0, **more):
        if first_row >= row:
            raise KeyboardInterrupt
        return function(block, first_row=first_row, **more)

    return call
