"""The extension of vLLM's workers (``worker_extension_cls``): what the engine's process may ask them."""

from typing import Any

from imagebind_llm.serving.vllm.rows import ROWS


class ConditionWorker:
    """Mixed into vLLM's worker; its methods are called with ``collective_rpc``."""

    def has_conditions(self) -> bool:
        """Whether the model has its hooks."""
        worker: Any = self
        return hasattr(worker.model_runner.get_model(), ROWS)

    def conditions_in_use(self) -> int:
        """Different conditions in the table of deltas."""
        worker: Any = self
        return int(getattr(worker.model_runner.get_model(), ROWS).in_use)
