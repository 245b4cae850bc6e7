"""How vLLM runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagebind_llm.common.errors import UserError

_OURS = ("model", "worker_extension_cls", "additional_config", "skip_tokenizer_init", "enable_prefix_caching")


@dataclass(frozen=True)
class VllmOptions:
    """Settings of the engine.

    Attributes:
        max_rows: sequences that run at once.
        max_prefill: most tokens of one step; longer prompts are read in chunks. None: vLLM's own.
        max_conditions: different conditions (mixtures of media) of all requests that are in the engine; more
            wait. Each takes ``layers × width`` numbers of device memory.
        context: most tokens of a prompt with its answer; None: what the model's configuration says.
        kv_bytes: memory for keys and values. None: what vLLM takes on a GPU
            (``gpu_memory_utilization`` in ``engine`` changes it), 1 GiB on a CPU.
        block_size: tokens that share an entry of the prefix cache; None: vLLM's own.
        compiled: compile the model and, on a GPU, record CUDA graphs. None: not on a CPU.
        tensor_parallel: GPUs that share the model.
        second_runner: vLLM's V2 model runner. It needs Triton, and was not run with this package yet.
        start_timeout: seconds to load the model in.
        engine: further arguments of vLLM's ``EngineArgs``.
        environment: further environment variables of the process.
    """

    max_rows: int = 64
    max_prefill: int | None = None
    max_conditions: int = 256
    context: int | None = None
    kv_bytes: int | None = None
    block_size: int | None = None
    compiled: bool | None = None
    tensor_parallel: int = 1
    second_runner: bool = False
    start_timeout: float = 1800.0
    engine: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_conditions", "tensor_parallel"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.max_prefill is not None and self.max_prefill < self.max_rows:
            raise UserError(
                f"max_prefill is {self.max_prefill}; expected at least max_rows ({self.max_rows}), because "
                "each running sequence takes a token of every step"
            )
        if taken := sorted(set(self.engine) & set(_OURS)):
            raise UserError(f"the engine argument {taken[0]!r} is set by this package; leave it out")

    def arguments(self) -> dict[str, Any]:
        """What of it are arguments of ``EngineArgs``."""
        given = {
            "max_num_seqs": self.max_rows,
            "max_num_batched_tokens": self.max_prefill,
            "max_model_len": self.context,
            "kv_cache_memory_bytes": self.kv_bytes,
            "block_size": self.block_size,
            "tensor_parallel_size": self.tensor_parallel,
        }
        return {**{name: value for name, value in given.items() if value is not None}, **self.engine}
