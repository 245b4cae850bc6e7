"""The package's two stages that teach a language model to see, on nano's examples."""

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.encoders.imagebind import ImageBindModel, load_imagebind
from imagebind_llm.media.base import MediaReader
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
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
    if recipe.encoder is not None:
        _give_encoder(parts.model, recipe.encoder)
    return NanoFinetune(recipe, parts, InstructionExamples(recipe, parts, world, dialogs))


def _give_encoder(model: ImageBindLLMForConditionalGeneration, name: str) -> None:
    """Put another encoder into a model: one whose image tower was trained anew into the same space.

    Raises:
        ConfigError: it has another joint space, or lacks something that the model's has.
    """
    encoder, former, width = load_imagebind(name), model.encoder, model.config.embedding_dim
    if encoder.embedding_dim != width:
        raise ConfigError(f"encoder {name!r} has {encoder.embedding_dim} dimensions, but the model {width}")
    lost = sorted(former.modalities - encoder.modalities) if isinstance(former, ImageBindModel) else []
    if lost:
        raise ConfigError(f"encoder {name!r} has no {', '.join(lost)}, which the model has")
    model.encoder = encoder
    model.config.encoder_config = encoder.settings
