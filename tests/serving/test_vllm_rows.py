"""What the vLLM backend does without vLLM: salts, rows, hooks, frames, plain folders, its process's life."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.tiny import conditions as tiny_conditions
from support.tiny import make_model, open_gates
from support.vllm_worlds import events_of, grouped_llama, mixed_requests
from torch import nn
from transformers import AutoModelForCausalLM

from imagebind_llm import UserError
from imagebind_llm.inference.engine import TokenRequest
from imagebind_llm.inference.sampler import Sampling
from imagebind_llm.model.adaptation import add_biases, merge_lora
from imagebind_llm.serving.backend import BackendLostError
from imagebind_llm.serving.vllm import backend as backend_module
from imagebind_llm.serving.vllm import child, hooks, plain, plugin, process, salts
from imagebind_llm.serving.vllm.admission import Admission
from imagebind_llm.serving.vllm.backend import VllmBackend
from imagebind_llm.serving.vllm.carried import NAME, Carried, RefusedError, require_salt
from imagebind_llm.serving.vllm.model_state import with_conditions
from imagebind_llm.serving.vllm.options import VllmOptions
from imagebind_llm.serving.vllm.rows import ROWS, ConditionRows
from imagebind_llm.serving.vllm.wire import Frame, WireError, read_frame, receive


@pytest.fixture(autouse=True)
def own_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def deltas(count, layers=2, width=4, seed=0):
    return torch.randn(count, layers, width, generator=torch.Generator().manual_seed(seed))


# --- salts


def test_runs():
    assert salts.runs_of([-1, -1, 0, 0, 0, 1, -1]) == [(-1, 2), (0, 3), (1, 1), (-1, 1)]
    carried = Carried.of(deltas(3), [(-1, 2), (2, 3), (0, 1)])
    assert carried.seen().tolist() == [-1, -1, 1, 1, 1, 0]  # the one that no token sees is left out
    assert len(carried.deltas) == 2


def test_salts_tell_apart_what_tokens_see():
    table = deltas(2)
    see = {
        "none": [-1] * 9,
        "first": [0] * 9,
        "second": [1] * 9,
        "late": [-1] * 3 + [0] * 6,
        "later": [-1] * 4 + [0] * 5,
        "both": [0] * 4 + [1] * 5,
        "swapped": [1] * 4 + [0] * 5,
        "ended": [0] * 4 + [-1] * 5,
    }
    found = {name: Carried.of(table, salts.runs_of(ids)).salt for name, ids in see.items()}
    assert len(set(found.values())) == len(found)
    # order and unused rows of the table do not count; more of the last does not either
    assert Carried.of(table.flip(0), salts.runs_of([1] * 9)).salt == found["first"]
    assert Carried.of(table, salts.runs_of([0] * 20)).salt == found["first"]
    assert Carried.of(deltas(2, seed=1), salts.runs_of([0] * 9)).salt != found["first"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_packed_and_unpacked(dtype):
    carried = Carried.of(deltas(2).to(dtype), [(0, 4), (1, 2)])
    packed = carried.pack()
    json.dumps({name: value for name, value in packed.items() if name != "deltas"})
    found = Carried.unpack(packed, 6)
    assert torch.equal(found.deltas, carried.deltas)
    assert found.deltas.dtype == dtype
    assert (found.runs, found.salt) == (carried.runs, carried.salt)


@pytest.mark.parametrize(
    "change",
    [
        {"salt": ""}, {"salt": None}, {"salt": "0" * 32}, {"runs": []}, {"runs": [[2, 6]]},
        {"runs": [[0, 5]]}, {"runs": [[-2, 6]]}, {"runs": "x"}, {"shape": [2, 2, 5]},
        {"shape": [2, -2, -4]}, {"dtype": "int8"}, {"deltas": b"12"}, {"deltas": None}, {"deltas": bytes(64)},
    ],
)  # fmt: skip
def test_what_is_not_whole_is_refused(change):
    packed = Carried.of(deltas(2), [(0, 4), (1, 2)]).pack()
    with pytest.raises(RefusedError):
        Carried.unpack({**packed, **change}, 6)


def test_the_engine_wants_the_salt_of_the_conditions():
    carried = Carried.of(deltas(1), [(0, 3)])
    require_salt(carried, carried.salt)

    def request(extra, salt):
        return SimpleNamespace(
            sampling_params=SimpleNamespace(extra_args=extra), cache_salt=salt, prompt_token_ids=[1, 2, 3]
        )

    plugin.check_request(request({NAME: carried.pack()}, carried.salt))
    for extra, salt in [
        (None, carried.salt),
        ({}, None),
        ({NAME: carried.pack()}, None),
        ({NAME: carried.pack()}, "0" * 32),
    ]:
        with pytest.raises(RefusedError, match="salt"):
            plugin.check_request(request(extra, salt))


# --- rows


def table_rows(places=3, tokens=12):
    return ConditionRows(2, 4, places, tokens, torch.float32)


def received(rows, place):
    """What the tokens of the batch get in one layer: ``[T, C]``."""
    return rows.table[place].index_select(0, rows.rows)


def test_rows_follow_the_positions_of_each_request():
    rows = table_rows()
    one = Carried.of(deltas(1), [(-1, 2), (0, 3)])
    two = Carried.of(deltas(2, seed=1), [(0, 2), (1, 2)])
    rows.add("one", one)
    rows.add("two", two)
    # both prompts whole, words between them
    rows.fill(["one", "words", "two"], [0, 5, 8, 12], [0, 0, 0])
    for layer in range(2):
        got = received(rows, layer)
        assert torch.equal(got[2:5], one.deltas[0, layer].expand(3, 4))
        assert torch.equal(got[8:10], two.deltas[0, layer].expand(2, 4))
        assert torch.equal(got[10:12], two.deltas[1, layer].expand(2, 4))
        assert not got[:2].any()
        assert not got[5:8].any()
    # the second chunk of one prompt, across its end; a new token of the other
    rows.fill(["two", "one"], [0, 3, 4], [3, 9])
    got = received(rows, 1)
    assert torch.equal(got[:3], two.deltas[1, 1].expand(3, 4))
    assert torch.equal(got[3], one.deltas[0, 1])
    assert not got[4:].any()  # what the longer batch before left is gone
    # words only
    rows.fill(["words"], [0, 12], [0])
    assert not rows.rows.any()


def test_chunks_give_what_the_whole_prompt_gets():
    carried = Carried.of(deltas(2), [(-1, 3), (0, 4), (1, 3)])
    rows = table_rows()
    rows.add("a", carried)
    rows.fill(["a"], [0, 10], [0])
    whole = received(rows, 0)[:10].clone()
    for size in (1, 3, 4, 7):
        parts = []
        for done in range(0, 10, size):
            count = min(size, 10 - done)
            rows.fill(["x", "a"], [0, 2, 2 + count], [0, done])
            parts.append(received(rows, 0)[2 : 2 + count].clone())
        assert torch.equal(torch.cat(parts), whole)


def test_equal_conditions_share_a_place_and_places_come_back():
    rows = table_rows(places=2)
    same = Carried.of(deltas(1), [(0, 2)])
    rows.add("a", same)
    rows.add("b", Carried.of(deltas(1), [(-1, 1), (0, 4)]))
    assert rows.in_use == 1
    rows.add("c", Carried.of(deltas(1, seed=1), [(0, 2)]))
    with pytest.raises(RuntimeError, match="free places"):
        rows.add("d", Carried.of(deltas(1, seed=2), [(0, 2)]))
    rows.remove("a")
    assert rows.in_use == 2
    rows.remove("b")
    rows.remove("b")
    assert rows.in_use == 1
    rows.add("d", Carried.of(deltas(1, seed=2), [(0, 2)]))
    rows.add("d", Carried.of(deltas(1, seed=3), [(0, 2)]))  # came again
    rows.fill(["c", "d"], [0, 2, 4], [0, 0])
    assert torch.equal(received(rows, 0)[2], deltas(1, seed=3)[0, 0])
    rows.add("words", Carried.of(deltas(0), [(-1, 2)]))
    assert rows.known == {"c", "d"}


def test_the_buffers_stay_where_they_are():
    rows = table_rows()
    before = rows.table.data_ptr(), rows.rows.data_ptr()
    rows.add("a", Carried.of(deltas(1), [(0, 2)]))
    rows.fill(["a"], [0, 2], [0])
    rows.remove("a")
    assert (rows.table.data_ptr(), rows.rows.data_ptr()) == before


def test_steps_that_write_copy_nothing():
    rows = table_rows()
    rows.add("a", Carried.of(deltas(1), [(0, 2)]))
    rows.fill(["a"], [0, 2], [0])
    rows.fill(["x", "a"], [0, 1, 2], [5, 2])
    version = rows.rows._version
    for done in range(3, 6):
        rows.fill(["x", "a"], [0, 1, 2], [done + 3, done])
    assert rows.rows._version == version
    assert rows.rows[:3].tolist() == [0, 1, 0]
    rows.fill(["a", "x"], [0, 1, 2], [6, 9])
    assert rows.rows[:3].tolist() == [1, 0, 0]


def first_runner(requests, batch):
    """What the V1 model runner has: all requests, and those of the batch as name → (computed, scheduled)."""
    names = list(batch)
    starts = np.zeros(20, dtype=np.int32)
    starts[1 : len(names) + 1] = np.cumsum([count for _, count in batch.values()])
    return SimpleNamespace(
        requests={
            name: SimpleNamespace(
                sampling_params=SimpleNamespace(extra_args=None if one is None else {NAME: one.pack()}),
                prompt_token_ids=[0] * (3 if one is None else len(one.seen())),
            )
            for name, one in requests.items()
        },
        input_batch=SimpleNamespace(
            num_reqs=len(names),
            req_ids=[*names, None],
            num_computed_tokens_cpu=np.array([*(done for done, _ in batch.values()), 77]),
        ),
        query_start_loc=SimpleNamespace(np=starts),
    )


def test_the_first_runner_fills_before_each_pass():
    rows = table_rows()
    one, two = Carried.of(deltas(1), [(-1, 1), (0, 2)]), Carried.of(deltas(1, seed=1), [(0, 4)])
    model = SimpleNamespace(**{ROWS: rows})
    seen = []

    def step(requests, batch):
        runner = first_runner(requests, batch)
        runner.model = model
        runner._model_forward = lambda **kwargs: seen.append((rows.rows.tolist(), kwargs)) or "logits"
        plugin.fill_before_forward(runner)
        assert runner._model_forward(input_ids=1) == "logits"

    step({"one": one, "words": None}, {"one": (0, 3), "words": (0, 3)})
    assert seen[-1] == ([0, 1, 1] + [0] * 9, {"input_ids": 1})
    step({"one": one, "words": None, "two": two}, {"words": (3, 1), "two": (0, 2)})  # "one" is put aside
    assert rows.known == {"one", "two"}
    assert seen[-1][0] == [0, 2, 2] + [0] * 9
    step({"two": two}, {"two": (2, 2)})
    assert rows.known == {"two"}
    assert rows.in_use == 1


def test_the_second_runners_state():
    calls = []

    class Base:
        def __init__(self, vllm_config, model, *rest):
            calls.append(("init", rest))

        def add_request(self, req_index, new_req_data):
            calls.append(("add", req_index))

        def remove_request(self, req_id):
            calls.append(("remove", req_id))

        def prepare_inputs(self, input_batch, req_states):
            return {"positions": req_states}

    rows = table_rows()
    state = with_conditions(Base)(None, SimpleNamespace(**{ROWS: rows}), "cache", "device")
    one = Carried.of(deltas(1), [(-1, 2), (0, 2)])
    data = SimpleNamespace(
        req_id="one",
        prompt_token_ids=[0] * 4,
        sampling_params=SimpleNamespace(extra_args={NAME: one.pack()}),
    )
    state.add_request(3, data)
    batch = SimpleNamespace(
        num_reqs=2,
        req_ids=["dummy", "one"],
        query_start_loc_np=np.array([0, 1, 4, 4]),
        num_computed_tokens_np=np.array([0, 1]),
    )
    assert state.prepare_inputs(batch, "states") == {"positions": "states"}
    assert rows.rows[:5].tolist() == [0, 0, 1, 1, 0]
    state.remove_request("one")
    assert not rows.known
    assert calls == [("init", ("cache", "device")), ("add", 3), ("remove", "one")]
    broken = SimpleNamespace(extra_args={NAME: {**one.pack(), "salt": ""}})
    with pytest.raises(RefusedError):
        state.add_request(0, SimpleNamespace(req_id="x", prompt_token_ids=[0] * 4, sampling_params=broken))


# --- hooks


class Attention(nn.Module):
    def forward(self, positions, hidden_states):
        return hidden_states * 2


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn = Attention()

    def forward(self, positions, hidden_states, residual):
        return self.self_attn(positions=positions, hidden_states=hidden_states), residual


class Packed(nn.Module):
    """Shaped as vLLM's models are: ``[T, C]``, the stream as the second argument of a layer."""

    def __init__(self, layers=3):
        super().__init__()
        self.model = nn.Module()
        self.model.layers = nn.ModuleList(Layer() for _ in range(layers))

    def forward(self, states):
        for layer in self.model.layers:
            states, _ = layer(None, states, None)
        return states


