"""Train what a recipe says, from the command line or from Python."""

import logging
from pathlib import Path
from typing import Any

from imagebind_llm.common.files import read_json
from imagebind_llm.training.checkpoint import (
    claim_run_folder,
    list_checkpoints,
    read_header,
    refuse_another_recipe,
)
from imagebind_llm.training.loop import RunResult, is_finished, train
from imagebind_llm.training.registry import make_stage
from imagebind_llm.training.report import can_plot, plot_loss

logger = logging.getLogger(__name__)


def run_recipe(recipe: Any) -> RunResult:
    """Train what ``recipe`` says, unless it is already done.

    Raises:
        ConfigError: the run's folder holds the result of another recipe.
        UserError: the recipe, the data or an input folder cannot be used, or training broke down.
    """
    claim_run_folder(Path(recipe.run.folder))
    if is_finished(recipe.run.folder) and recipe.run.resume == "auto":
        return _done(recipe)
    return train(make_stage(recipe), recipe)


def _done(recipe: Any) -> RunResult:
    """The result that is there already, if it is that of ``recipe``; models and data stay closed."""
    folder = Path(recipe.run.folder)
    export = folder / "export"
    for checkpoint in list_checkpoints(folder / "checkpoints")[-1:]:
        refuse_another_recipe(checkpoint, read_header(checkpoint)["recipe"], recipe)
    step = int(read_json(export / "training.json")["step"])
    logger.info("%s was finished before, after %d steps; nothing to do", folder, step)
    if not (folder / "loss.png").exists() and can_plot():  # matplotlib may have come later
        plot_loss(folder / "metrics.jsonl", folder / "loss.png")
    return RunResult(True, step, export)
