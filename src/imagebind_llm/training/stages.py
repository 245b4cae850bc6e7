"""From a recipe to the stage object that the loop runs: on its data sources, or on nano's world."""

import json
import logging
from pathlib import Path
from typing import Any

from imagebind_llm.training.checkpoint import list_checkpoints, read_header, refuse_another_recipe
from imagebind_llm.training.loop import RunResult, is_finished, train
from imagebind_llm.training.recipe import BindRecipe, FinetuneRecipe, LanguageRecipe, PretrainRecipe
from imagebind_llm.training.report import can_plot, plot_loss
from imagebind_llm.training.stage import Stage

logger = logging.getLogger(__name__)


def run_recipe(recipe: Any) -> RunResult:
    """Train what ``recipe`` says, unless it is already done.

    Raises:
        ConfigError: the run's folder holds the result of another recipe.
        UserError: the recipe, the data or an input folder cannot be used, or training broke down.
    """
    if is_finished(recipe.run.folder) and recipe.run.resume == "auto":
        return _done(recipe)
    return train(make_stage(recipe), recipe)


def _done(recipe: Any) -> RunResult:
    """The result that is there already, if it is that of ``recipe``; models and data stay closed."""
    folder = Path(recipe.run.folder)
    export = folder / "export"
    for checkpoint in list_checkpoints(folder / "checkpoints")[-1:]:
        refuse_another_recipe(checkpoint, read_header(checkpoint)["recipe"], recipe)
    step = int(json.loads((export / "training.json").read_text(encoding="utf-8"))["step"])
    logger.info("%s was finished before, after %d steps; nothing to do", folder, step)
    if not (folder / "loss.png").exists() and can_plot():  # matplotlib may have come later
        plot_loss(folder / "metrics.jsonl", folder / "loss.png")
    return RunResult(True, step, export)


def make_stage(recipe: Any) -> Stage:
    """The stage for a recipe; without ``data.sources``, nano's pictures and grammar are its data."""
    if isinstance(recipe, BindRecipe):
        if recipe.data.sources:
            from imagebind_llm.training.bind import BindCaptions

            return BindCaptions(recipe)
        if recipe.source == "pairs":
            from imagebind_llm.training.bind import BindPairs

            return BindPairs(recipe)
        from imagebind_llm.data.nano import nano_pictures
        from imagebind_llm.training.bind_images import BindImages
        from imagebind_llm.training.bind_sense import BindSense

        assert recipe.data.root is not None, "the recipe has checked it"
        world = nano_pictures(recipe.data.root)
        return BindImages(recipe, world) if recipe.anchor else BindSense(recipe, world)
    from imagebind_llm.data.nano_dialogs import NanoDialogs

    if isinstance(recipe, LanguageRecipe):
        from imagebind_llm.training.language import Language

        return Language(recipe, NanoDialogs(), _tokenizer(recipe))
    if recipe.data.sources:
        from imagebind_llm.training.source_stage import FinetuneOnSources, PretrainOnSources

        pretraining = isinstance(recipe, PretrainRecipe)
        return PretrainOnSources(recipe) if pretraining else FinetuneOnSources(recipe)
    from imagebind_llm.data.nano import nano_pictures
    from imagebind_llm.nano.world.settings import nano_media_settings
    from imagebind_llm.training.align import Finetune, Pretrain

    pictures = nano_pictures(recipe.data.root)
    if isinstance(recipe, PretrainRecipe):
        return Pretrain(recipe, pictures, NanoDialogs(), nano_media_settings())
    if isinstance(recipe, FinetuneRecipe):
        return Finetune(recipe, pictures, NanoDialogs(), nano_media_settings())
    raise TypeError(f"no stage for {type(recipe).__name__}")


def _tokenizer(recipe: LanguageRecipe) -> Any:
    """The recipe's tokenizer, learnt from the grammar's corpus if its folder does not exist yet."""
    from transformers import AutoTokenizer

    from imagebind_llm.common.files import atomic_directory
    from imagebind_llm.nano.tokenizer import train_tokenizer

    folder = Path(recipe.tokenizer)
    if not (folder / "tokenizer_config.json").is_file():
        with atomic_directory(folder) as temporary:
            train_tokenizer(recipe.run.seed, recipe.vocabulary).save_pretrained(temporary)
    return AutoTokenizer.from_pretrained(folder)