def settings(style, layers):
    return {"style": style, "layers": layers, "layers_path": "model.layers", "attention_path": "self_attn"}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("style", ["residual", "value"])
def test_hooks_add_the_rows_of_the_batch(style, compiled):
    model, rows = Packed(), table_rows()
    hooks.attach(model, settings(style, [0, 2]), rows)
    run = torch.compile(model, backend="eager", dynamic=True, fullgraph=True) if compiled else model
    carried = Carried.of(deltas(1), [(-1, 1), (0, 2)])
    states = torch.randn(5, 4)
    with torch.no_grad():
        assert torch.equal(run(states), states * 8)
        rows.add("a", carried)
        rows.fill(["x", "a"], [0, 2, 5], [0, 0])  # after the graph was made
        first, second = carried.deltas[0]
        expected = states * 8
        if style == "residual":  # before layers 0 and 2
            expected[3:] += first * 8 + second * 2
        else:  # after the attention of layers 0 and 2
            expected[3:] += first * 4 + second
        assert torch.allclose(run(states), expected, atol=1e-5)
    assert not any("condition" in name for name in model.state_dict())


def test_hooks_are_refused_where_they_do_not_fit():
    rows = table_rows()
    with pytest.raises(RuntimeError, match=r"no layers at 'gpt_neox\.layers'"):
        hooks.attach(Packed(), {**settings("residual", [0, 1]), "layers_path": "gpt_neox.layers"}, rows)
    model = Packed()
    hooks.attach(model, settings("residual", [0, 1]), rows)
    with pytest.raises(RuntimeError, match="already"):
        hooks.attach(model, settings("residual", [0, 1]), rows)


