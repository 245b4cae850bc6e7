"""The plugin for vLLM (entry point ``vllm.general_plugins``).

It does nothing for a vLLM that was not started with ``additional_config={"imagebind_llm": …}``. With it,

* a loaded model gets the hooks of :mod:`imagebind_llm.serving.vllm.hooks` before vLLM profiles, compiles or
  records it, and a ``get_model_state_cls`` for vLLM's V2 model runner;
* the V1 model runner fills the rows before each forward pass;
* the engine refuses requests without the right ``cache_salt``.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from imagebind_llm.serving.vllm import hooks
from imagebind_llm.serving.vllm.carried import NAME, Carried, RefusedError, require_salt
from imagebind_llm.serving.vllm.rows import ROWS, ConditionRows, carried_by, take_in

_WRAPPED = "_imagebind_llm"


def register() -> None:
    """Install the plugin in this process. It may be called again."""
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader
    from vllm.v1.engine.core import EngineCore
    from vllm.v1.worker.gpu_worker import Worker

    _wrap(BaseModelLoader, "load_model", _loading)
    _wrap(Worker, "load_model", _wiring)
    _wrap(EngineCore, "preprocess_add_request", _salting)


def _wrap(owner: Any, name: str, around: Callable[[Any], Any]) -> None:
    method = getattr(owner, name)
    if getattr(method, _WRAPPED, False):
        return
    wrapped = wraps(method)(around(method))
    setattr(wrapped, _WRAPPED, True)
    setattr(owner, name, wrapped)


def settings_of(vllm_config: Any) -> dict[str, Any] | None:
    """The settings of the injection, if vLLM was started with some."""
    found = vllm_config.additional_config
    return found.get(NAME) if isinstance(found, dict) else None


def _loading(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_model(self: Any, vllm_config: Any, model_config: Any, *args: Any, **kwargs: Any) -> Any:
        model = load(self, vllm_config, model_config, *args, **kwargs)
        settings = settings_of(vllm_config)
        if settings is not None and model_config is vllm_config.model_config:  # not a draft model
            equip(model, settings, vllm_config)
        return model

    return load_model


def equip(model: Any, settings: dict[str, Any], vllm_config: Any) -> None:
    """Give a loaded model its buffers, hooks and the state for the V2 runner.

    Raises:
        RuntimeError: vLLM runs it through transformers' layers, its layers are not where they should be, or
            its layers do not see the tokens of a batch as they are packed.
    """
    if ".models.transformers" in type(model).__module__:
        raise RuntimeError(f"vLLM has no layers of its own for {vllm_config.model_config.architecture}")
    parallel = vllm_config.parallel_config
    if parallel.num_ubatches > 1 or parallel.prefill_context_parallel_size > 1:
        raise RuntimeError("batches that are split (dual batch overlap, context parallel) have no conditions")
    parameter = next(model.parameters())
    rows = ConditionRows(
        int(settings["injected"]),
        int(settings["width"]),
        int(settings["places"]),
        max(vllm_config.scheduler_config.max_num_batched_tokens, vllm_config.scheduler_config.max_num_seqs),
        vllm_config.model_config.dtype,
        parameter.device,
    )
    hooks.attach(model, settings, rows)
    object.__setattr__(model, ROWS, rows)

    def get_model_state_cls() -> type:
        from imagebind_llm.serving.vllm.model_state import state_class

        return state_class(vllm_config, model)

    object.__setattr__(model, "get_model_state_cls", get_model_state_cls)


def _wiring(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_model(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = load(self, *args, **kwargs)
        if settings_of(self.vllm_config) is not None and not self.use_v2_model_runner:
            fill_before_forward(self.model_runner)
        return result

    return load_model


def fill_before_forward(runner: Any) -> None:
    """Let a V1 model runner fill the rows of its batch before each forward pass.

    Args:
        runner: has ``requests``, ``input_batch``, ``query_start_loc`` and ``_model_forward``.
    """
    rows: ConditionRows = getattr(runner.model, ROWS)
    forward = runner._model_forward

    @wraps(forward)
    def filled(*args: Any, **kwargs: Any) -> Any:
        fill_from_runner(rows, runner)
        return forward(*args, **kwargs)

    runner._model_forward = filled


def fill_from_runner(rows: ConditionRows, runner: Any) -> None:
    """Take in and let go requests as the V1 runner did, and set the rows of its batch."""
    batch = runner.input_batch
    count = batch.num_reqs
    names = batch.req_ids[:count]
    known = rows.known
    for gone in known - runner.requests.keys():
        rows.remove(gone)
    for name in names:
        if name not in known:
            state = runner.requests[name]
            take_in(rows, name, state.sampling_params, len(state.prompt_token_ids or ()))
    rows.fill(names, runner.query_start_loc.np[: count + 1], batch.num_computed_tokens_cpu[:count])


def _salting(preprocess: Callable[..., Any]) -> Callable[..., Any]:
    def preprocess_add_request(self: Any, request: Any) -> Any:
        if settings_of(self.vllm_config) is not None:
            check_request(request)
        return preprocess(self, request)

    return preprocess_add_request


def check_request(request: Any) -> None:
    """Refuse a request (vLLM's ``EngineCoreRequest``) whose keys and values others could take for theirs.

    Raises:
        RefusedError: it carries nothing of ours, or its ``cache_salt`` is not the hash of its conditions.
    """
    given = carried_by(request.sampling_params)
    if given is None:
        raise RefusedError("a request has no conditions and no cache_salt; send it through imagebind-llm")
    carried = Carried.unpack(given, len(request.prompt_token_ids or ()))
    require_salt(carried, request.cache_salt)
