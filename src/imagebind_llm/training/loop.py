"""The one training loop: optimizer, warm-up and cosine, accumulation, averaging, checkpoints, exact resume.

Exactness: a micro-batch, dropout included, is a pure function of (seed, its number), so the state of a run is
its weights, its optimizer moments and its step; also on several processes (:mod:`.parallel`).
"""

import logging
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import CheckpointError, ConfigError, reason_of
from imagebind_llm.common.files import locked
from imagebind_llm.common.settings import flatten, to_plain
from imagebind_llm.training.checkpoint import (
    TrainedTensors,
    claim_run_folder,
    list_checkpoints,
    load_checkpoint,
    read_header,
    refuse_another_recipe,
    refuse_other_data,
    remove_remains,
    save_checkpoint,
    save_run_config,
    start_over,
)
from imagebind_llm.training.exchange import Exchange, OwnPart, StepNumbers
from imagebind_llm.training.monitor import Interrupts, LossGuard, Progress, RunOutput, TrainingError
from imagebind_llm.training.muon import Muon, muon_groups
from imagebind_llm.training.optimization import (
    averaged,
    learning_rate,
    parameter_groups,
    scale_and_clip,
    start_average,
    update_average,
)
from imagebind_llm.training.parallel import Processes
from imagebind_llm.training.settings import OptimizerSettings, RunSettings
from imagebind_llm.training.stage import Stage, seed_torch

__all__ = ["RunResult", "TrainingError", "is_finished", "train"]


class MicroBatch(NamedTuple):
    """A batch and its number, counted over the whole run."""

    number: int
    batch: Any


