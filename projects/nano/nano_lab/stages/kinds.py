"""Nano's stages, as the package finds them by its entry points ``imagebind_llm.stages``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebind_llm.training.registry import StageKind

if TYPE_CHECKING:
    from imagebind_llm.training.stage import Stage
    from nano_lab.recipes import (
        LanguageRecipe,
        NanoBindRecipe,
        NanoFinetuneRecipe,
        NanoGeneratorRecipe,
        NanoPretrainRecipe,
    )


def _bind(recipe: "NanoBindRecipe") -> "Stage":
    from nano_lab.data.pictures import nano_pictures
    from nano_lab.stages.bind_images import BindImages
    from nano_lab.stages.bind_modality import BindModality

    assert recipe.data.root is not None, "the recipe has checked it"
    world = nano_pictures(recipe.data.root, recipe.data.others)
    return BindImages(recipe, world) if recipe.anchor else BindModality(recipe, world)


def _language(recipe: "LanguageRecipe") -> "Stage":
    from nano_lab.data.dialogs import NanoDialogs
    from nano_lab.stages.language import Language

    return Language(recipe, NanoDialogs(), _tokenizer(recipe))


def _tokenizer(recipe: "LanguageRecipe") -> Any:
    """The recipe's tokenizer, learnt from the grammar's corpus if its folder does not exist yet."""
    from transformers import AutoTokenizer

    from imagebind_llm.common.folders import atomic_directory
    from nano_lab.tokenizer import train_tokenizer

    folder = Path(recipe.tokenizer)
    if not (folder / "tokenizer_config.json").is_file():
        with atomic_directory(folder) as temporary:
            train_tokenizer(recipe.run.seed, recipe.vocabulary).save_pretrained(temporary)
    return AutoTokenizer.from_pretrained(folder)


def _pretrain(recipe: "NanoPretrainRecipe") -> "Stage":
    from nano_lab.data.dialogs import NanoDialogs
    from nano_lab.data.pictures import nano_pictures
    from nano_lab.stages.align import pretrain
    from nano_lab.world.settings import nano_media_settings

    assert recipe.data.root is not None, "the recipe has checked it"
    return pretrain(
        recipe, nano_pictures(recipe.data.root, recipe.data.others), NanoDialogs(), nano_media_settings()
    )


def _finetune(recipe: "NanoFinetuneRecipe") -> "Stage":
    from nano_lab.data.dialogs import NanoDialogs
    from nano_lab.data.pictures import nano_pictures
    from nano_lab.stages.align import finetune
    from nano_lab.world.settings import nano_media_settings

    assert recipe.data.root is not None, "the recipe has checked it"
    return finetune(
        recipe, nano_pictures(recipe.data.root, recipe.data.others), NanoDialogs(), nano_media_settings()
    )


def _generator(recipe: "NanoGeneratorRecipe") -> "Stage":
    from nano_lab.data.pictures import nano_pictures
    from nano_lab.stages.generator import open_generator

    assert recipe.data.root is not None, "the recipe has checked it"
    return open_generator(recipe, nano_pictures(recipe.data.root, recipe.data.others))


BIND = StageKind(
    "nano_lab.recipes:NanoBindRecipe",
    _bind,
    "Nano's encoder: its pictures and captions, its other modalities.",
    examples="""
\b
Example:
  imagebind-llm train bind recipes/nano/bind-images.yaml data.root=DATA
""",
)
LANGUAGE = StageKind(
    "nano_lab.recipes:LanguageRecipe",
    _language,
    "A small language model from scratch on text.",
    examples="""
\b
Example:
  imagebind-llm train language recipes/nano/language.yaml
""",
)
PRETRAIN = StageKind(
    "nano_lab.recipes:NanoPretrainRecipe",
    _pretrain,
    "The bind network and the gates, on captions of nano's pictures.",
    examples="""
\b
Example:
  imagebind-llm train pretrain recipes/nano/pretrain.yaml data.root=DATA
""",
)
FINETUNE = StageKind(
    "nano_lab.recipes:NanoFinetuneRecipe",
    _finetune,
    "LoRA, biases and norms, on instructions about nano's pictures.",
    examples="""
\b
Example:
  imagebind-llm train finetune recipes/nano/finetune.yaml data.root=DATA
""",
)
GENERATOR = StageKind(
    "nano_lab.recipes:NanoGeneratorRecipe",
    _generator,
    "A picture decoder for what nano's encoder embeds.",
    examples="""
\b
Example:
  imagebind-llm train generator recipes/nano/generator.yaml data.root=DATA
""",
)
