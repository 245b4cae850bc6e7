"""One process or many: who computes which micro-batch, how gradients meet, who writes.

A step's micro-batches are numbered; process ``r`` of ``n`` takes every ``n``-th. Gradients and losses are
summed with the weights of the whole step, so a recipe describes the same run on any number of processes, and
a checkpoint made by some number of them is continued by any other.

``torchrun`` and ``accelerate launch`` start the processes; accelerate finds them, the device and the
precision, and exchanges gradients. Copies are kept equal by DDP. With ``run.sharding: full`` each process
holds a share of every weight and collects a decoder layer's when it is computed (FSDP2's ``fully_shard``:
accelerate would choose the units by class name, here they depend on the injection).

A run is what its recipe says: of a launcher's own settings only FSDP is taken over.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.training.settings import RunSettings
from imagebind_llm.training.stage import Shards, Stage


def shard(parts: Shards, device: torch.device, count: int) -> None:
    """Divide ``parts`` over ``count`` processes, in place; parameters become ``DTensor``."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (count,))
    ignored: set[nn.Parameter] = set()
    if parts.whole is not None:
        parts.whole.to(device)
        ignored = set(parts.whole.parameters())
    for unit in parts.units:
        fully_shard(unit, mesh=mesh)
    fully_shard(parts.root, mesh=mesh, ignored_params=ignored)