def batches(stage: Stage, run: RunSettings, mine: range, first_step: int) -> Iterator[list[MicroBatch]]:
    """For each step from ``first_step`` on, its micro-batches ``mine``.

    With ``run.prefetch`` those of so many further steps are made meanwhile by ``run.workers`` threads. A
    micro-batch is a function of its number, so who makes it and when does not matter.
    """

    def make(number: int) -> MicroBatch:
        return MicroBatch(number, stage.batch(number))

    def numbers(step: int) -> list[int]:
        return [step * run.accumulate + micro for micro in mine]

    if not run.prefetch:
        for step in range(first_step, run.steps):
            yield [make(number) for number in numbers(step)]
        return
    pool = ThreadPoolExecutor(max_workers=run.workers, thread_name_prefix="prefetch")
    waiting: deque[list[Future[MicroBatch]]] = deque()
    try:
        for step in range(first_step, run.steps):
            while len(waiting) <= run.prefetch and step + len(waiting) < run.steps:
                waiting.append([pool.submit(make, number) for number in numbers(step + len(waiting))])
            yield [future.result() for future in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def compile_blocks(stage: Stage) -> None:
    """Have the stage's repeated layers compiled when they are first called.

    Raises:
        ConfigError: it has none.
    """
    blocks = stage.blocks()
    if not blocks:
        raise ConfigError(f"stage {stage.name!r} has no layers to compile; drop run.compile")
    torch.compiler.reset()  # hooks are not among a graph's guards: another stage's graphs would be taken
    for block in blocks:
        block.compile(dynamic=True)


@contextmanager
def compiler_explained(wanted: bool) -> Iterator[None]:
    """Turn a compiler's errors into one line, if it is ``wanted`` at all.

    Raises:
        ConfigError: the layers cannot be compiled here.
    """
    if not wanted:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = reason_of(error)
        raise ConfigError(
            f"run.compile: the layers cannot be compiled here ({reason}); install what is missing (for "
            "a CPU a C++ compiler such as g++, for a GPU Triton), or drop run.compile"
        ) from error


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """How a call of :func:`train` ended."""

    finished: bool
    """Whether all steps are done and the result is exported."""
    step: int
    """Optimizer steps done."""
    export: Path
    """Where the result is (or will be)."""
    signal: int | None = None
    """The signal that stopped the run."""


def is_finished(folder: str | Path) -> bool:
    """Whether a run of this folder has been exported."""
    return (Path(folder) / "export").is_dir()


def train(stage: Stage, recipe: Any) -> RunResult:
    """Run ``stage`` to the end of ``recipe`` (or to a signal) and export it to ``<run.folder>/export``.

    In several processes (``torchrun``), all of them call it with equal arguments; one writes.

    Raises:
        TrainingError: loss or gradient stopped being a number, or the loss exploded; the last checkpoint is
            as it was.
        ConfigError: the folder holds a run of another recipe or is in use by another one, the processes
            cannot share the work, or the layers cannot be compiled.
    """
    with compiler_explained(recipe.run.compile):
        return _Run(stage, recipe).go()


class _Run:
    """One call of :func:`train`."""

    def __init__(self, stage: Stage, recipe: Any) -> None:
        run: RunSettings = recipe.run
        self.run, self.recipe, self.stage = run, recipe, stage
        self.optimizer_settings: OptimizerSettings = recipe.optimizer
        self.folder = Path(run.folder)
        self.checkpoints = self.folder / "checkpoints"
        self.export_folder = self.folder / "export"
        if run.threads:
            torch.set_num_threads(run.threads)
        self.flat_recipe = flatten(to_plain(recipe))
        self.processes = Processes(run)
        _freeze_all_but(stage)
        stage.keep_frozen_as(getattr(torch, run.frozen_precision))
        if run.gradient_checkpointing and not stage.recompute_activations():
            raise ConfigError(
                f"stage {stage.name!r} cannot recompute activations; drop run.gradient_checkpointing"
            )
        if run.attention and not stage.compute_attention_by(run.attention):
            raise ConfigError(f"stage {stage.name!r} has no language model; drop run.attention")
        if run.compile:
            compile_blocks(stage)
        self.forward = self.processes.wrap(stage)
        parameters = stage.trainable()  # again: a divided model has new ones
        self.tensors = TrainedTensors(parameters, stage.moving_buffers(), {})
        if self.optimizer_settings.ema is not None:
            self.tensors.average.update(start_average(self.tensors.parameters))
        self.peak = self.optimizer_settings.peak(run.batch_size * run.accumulate)
        self.optimizer = self._new_optimizer(parameters)
        self.exchange = Exchange(self.processes)
        muon = isinstance(self.optimizer, Muon)
        self.looks_first = self.processes.reading_is_free or self.processes.sharded or muon
        """Whether a step is judged before the weights move; else they stay where they are if it is no number,
        and the run stops at its next look."""
        self.seen: list[StepNumbers] = []
        self.guard = LossGuard(run.explosion, self.checkpoints)

    def _new_optimizer(self, parameters: dict[str, nn.Parameter]) -> torch.optim.AdamW:
        settings = self.optimizer_settings
        rest: dict[str, Any] = {"lr": 0.0, "betas": settings.betas, "eps": settings.eps, "fused": True}
        if settings.kind == "adamw":
            return torch.optim.AdamW(parameter_groups(parameters, settings.weight_decay), **rest)
        if self.processes.sharded:
            raise ConfigError(
                "optimizer.kind is 'muon', which needs whole matrices, but run.sharding divides them; "
                "drop one of them"
            )
        return Muon(muon_groups(parameters, settings, self.peak), **rest)

    def go(self) -> RunResult:
        with self._alone():
            return self._go()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have the folder for this run: no other may write there meanwhile."""
        if not self.processes.main:
            self.processes.wait()
            yield
            return
        claim_run_folder(self.folder)
        refusal = ConfigError(
            f"another run is training in {str(self.folder)!r}; wait for it, or give another run.folder"
        )
        with locked(self.folder / ".lock", refusal):
            if self.run.resume == "never":
                start_over(self.folder)
            remove_remains(self.folder)
            self.processes.wait()
            yield

    def _go(self) -> RunResult:
        step = self._resume()
        if step >= self.run.steps and self.export_folder.is_dir():
            logger.info("%s is finished (%d steps); its result is %s", self.folder, step, self.export_folder)
            return RunResult(True, step, self.export_folder)
        if self.processes.main:
            save_run_config(self.stage.name, self.recipe, self.folder)
            logger.info("training %s in %s", self.stage.name, self.processes.description)
        self.output = RunOutput(self.folder, self.run, step, self.processes.main)
        with Interrupts() as interrupts:
            step, signal = self._steps(step, interrupts)
        if step < self.run.steps:
            logger.info("stopped by signal %s", signal)
            return RunResult(False, step, self.export_folder, signal)
        measured = self._evaluate(step)
        with averaged(self.tensors.average, self.tensors.parameters):
            self.output.export(self.stage, self.processes, step, measured)
        self.processes.wait()
        return RunResult(True, step, self.export_folder)

    def _resume(self) -> int:
        found = list_checkpoints(self.checkpoints)
        if not found:
            return 0
        header = read_header(found[-1])
        if self.run.resume != "force":
            refuse_another_recipe(found[-1], header["recipe"], self.recipe)
            refuse_other_data(found[-1], header.get("data", {}), self.stage.data_fingerprints())
        kind = header["recipe"].get("optimizer.kind", "adamw")
        if kind != self.optimizer_settings.kind:  # not even by force: its moments mean something else
            raise ConfigError(f"{found[-1]} has the moments of optimizer.kind {kind!r}; set it so again")
        load_checkpoint(found[-1], self.tensors, self.optimizer)
        self.guard.restore(header.get("guard", {}))
        if header["step"] > self.run.steps:
            raise ConfigError(f"{found[-1]} is at step {header['step']}, but run.steps is {self.run.steps}")
        logger.info("going on from %s", found[-1])
        return int(header["step"])

    def _steps(self, step: int, interrupts: Interrupts) -> tuple[int, int | None]:
        processes, run = self.processes, self.run
        source = batches(self.stage, run, processes.mine(run.accumulate), step)
        last_save = time.monotonic()
        signal: int | None = None
        with Progress(run, step, self.stage.unit, processes.main) as progress:
            while step < run.steps:
                micro_batches = next(source)
                minutes = (time.monotonic() - last_save) / 60
                late = processes.main and 0 < run.checkpoint_minutes <= minutes
                self._step(step, micro_batches, late, interrupts.received)
                step += 1
                progress.advance()
                last = step == run.steps
                log = last or step % run.log_every == 0
                evaluate = bool(run.evaluate_every) and step % run.evaluate_every == 0 and not last
                save = bool(run.checkpoint_every) and step % run.checkpoint_every == 0
                if processes.count == 1:
                    signal, save = interrupts.received, save or late
                if not (log or evaluate or save or signal is not None or self.looks_first):
                    continue
                numbers = self._look()
                for known in numbers:
                    progress.add(known.size)
                    save = save or known.late
                    if processes.count > 1:  # what all know, so that all stop after the same step
                        signal = known.signal or signal
                if log:
                    values = numbers[-1].values
                    self.output.log(step, values, progress.line(values["loss"]))
                if evaluate:
                    self._evaluate(step)
                if last or ((save or signal is not None) and not self.guard.suspicious):
                    self._save(step)
                    last_save = time.monotonic()
                if signal is not None:
                    break
        return step, signal

    def _step(self, step: int, micro_batches: list[MicroBatch], late: bool, signal: int | None) -> None:
        """One optimizer step. The loss is the mean over all valid units of all micro-batches.

        Gradients are those of the sum over units until the processes have told each other, together with
        everything else, how many units there are.
        """
        rate = learning_rate(self.optimizer_settings, self.peak, step, self.run.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("rate_ratio", 1.0)
        own = OwnPart(
            sum(self.stage.weight(micro.batch) for micro in micro_batches),
            sum(self.stage.size(micro.batch) for micro in micro_batches),
            late,
            signal,
        )
        summed = self.exchange.add_up(own, self._gradients(micro_batches))
        norm = scale_and_clip(self.tensors.parameters.values(), 1 / summed[0], self.optimizer_settings.clip)
        self.exchange.keep(step, rate, summed, norm)
        if self.looks_first:
            self.seen += self._read()
        else:  # fused AdamW then leaves the weights alone; the next look stops the run
            good = torch.isfinite(norm) & torch.isfinite(summed).all()
            self.optimizer.found_inf = (~good).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.processes.average_(self.tensors.buffers.values())
        if self.optimizer_settings.ema is not None:
            update_average(self.tensors.average, self.tensors.parameters, self.optimizer_settings.ema)

    def _look(self) -> list[StepNumbers]:
        """The numbers of all steps since the last look.

        Raises:
            TrainingError: one of them is hopeless.
        """
        found = self.seen + self._read()
        self.seen = []
        return found

    def _read(self) -> list[StepNumbers]:
        found = self.exchange.read()
        for known in found:
            if known.weight <= 0:
                raise TrainingError(
                    f"step {known.step}: the batch has nothing to learn from (no labelled unit); check the "
                    "data"
                )
            values = known.values
            self.guard.check(known.step, values["loss"], values["grad_norm"], values["lr"])
        return found

    def _gradients(self, micro_batches: list[MicroBatch]) -> dict[str, Any]:
        """Add up the gradients of this process's micro-batches, and the loss and the metrics; all times the
        units they are a mean of."""
        self.stage.train()
        values: dict[str, Any] = {}
        for micro in micro_batches:
            seed_torch(self.run.seed, micro.number)
            weight = self.stage.weight(micro.batch)
            if micro is micro_batches[-1]:
                loss, metrics = self._backward(micro, weight)
            else:
                with self.processes.without_sync():
                    loss, metrics = self._backward(micro, weight)
            for key, value in {"loss": loss, **metrics}.items():
                values[key] = values.get(key, 0.0) + weight * value
        return values

    def _backward(self, micro: MicroBatch, weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = self.forward(self.processes.move(micro.batch))
        self.processes.backward(loss * weight)
        return loss.detach(), metrics

    def _evaluate(self, step: int) -> dict[str, float]:
        self.stage.eval()
        with averaged(self.tensors.average, self.tensors.parameters), self.processes.autocast():
            measured = {f"eval/{key}": round(value, 5) for key, value in self._measured().items()}
            asked = self.processes.main or self.processes.sharded  # a divided model answers together
            samples = self.stage.samples(self.run.samples) if self.run.samples and asked else ()
        self.output.evaluated(step, measured, samples)
        return measured

    def _measured(self) -> dict[str, float]:
        """Held-out measures, with the work shared where there is someone to share it with."""
        sums = self.stage.evaluation_sums(self.processes.rank, self.processes.count)
        return self.stage.evaluate() if sums is None else self.stage.measures(self.processes.sum(sums))

    def _save(self, step: int) -> None:
        save_checkpoint(
            self.checkpoints,
            step,
            self.tensors,
            self.optimizer,
            {
                "recipe": self.flat_recipe,
                "guard": self.guard.state(),
                "data": self.stage.data_fingerprints(),
            },
            self.run.keep,
            write=self.processes.main,
        )


def _freeze_all_but(stage: Stage) -> dict[str, nn.Parameter]:
    parameters = stage.trainable()
    if not parameters:
        raise CheckpointError(f"stage {stage.name!r} has nothing to train; check the recipe")
    stage.requires_grad_(False)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
        parameter.data = parameter.data.float()
    frozen = sum(p.numel() for p in stage.parameters() if not p.requires_grad)
    moving = sum(p.numel() for p in parameters.values())
    logger.info(
        "%s trains %d tensors, %s numbers; %s are frozen",
        stage.name,
        len(parameters),
        f"{moving:,}",
        f"{frozen:,}",
    )
    for name, parameter in parameters.items():
        logger.debug("trained: %s %s", name, tuple(parameter.shape))
    return parameters
