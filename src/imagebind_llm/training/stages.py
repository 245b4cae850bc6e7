"""From a recipe to the stage object that the loop runs, on nano's world."""

from pathlib import Path
from typing import Any

from imagebind_llm.training.loop import RunResult, is_finished, train
from imagebind_llm.training.recipe import BindRecipe, FinetuneRecipe, LanguageRecipe, PretrainRecipe
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
    from imagebind_llm.data.nano_dialogs import NanoDialogs

    if isinstance(recipe, LanguageRecipe):
        from imagebind_llm.training.language import Language

        return Language(recipe, NanoDialogs(), _tokenizer(recipe))
    from imagebind_llm.data.nano import NanoPictures
    from imagebind_llm.nano.world.settings import nano_media_settings
    from imagebind_llm.training.align import Finetune, Pretrain

    pictures = NanoPictures(recipe.data.root)
    if isinstance(recipe, PretrainRecipe):
        return Pretrain(recipe, pictures, NanoDialogs(), nano_media_settings())
    if isinstance(recipe, FinetuneRecipe):
        return Finetune(recipe, pictures, NanoDialogs(), nano_media_settings())
    raise TypeError(f"no stage for {type(recipe).__name__}")


def _tokenizer(recipe: LanguageRecipe) -> Any:
    """The recipe's tokenizer, learnt from the grammar's corpus if its folder does not exist yet."""
    from transformers import AutoTokenizer

    from imagebind_llm.files import atomic_directory
    from imagebind_llm.nano.tokenizer import train_tokenizer

    folder = Path(recipe.tokenizer)
    if not (folder / "tokenizer_config.json").is_file():
        with atomic_directory(folder) as temporary:
            train_tokenizer(recipe.run.seed, recipe.vocabulary).save_pretrained(temporary)
    return AutoTokenizer.from_pretrained(folder)
