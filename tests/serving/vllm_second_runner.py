"""Runs in vLLM's environment: the state for the V2 model runner against vLLM's own classes."""

import inspect
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from vllm.v1.worker.gpu.input_batch import InputBatch
from vllm.v1.worker.gpu.model_runner import GPUModelRunner
from vllm.v1.worker.gpu.model_states import resolve_model_state_cls
from vllm.v1.worker.gpu.model_states.default import DefaultModelState

from imagebind_llm.serving.vllm.carried import NAME, Carried
from imagebind_llm.serving.vllm.model_state import state_class
from imagebind_llm.serving.vllm.rows import ROWS, ConditionRows

model = nn.Linear(2, 2)
rows = ConditionRows(1, 4, 3, 16, torch.float32)
object.__setattr__(model, ROWS, rows)
config = SimpleNamespace(
    model_config=SimpleNamespace(
        is_hybrid=False, is_attention_free=False, get_inputs_embeds_size=lambda: 4, dtype=torch.float32,
        enable_prompt_embeds=False, max_model_len=64, uses_mrope=False, uses_xdrope_dim=0,
    ),
    scheduler_config=SimpleNamespace(max_num_seqs=4, max_num_batched_tokens=16),
    compilation_config=SimpleNamespace(static_forward_context={}),
    model_fields_set=(),
)  # fmt: skip
object.__setattr__(model, "get_model_state_cls", lambda: state_class(config, model))
found = resolve_model_state_cls(config, model)
assert issubclass(found, DefaultModelState)
assert found is not DefaultModelState
for name in ("add_request", "remove_request", "prepare_inputs"):
    own, theirs = (list(inspect.signature(getattr(c, name)).parameters) for c in (found, DefaultModelState))
    assert own == theirs, (name, own, theirs)
assert {"req_ids", "num_reqs", "query_start_loc_np", "num_computed_tokens_np"} <= set(
    InputBatch.__annotations__
)
source = inspect.getsource(GPUModelRunner.execute_model)
assert "model_state.prepare_inputs(" in source

state = found.__new__(found)
state.rope_state = state.prompt_embeds_state = None
state._condition_rows = rows
carried = Carried.of(torch.randn(1, 1, 4), [(-1, 2), (0, 3)])
data = SimpleNamespace(
    req_id="a", prompt_token_ids=[1] * 5, sampling_params=SimpleNamespace(extra_args={NAME: carried.pack()})
)
state.add_request(0, data)
batch = SimpleNamespace(
    num_reqs=2,
    req_ids=["x", "a"],
    query_start_loc_np=np.array([0, 2, 6]),
    num_computed_tokens_np=np.array([0, 0]),
)
assert state.prepare_inputs(batch, None) == {}
assert rows.rows[:7].tolist() == [0, 0, 0, 0, 1, 1, 0], rows.rows
state.remove_request("a")
assert not rows.known
print("fits")
