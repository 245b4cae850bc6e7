"""From a recipe to the stage object that the loop runs, on nano's world."""

from pathlib import Path
from typing import Any

from imagebind_llm.training.loop import RunResult, is_finished, train
from imagebind_llm.training.recipe import BindRecipe
from imagebind_llm.training.stage import Stage


def run_recipe(recipe: Any) -> RunResult:
    """Train what ``recipe`` says, on nano's world, unless it is already done.

    Raises:
        UserError: the recipe, the data or an input folder cannot be used, or training broke down.
    """
    if is_finished(recipe.run.folder) and recipe.run.resume == "auto":
        return RunResult(True, recipe.run.steps, Path(recipe.run.folder) / "export")
    return train(make_stage(recipe), recipe)


def make_stage(recipe: Any) -> Stage:
    """The stage for a recipe, with nano's pictures and grammar as its data."""
    if isinstance(recipe, BindRecipe):
        from imagebind_llm.data.nano import NanoPictures
        from imagebind_llm.training.bind_images import BindImages
        from imagebind_llm.training.bind_sense import BindSense

        world = NanoPictures(recipe.data.root)
        return BindImages(recipe, world) if recipe.anchor else BindSense(recipe, world)
    raise TypeError(f"no stage for {type(recipe).__name__}")