# --- admission


def test_requests_wait_for_places_in_their_order():
    admission = Admission(2)
    assert admission.offer(1, ["a", "b"], "one") == ["one"]
    assert admission.offer(2, ["b"], "two") == ["two"]  # it needs no more
    assert admission.offer(3, ["c"], "three") == []
    assert admission.offer(4, ["a"], "four") == []  # it would fit, but is not the first
    assert admission.offer(5, [], "words") == ["words"]
    assert admission.waiting == 2
    assert admission.release(1) == ["three"]  # b is still used by 2, a is free
    assert admission.in_use == 2
    assert admission.release(2) == ["four"]
    assert admission.offer(6, ["x", "y"], "six") == []
    assert admission.offer(7, ["a"], "seven") == []
    assert admission.drop(6)
    assert not admission.drop(6)
    assert admission.release(6) == ["seven"]
    with pytest.raises(RefusedError, match="3 different media"):
        admission.offer(8, ["a", "b", "c"], "eight")


# --- frames


def test_frames_go_through_a_socket_in_pieces():
    frames = [Frame({"op": "add", "ids": list(range(1000))}, bytes(range(256)) * 50), Frame({"op": "close"})]

    async def through():
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        sent = b"".join(frame.encode() for frame in frames)

        def feed():
            for start in range(0, len(sent), 700):
                theirs.sendall(sent[start : start + 700])
            got = receive(theirs)
            theirs.close()
            return got

        task = asyncio.get_running_loop().run_in_executor(None, feed)
        found = [await read_frame(reader), await read_frame(reader)]
        writer.write(frames[0].encode())
        await writer.drain()
        back = await task
        ended = await read_frame(reader)
        writer.close()
        return found, back, ended

    found, back, ended = asyncio.run(through())
    assert found == frames
    assert back == frames[0]
    assert ended is None


