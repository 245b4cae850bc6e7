"""The package's two stages that teach a language model to see, on nano's examples."""

from imagebind_llm.media.base import MediaReader
from imagebind_llm.training.align import Finetune, Pretrain, new_parts, open_parts, with_tokenizer
from nano_lab.data.worlds import DialogWorld, PictureWorld
from nano_lab.recipes import NanoFinetuneRecipe, NanoPretrainRecipe
from nano_lab.stages.examples import CaptionExamples, InstructionExamples


class NanoPretrain(Pretrain):
    """Pre-training whose recipe says where nano's pictures are."""

    name = "nano.pretrain"


class NanoFinetune(Finetune):
    """Fine-tuning whose recipe says where nano's pictures are."""

    name = "nano.finetune"


def pretrain(
    recipe: NanoPretrainRecipe, world: PictureWorld, dialogs: DialogWorld, media: MediaReader | None
) -> NanoPretrain:
    """Pre-training on captions of a world's pictures; ``media`` of a new model: how its media are opened."""
    parts = with_tokenizer(new_parts(recipe, media), recipe.tokenizer)
    return NanoPretrain(recipe, parts, CaptionExamples(recipe, parts, world, dialogs))


def finetune(
    recipe: NanoFinetuneRecipe, world: PictureWorld, dialogs: DialogWorld, media: MediaReader | None
) -> NanoFinetune:
    """Fine-tuning on instructions about a world's pictures; ``media``: None keeps those of the model."""
    parts = with_tokenizer(open_parts(recipe.model), recipe.tokenizer)
    parts = parts._replace(media=media or parts.media)
    return NanoFinetune(recipe, parts, InstructionExamples(recipe, parts, world, dialogs))
