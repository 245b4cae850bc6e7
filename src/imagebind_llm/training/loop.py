"""The one training loop: AdamW, warm-up and cosine, accumulation, averaging, checkpoints, exact resume.

Exactness: the batch of a step, dropout included, is a pure function of (seed, step), so the state of a run is
its weights, its optimizer moments and its step.
"""

import json
import logging
import math
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imagebind_llm.errors import CheckpointError, ConfigError, UserError
from imagebind_llm.files import atomic_directory
from imagebind_llm.training.checkpoint import (
    TrainedTensors,
    list_checkpoints,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from imagebind_llm.training.interrupts import Interrupts
from imagebind_llm.training.optimization import (
    averaged,
    learning_rate,
    parameter_groups,
    start_average,
    update_average,
)
from imagebind_llm.training.recipe import OptimizerSettings, RunSettings, save_resolved
from imagebind_llm.training.report import MetricsLog, plot_loss
from imagebind_llm.training.settings import flatten, to_plain
from imagebind_llm.training.stage import Stage, seed_torch

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

_HARMLESS = (
    "run.folder", "run.threads", "run.prefetch", "run.log_every", "run.evaluate_every",
    "run.checkpoint_every", "run.checkpoint_minutes", "run.keep", "run.resume", "evaluate_items",
)  # fmt: skip
"""Settings that may change between a run and its continuation without changing what is learnt."""


class TrainingError(UserError):
    """Training cannot go on (the loss or the gradient is not a number)."""


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

    Raises:
        TrainingError: loss or gradient stopped being a number; the last checkpoint is as it was.
        ConfigError: the folder holds a run of another recipe.
    """
    return _Run(stage, recipe).go()


class _Run:
    """One call of :func:`train`."""

    def __init__(self, stage: Stage, recipe: Any) -> None:
        run: RunSettings = recipe.run
        self.run, self.recipe = run, recipe
        self.optimizer_settings: OptimizerSettings = recipe.optimizer
        self.folder = Path(run.folder)
        self.checkpoints = self.folder / "checkpoints"
        self.export_folder = self.folder / "export"
        self.folder.mkdir(parents=True, exist_ok=True)
        if run.threads:
            torch.set_num_threads(run.threads)
        self.flat_recipe = flatten(to_plain(recipe))
        if run.resume == "never":
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            shutil.rmtree(self.export_folder, ignore_errors=True)
        self.accelerator = _accelerator(run)
        parameters = _freeze_all_but(stage)
        stage.to(self.accelerator.device)
        self.tensors = TrainedTensors(parameters, stage.moving_buffers(), {})
        if self.optimizer_settings.ema is not None:
            self.tensors.average.update(start_average(self.tensors.parameters))
        optimizer = torch.optim.AdamW(
            parameter_groups(parameters, self.optimizer_settings.weight_decay),
            lr=0.0,
            betas=self.optimizer_settings.betas,
            eps=self.optimizer_settings.eps,
            fused=True,
        )
        self.raw_optimizer = optimizer
        self.bare_stage = stage
        self.stage, self.optimizer = self.accelerator.prepare(stage, optimizer)
        self.peak = self.optimizer_settings.peak(run.batch_size * run.accumulate)

    def go(self) -> RunResult:
        step = self._resume()
        if step >= self.run.steps and self.export_folder.is_dir():
            logger.info("%s is finished (%d steps); its result is %s", self.folder, step, self.export_folder)
            return RunResult(True, step, self.export_folder)
        save_resolved(self.bare_stage.name, self.recipe, self.folder)
        self.log = MetricsLog(self.folder / "metrics.jsonl", step)
        with Interrupts() as interrupts:
            step = self._steps(step, interrupts)
        if step < self.run.steps:
            logger.info("stopped by signal %s at step %d; run again to go on", interrupts.received, step)
            return RunResult(False, step, self.export_folder, interrupts.received)
        self._finish(step)
        return RunResult(True, step, self.export_folder)

    def _resume(self) -> int:
        found = list_checkpoints(self.checkpoints)
        if not found:
            return 0
        header = read_header(found[-1])
        if self.run.resume != "force":
            self._refuse_changes(found[-1], header["recipe"])
        load_checkpoint(found[-1], self.tensors, self.raw_optimizer)
        if header["step"] > self.run.steps:
            raise ConfigError(f"{found[-1]} is at step {header['step']}, but run.steps is {self.run.steps}")
        logger.info("going on from %s", found[-1])
        return int(header["step"])

    def _refuse_changes(self, checkpoint: Path, before: dict[str, Any]) -> None:
        now = self.flat_recipe
        changed = [
            f"{key} ({before.get(key)!r} then, {now.get(key)!r} now)"
            for key in sorted(set(before) | set(now))
            if key not in _HARMLESS and before.get(key) != now.get(key)
        ]
        if changed:
            raise ConfigError(
                f"{checkpoint} was made by another recipe: {'; '.join(changed[:4])}; use another run.folder, "
                "or run.resume=never to start over, or run.resume=force to go on regardless"
            )

    def _steps(self, step: int, interrupts: Interrupts) -> int:
        from tqdm import tqdm

        batches = self._batches(step)
        last_save = time.monotonic()
        pace = 1.0 if sys.stderr.isatty() else 30.0  # a log file needs no animation
        with tqdm(total=self.run.steps, initial=step, unit="step", mininterval=pace, maxinterval=pace) as bar:
            while step < self.run.steps:
                values = self._step(step, next(batches))
                step += 1
                bar.update()
                if step % self.run.log_every == 0 or step == self.run.steps:
                    numbers = {key: float(value) for key, value in values.items()}
                    bar.set_postfix(loss=f"{numbers['loss']:.4f}", refresh=False)
                    self.log.write(step, {key: round(value, 6) for key, value in numbers.items()})
                if self.run.evaluate_every and step % self.run.evaluate_every == 0 and step < self.run.steps:
                    self._evaluate(step)
                minutes = (time.monotonic() - last_save) / 60
                due = (self.run.checkpoint_every and step % self.run.checkpoint_every == 0) or (
                    self.run.checkpoint_minutes and minutes >= self.run.checkpoint_minutes
                )
                if due or interrupts.received is not None or step == self.run.steps:
                    self._save(step)
                    last_save = time.monotonic()
                if interrupts.received is not None:
                    break
        return step

    def _step(self, step: int, micro_batches: list[Any]) -> dict[str, Tensor | float]:
        """One optimizer step. The loss is the mean over all valid units of all micro-batches."""
        seed_torch(self.run.seed, step)
        self.bare_stage.train()
        rate = learning_rate(self.optimizer_settings, self.peak, step, self.run.steps)
        for group in self.raw_optimizer.param_groups:
            group["lr"] = rate
        weights = [self.bare_stage.weight(batch) for batch in micro_batches]
        total = sum(weights)
        if total <= 0:
            raise TrainingError(
                f"step {step}: the batch has nothing to learn from (no labelled unit); check the data"
            )
        values: dict[str, Any] = {"loss": 0.0}
        for batch, weight in zip(micro_batches, weights, strict=True):
            loss, metrics = self.stage(self._to_device(batch))
            share = weight / total
            self.accelerator.backward(loss * share)
            for key, value in {"loss": loss.detach(), **metrics}.items():
                values[key] = values.get(key, 0.0) + share * value
        parameters = list(self.tensors.parameters.values())
        clip = self.optimizer_settings.clip
        norm = self.accelerator.clip_grad_norm_(parameters, math.inf if clip is None else clip)
        if not (math.isfinite(float(values["loss"])) and math.isfinite(float(norm))):
            kept = list_checkpoints(self.checkpoints)
            raise TrainingError(
                f"step {step}: loss is {float(values['loss'])} and gradient norm {float(norm)} at learning "
                f"rate {rate:.3g}; stopped before the weights moved, last good checkpoint is "
                f"{kept[-1] if kept else 'none yet'}: lower the learning rate or optimizer.clip"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.optimizer_settings.ema is not None:
            update_average(self.tensors.average, self.tensors.parameters, self.optimizer_settings.ema)
        return {**values, "grad_norm": norm, "lr": rate}

    def _to_device(self, batch: Any) -> Any:
        if self.accelerator.device.type == "cpu":
            return batch
        from accelerate.utils import send_to_device

        return send_to_device(batch, self.accelerator.device)

    def _batches(self, first_step: int) -> Iterator[list[Any]]:
        """Micro-batches of each step from ``first_step`` on, prepared ahead if asked."""
        accumulate = self.run.accumulate

        def make(step: int) -> list[Any]:
            return [self.bare_stage.batch(step * accumulate + micro) for micro in range(accumulate)]

        if not self.run.prefetch:
            for step in range(first_step, self.run.steps):
                yield make(step)
            return
        with ThreadPoolExecutor(max_workers=1) as pool:
            waiting: list[Future[list[Any]]] = []
            for step in range(first_step, self.run.steps):
                while len(waiting) <= self.run.prefetch and step + len(waiting) < self.run.steps:
                    waiting.append(pool.submit(make, step + len(waiting)))
                yield waiting.pop(0).result()

    def _evaluate(self, step: int) -> dict[str, float]:
        self.bare_stage.eval()
        with averaged(self.tensors.average, self.tensors.parameters):
            measured = {f"eval/{key}": round(value, 5) for key, value in self.bare_stage.evaluate().items()}
        if measured:
            self.log.write(step, measured)
            logger.info("step %d: %s", step, ", ".join(f"{k[5:]} {v:.4g}" for k, v in measured.items()))
        return measured

    def _save(self, step: int) -> None:
        save_checkpoint(
            self.checkpoints, step, self.tensors, self.raw_optimizer, self.flat_recipe, self.run.keep
        )

    def _finish(self, step: int) -> None:
        measured = self._evaluate(step)
        with (
            averaged(self.tensors.average, self.tensors.parameters),
            atomic_directory(self.export_folder) as temporary,
        ):
            self.bare_stage.export(temporary)
            result = {
                "stage": self.bare_stage.name,
                "step": step,
                **measured,
                **self.bare_stage.extra_metadata(),
            }
            (temporary / "training.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        plot_loss(self.folder / "metrics.jsonl", self.folder / "loss.png")
        logger.info("exported to %s", self.export_folder)


def _freeze_all_but(stage: Stage) -> dict[str, nn.Parameter]:
    parameters = stage.trainable()
    if not parameters:
        raise CheckpointError(f"stage {stage.name!r} has nothing to train; check the recipe")
    stage.requires_grad_(False)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
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


def _accelerator(run: RunSettings) -> "Accelerator":
    from accelerate import Accelerator

    return Accelerator(
        cpu=run.device == "cpu", mixed_precision=None if run.precision == "no" else run.precision
    )