def full(tensor: Tensor) -> Tensor:
    """The whole of a divided tensor (all processes must ask); any other tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a divided tensor, sharing its memory; any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def divided_like(tensor: Tensor, whole: Tensor) -> Tensor:
    """``whole`` laid out over processes as ``tensor`` is; on its device in any case."""
    moved = whole.to(tensor.device)
    if not isinstance(tensor, DTensor):
        return moved
    return distribute_tensor(moved, tensor.device_mesh, tensor.placements, src_data_rank=None)


def undivide(module: nn.Module, keep: bool) -> None:
    """End the division of ``module`` for good: plain whole parameters and the classes from before.

    All processes must call it; those with ``keep=False`` are left with empty parameters.
    """
    from torch.distributed.fsdp import FSDPModule

    divided: list[Any] = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for part in divided:
        part.reshard()
    known: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if isinstance(parameter, DTensor):
                if id(parameter) not in known:
                    value = parameter.full_tensor().detach()
                    known[id(parameter)] = nn.Parameter(
                        value if keep else value.new_empty(0), requires_grad=parameter.requires_grad
                    )
                part._parameters[name] = known[id(parameter)]
    for part in divided:
        _, _, before, *_ = type(part).__mro__  # ``fully_shard`` made a class of FSDPModule and this one
        part.__class__ = before


logger = logging.getLogger(__name__)

Forward = Callable[[Any], tuple[Tensor, dict[str, Tensor]]]


class Processes:
    """The processes of this run, as seen by one of them."""

    def __init__(self, run: RunSettings) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import patch_environment

        AcceleratorState._reset_state()  # an earlier run of this Python may have had another precision
        asked = run.sharding == "full" or _on("ACCELERATE_USE_FSDP")
        _complain_of_launcher(run)
        with patch_environment(
            accelerate_use_fsdp="false",  # it would want an accelerator, and its own division of the model
            accelerate_mixed_precision=run.precision,
            accelerate_gradient_accumulation_steps="1",
            accelerate_dynamo_backend="no",
        ):
            self.accelerator = Accelerator(
                # told so, accelerate lets processes on a machine without accelerator find each other
                cpu=run.device == "cpu" or not torch.accelerator.is_available(),
                mixed_precision=run.precision,
            )
        self.count: int = self.accelerator.num_processes
        self.rank: int = self.accelerator.process_index
        self.main: bool = self.accelerator.is_main_process
        self.device: torch.device = self.accelerator.device
        started = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else self.count
        if started != self.count:
            raise ConfigError(
                f"{started} processes were started but {self.count} found each other, and each would write "
                "the same run; check the launcher"
            )
        self.sharded = asked and self.count > 1  # alone, a process has nobody to share with
        self._copied: Forward | None = None
        if run.accumulate % self.count:
            raise ConfigError(
                f"run.accumulate is {run.accumulate}: a step has as many micro-batches, which {self.count} "
                f"processes cannot share evenly; make it a multiple of {self.count} (and run.batch_size "
                "smaller)"
            )

    def wrap(self, stage: Stage) -> Forward:
        """Move ``stage`` to the device, divide or copy it, and return its forward pass."""
        if not self.sharded:
            stage.to(self.device)
            wrapped: Forward = self.accelerator.prepare_model(stage)
            self._copied = wrapped
            return wrapped
        parts = stage.shards()
        if parts is None:
            raise ConfigError(
                f"stage {stage.name!r} cannot be sharded; use run.sharding=none, or accelerate's --multi_gpu "
                "instead of --use_fsdp"
            )
        shard(parts, self.device, self.count)

        def forward(batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            with self.accelerator.autocast():
                found: tuple[Tensor, dict[str, Tensor]] = stage(batch)
            return found

        return forward

    def autocast(self) -> AbstractContextManager[None]:
        """The precision of the forward pass, for what is not called through :meth:`wrap`."""
        context: AbstractContextManager[None] = self.accelerator.autocast()
        return context

    def without_sync(self) -> AbstractContextManager[None]:
        """For all but the last micro-batch: gradients add up here before they are exchanged."""
        if self.count == 1 or self._copied is None:
            return nullcontext()
        context: AbstractContextManager[None] = self.accelerator.no_sync(self._copied)
        return context

    def mine(self, accumulate: int) -> range:
        """The micro-batches of a step that this process computes."""
        return range(self.rank, accumulate, self.count)

    def move(self, batch: Any) -> Any:
        """``batch`` on this process's device."""
        if self.device.type == "cpu":
            return batch
        from accelerate.utils import send_to_device

        return send_to_device(batch, self.device)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this process's part of a loss that is a sum over processes."""
        # Exchanging gradients averages them.
        self.accelerator.backward(loss * self.count if self.count > 1 else loss)

    @property
    def reading_is_free(self) -> bool:
        """Whether a number can be looked at without waiting for an accelerator."""
        return self.device.type == "cpu"

    def sum_(self, values: Tensor) -> Tensor:
        """``values`` on this process's device, summed over all processes, in place: one exchange."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Numbers summed over all processes, which must give the same names in the same order."""
        total = self.sum_(torch.tensor(list(values.values()), dtype=self.exact, device=self.device))
        return dict(zip(values, total.tolist(), strict=True))

    @property
    def exact(self) -> torch.dtype:
        """The widest floats that the device has."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    def union(self, names: Iterable[str]) -> list[str]:
        """All names that any process has, in the same order everywhere."""
        if self.count == 1:
            return list(names)
        from accelerate.utils import gather_object

        return list(dict.fromkeys(gather_object(list(names))))

    def average_(self, buffers: Iterable[Tensor]) -> None:
        """Running statistics: their mean over processes, in place."""
        moving = [buffer for buffer in buffers if buffer.is_floating_point()]
        if self.count == 1 or not moving:
            return
        total = self.sum_(torch.cat([buffer.flatten() for buffer in moving])) / self.count
        for buffer, mean in zip(moving, total.split([buffer.numel() for buffer in moving]), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def wait(self) -> None:
        """Until all processes are here."""
        self.accelerator.wait_for_everyone()

    @cached_property
    def description(self) -> str:
        """For the log."""
        if self.count == 1:
            return f"one process on {self.device}"
        return f"{self.count} processes on {self.device.type}, {'sharded' if self.sharded else 'a copy each'}"


def leave_the_others(code: int) -> None:
    """End this process with ``code``, if it was one of many; its work is done and written.

    Python is left without its own clearing up. Threads of gloo (torch's exchange between CPUs) may hold
    tensors for a moment longer, also after ``destroy_process_group`` where a device mesh is known; one that
    is freed when Python has gone ends the process with SIGABRT (PyTorch's pull request 179291).
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _on(variable: str) -> bool:
    """Whether a launcher switched something on."""
    return os.environ.get(variable, "false").lower() in ("true", "1")


def _complain_of_launcher(run: RunSettings) -> None:
    """Say which settings of ``accelerate launch`` do not hold, since the recipe has its own.

    Raises:
        ConfigError: it asks for something that is not supported.
    """
    for variable, option in (
        ("ACCELERATE_USE_DEEPSPEED", "--use_deepspeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "--use_megatron_lm"),
    ):
        if _on(variable):
            raise ConfigError(f"{option} is not supported; divide the model with run.sharding=full instead")
    for variable, setting, value in (
        ("ACCELERATE_MIXED_PRECISION", "run.precision", run.precision),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "run.accumulate", str(run.accumulate)),
        ("ACCELERATE_DYNAMO_BACKEND", "run.compile", "inductor" if run.compile else "no"),
    ):
        found = os.environ.get(variable, value).lower()
        if found not in (value, "no", "1") and os.environ.get("RANK", "0") == "0":
            logger.warning("%s=%s is ignored: %s of the recipe holds", variable, found, setting)