@pytest.mark.parametrize("data", [b"\x80\x04\x95" + b"x" * 40, b"GET / HTTP/1.1\r\n\r\n" + b"x" * 20])
def test_other_bytes_are_no_frame(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        with pytest.raises(WireError):
            receive(ours)


def test_half_a_frame_is_an_end():
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(Frame({"op": "add"}, b"1234").encode()[:-2])
        theirs.close()
        assert receive(ours) is None


def test_events_of_an_output():
    def told(**logprobs):
        return {int(k[1:]): SimpleNamespace(logprob=p, rank=r) for k, (p, r) in logprobs.items()}

    part = SimpleNamespace(
        token_ids=[7, 8],
        finish_reason="stop",
        logprobs=[told(t7=(-0.5, 1), t3=(-1.0, 2)), told(t8=(-3.0, 9), t3=(-0.1, 1))],
    )
    assert process.events_of(4, part) == [
        [4, 7, None, -0.5, [[7, -0.5], [3, -1.0]], None],
        [4, 8, "stop", -3.0, [[3, -0.1], [8, -3.0]], None],
    ]
    failed = SimpleNamespace(token_ids=[], finish_reason="error", logprobs=None)
    assert process.events_of(4, failed)[0][5] == "vLLM ended the request (error)"


# --- plain folders


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("style", ["residual", "value"])
def test_a_plain_folder_answers_as_the_tuned_model(tmp_path, style, merged):
    model = grouped_llama(style, tuned=True)
    if merged:
        merge_lora(model)
    plain.write_plain(model, tmp_path / "plain")
    values = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert (values["attention_bias"], values["mlp_bias"]) == (True, True)
    assert values["architectures"] == ["LlamaForCausalLM"]
    found, loading = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    ids = torch.randint(3, 300, (2, 30), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(found(ids).logits, model(ids).logits, atol=2e-4)


@pytest.mark.parametrize("kind", ["qwen2", "mistral", "qwen3", "gemma2", "phi3"])
def test_plain_folders_of_other_families(tmp_path, kind):
    model = make_model(kind)
    if kind in ("qwen2", "mistral"):
        add_biases(model)
        with torch.no_grad():
            for name, parameter in model.language_model.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(std=0.2)
    plain.write_plain(model, tmp_path)
    found, loading = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    ids = torch.randint(3, 50, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(found(ids).logits, model(ids).logits, atol=2e-4)


def test_what_vllm_cannot_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="type 'gpt_neox' cannot run on vLLM"):
        plain.write_plain(make_model("gpt_neox"), tmp_path)
    model = make_model("qwen3")
    add_biases(model)
    with pytest.raises(UserError, match="trained biases"):
        plain.write_plain(model, tmp_path)
    model = make_model()
    model.generation_config.no_repeat_ngram_size = 3
    with pytest.raises(UserError, match="no_repeat_ngram_size"):
        plain.write_plain(model, tmp_path)


@pytest.mark.parametrize("style", ["residual", "value"])
@pytest.mark.parametrize("tuned", [False, True])
def test_a_forgotten_language_model_still_makes_conditions(style, tuned):
    model = grouped_llama(style, tuned)
    if tuned:
        merge_lora(model)
    given = torch.randn(2, 28)
    with torch.inference_mode():
        before = model.condition_deltas(given).tensor
        plain.forget_language_model(model)
        assert torch.equal(model.condition_deltas(given).tensor, before)
    left = sum(p.numel() for p in model.language_model.parameters() if not p.is_meta)
    whole = sum(p.numel() for p in model.language_model.parameters())
    assert left < whole / 2


# --- the process, as the server sees it


def test_the_last_words_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert child.last_words(log) == "it said nothing"
    log.write_text("INFO start\n\n")
    assert child.last_words(log) == "INFO start"
    log.write_text("Traceback\nValueError: not enough memory\n  warning: leaked\n")
    assert child.last_words(log) == "ValueError: not enough memory"
    assert "\n" not in str(child.failure("python", log, 1))
    log.write_text("ModuleNotFoundError: No module named 'vllm'\n")
    assert "has no vLLM" in str(child.failure("python", log, 1))


def test_a_python_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="there is no Python at"):
        child.check_python(tmp_path / "nowhere")
    with pytest.raises(UserError, match="there is no Python at"):
        child.check_python(tmp_path)
    assert child.check_python(sys.prefix) == f"{sys.prefix}/bin/python"


def test_the_path_for_the_other_environment_has_this_package_only(tmp_path, monkeypatch):
    folder = child.write_path_folder(tmp_path / "path")
    assert sorted(path.name for path in folder.iterdir())[0] == "imagebind_llm"
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("VLLM_PLUGINS", "")
    found = child.environment(folder, tmp_path, False)
    assert found["PYTHONPATH"] == str(folder)
    assert "VLLM_PLUGINS" not in found
    assert found["VLLM_USE_V2_MODEL_RUNNER"] == "0"


def test_options():
    for wrong in ({"max_rows": 0}, {"max_conditions": 0}, {"max_prefill": 8}, {"engine": {"model": "x"}}):
        with pytest.raises(UserError):
            VllmOptions(**wrong)
    assert VllmOptions(context=99, engine={"gpu_memory_utilization": 0.5}).arguments() == {
        "max_num_seqs": 64, "max_model_len": 99, "tensor_parallel_size": 1, "gpu_memory_utilization": 0.5,
    }  # fmt: skip


def test_an_environment_without_vllm_is_named_in_one_line():
    pytest.importorskip("torch")
    try:
        import vllm  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("vLLM is installed here")
    backend = VllmBackend(open_gates(make_model()), sys.executable)
    with pytest.raises(UserError, match="has no vLLM") as raised:
        asyncio.run(backend.start())
    assert "\n" not in str(raised.value)
    assert not backend._boxes
    with pytest.raises(BackendLostError):
        asyncio.run(events_of(backend, TokenRequest([5])))


ENGINE = """
import os, socket, sys, time
from imagebind_llm.serving.vllm.wire import Frame, receive

connection = socket.socket(fileno=int(sys.argv[1]))
def send(**header):
    connection.sendall(Frame(header).encode())
start = receive(connection).header
if start["arguments"]["max_num_seqs"] == 7:
    print("RuntimeError: too small a machine", flush=True)
    os._exit(3)
if start["arguments"]["max_num_seqs"] == 8:
    print("INFO loading", flush=True)
    time.sleep(100)
send(op="ready", context=64)
seen = []
while (frame := receive(connection)) is not None:
    op = frame.header["op"]
    if op == "close":
        break
    if op == "abort":
        seen.append(frame.header["id"])
    elif op == "state":
        send(op="state", aborted=seen)
    else:
        number, ids = frame.header["id"], frame.header["ids"]
        if ids[0] == 13:
            print("RuntimeError: the kernel fell over", flush=True)
            os._exit(1)
        for token in ids[:-1]:
            send(op="events", running=1, events=[[number, token, None, None, [], None]])
        if ids[0] == 12:
            continue  # goes on writing
        last = [number, ids[-1], "stop", -0.5, [[ids[-1], -0.5]], None]
        if ids[0] == 11:
            last = [number, None, None, None, [], "the request is odd"]
        send(op="events", running=0, events=[last])
"""
"""Stands in for the process: it writes the prompt again."""


class Echoed(VllmBackend):
    def __init__(self, folder, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.script = folder / "engine.py"
        self.script.write_text(textwrap.dedent(ENGINE))

    def _command(self):
        return [self.python, "-P", str(self.script)]


def test_a_life_with_a_process(tmp_path):
    model = open_gates(make_model())
    backend = Echoed(tmp_path, model, sys.executable)

    async def life():
        with pytest.raises(BackendLostError, match="not running"):
            await events_of(backend, TokenRequest([5]))
        await backend.start()
        workplace = backend.log.parent
        assert backend.context_length == 64
        events = await events_of(
            backend, TokenRequest([5, 6, 7], [-1, 0, 0], tiny_conditions(1), Sampling(logprobs=1))
        )
        assert [(one.token, one.finish_reason) for one in events] == [(5, None), (6, None), (7, "stop")]
        assert (events[-1].logprob, events[-1].top) == (-0.5, ((7, -0.5),))
        assert events[-1].sure is None
        for sampling, told in (
            (Sampling(), (None, (), None)),
            (Sampling(confidence=1.0), (None, (), -0.5)),
            (Sampling(confidence=1.0, logprobs=1), (-0.5, ((7, -0.5),), -0.5)),
            (Sampling(confidence=2.0), (None, (), None)),
        ):
            wanted = 0 if told[2] is not None and sampling.logprobs is None else sampling.logprobs
            assert backend._sampling(TokenRequest([5], sampling=sampling), 4)["logprobs"] == wanted
            last = (await events_of(backend, TokenRequest([5, 6, 7], sampling=sampling)))[-1]
            assert (last.logprob, last.top, last.sure) == told
        with pytest.raises(UserError, match="odd"):
            await events_of(backend, TokenRequest([11, 5]))
        with pytest.raises(UserError, match="context is 64"):
            await events_of(backend, TokenRequest([5] * 64))
        stream = backend.stream(TokenRequest([12, 5]))
        await anext(stream)
        assert (backend.load().running, backend.load().waiting) == (1, 0)
        await stream.aclose()
        assert backend.load().running == backend.load().waiting == 0
        assert (await backend.state())["aborted"] == [6]
        waiting = asyncio.create_task(events_of(backend, TokenRequest([12, 5])))
        await asyncio.sleep(0.1)
        with pytest.raises(BackendLostError, match="RuntimeError: the kernel fell over"):
            await events_of(backend, TokenRequest([13, 5]))
        with pytest.raises(BackendLostError):
            await waiting
        with pytest.raises(BackendLostError):
            await backend.state()
        await backend.start()  # another one
        assert not workplace.exists()
        waiting = asyncio.create_task(events_of(backend, TokenRequest([12, 5])))
        await asyncio.sleep(0.1)
        assert len(await events_of(backend, TokenRequest([5, 6]))) == 2
        process, workplace = backend._process, backend.log.parent
        await backend.close()
        with pytest.raises(BackendLostError, match="closed"):
            await waiting
        assert process.poll() == 0
        assert not workplace.exists()
        await backend.close()

    asyncio.run(life())


def test_a_process_that_does_not_start_is_named_with_its_last_words(tmp_path):
    backend = Echoed(tmp_path, open_gates(make_model()), sys.executable, VllmOptions(max_rows=7))
    with pytest.raises(UserError, match=r"exit status 3\): RuntimeError: too small a machine"):
        asyncio.run(backend.start())


def test_a_process_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(backend_module, "_PATIENCE", 0.2)
    options = VllmOptions(max_rows=8, start_timeout=15)
    backend = Echoed(tmp_path, open_gates(make_model()), sys.executable, options)
    started = []
    real = child.spawn

    def spawn(*arguments):
        found = real(*arguments)
        started.append(found[0])
        return found

    monkeypatch.setattr(child, "spawn", spawn)
    with pytest.raises(UserError, match="did not start in 15 seconds; it said last: INFO loading"):
        asyncio.run(backend.start())
    assert started[0].returncode == -15
    assert backend.log is None


def test_nobody_needs_a_model_that_is_being_loaded_when_the_server_has_ended():
    """Run in a process of its own, which it ends."""
    script = """
        import queue, socket, threading, time
        from imagebind_llm.serving.vllm import process
        ours, theirs = socket.socketpair()
        threading.Thread(target=process._read, args=(theirs, queue.Queue(), threading.Event())).start()
        ours.close()
        time.sleep(100)
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(process.__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, timeout=60)
    assert done.returncode == 1


def test_requests_for_the_real_engine_say_something():
    requests = mixed_requests(grouped_llama())
    assert len(requests) >= 24
    assert sum(len(request.input_ids) > 64 for request in requests) >= 5
    assert {0 if one.conditions is None else len(one.conditions) for one in requests} == {0, 1, 2}
