"""Conditions on vLLM's V2 model runner.

NOT RUN: that runner needs Triton, and this was written where there is no GPU. What was run: the class is
built against the real interfaces of vLLM 0.32, and its methods are called by a test with the objects that
the runner passes. Not run: a forward pass, CUDA graphs, pipeline and tensor parallel models.

The runner asks the model for its state class (``get_model_state_cls``) right after loading, tells the state
of requests that come and go, and calls ``prepare_inputs`` before each pass, also before the replay of a full
CUDA graph. Rows and table are static, so a recorded graph reads what was written last.
"""

from typing import Any

from imagebind_llm.serving.vllm.rows import ROWS, ConditionRows, take_in


def state_class(vllm_config: Any, model: Any) -> type:
    """The state class that vLLM would take for ``model``, with conditions."""
    from vllm.v1.worker.gpu import model_states

    own = type(model)
    if hasattr(own, "get_model_state_cls"):
        base = own.get_model_state_cls()
    else:
        base = model_states.resolve_model_state_cls(vllm_config, _Without(model))
    return with_conditions(base)


class _Without:
    """A model without the ``get_model_state_cls`` that was put on it."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        if name == "get_model_state_cls":
            raise AttributeError(name)
        return getattr(self._model, name)


def with_conditions(base: Any) -> type:
    """A subclass of a state class that keeps the rows of ``model`` in step with its batch."""

    class ConditionState(base):
        """The model's own state, and the rows of its conditions."""

        def __init__(self, vllm_config: Any, model: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(vllm_config, model, *args, **kwargs)
            self._condition_rows: ConditionRows = getattr(model, ROWS)

        def add_request(self, req_index: int, new_req_data: Any) -> None:
            """A request came, or came back after it was put aside."""
            super().add_request(req_index, new_req_data)
            data = new_req_data
            take_in(self._condition_rows, data.req_id, data.sampling_params, len(data.prompt_token_ids or ()))

        def remove_request(self, req_id: str) -> None:
            """A request ended or is put aside."""
            super().remove_request(req_id)
            self._condition_rows.remove(req_id)

        def prepare_inputs(self, input_batch: Any, req_states: Any) -> Any:
            """Set the rows of the batch. Dummy requests are not known and get none."""
            count = input_batch.num_reqs
            self._condition_rows.fill(
                input_batch.req_ids[:count],
                input_batch.query_start_loc_np[: count + 1],
                input_batch.num_computed_tokens_np[:count],
            )
            return super().prepare_inputs(input_batch, req_states)

    return ConditionState
