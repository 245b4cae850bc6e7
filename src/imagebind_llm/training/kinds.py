"""The stages of this package, in the form in which other packages offer theirs."""

from typing import TYPE_CHECKING

from imagebind_llm.training.registry import StageKind

if TYPE_CHECKING:
    from imagebind_llm.training.heads.recipe import HeadsRecipe
    from imagebind_llm.training.recipe import BindRecipe, FinetuneRecipe, PretrainRecipe
    from imagebind_llm.training.stage import Stage


def _bind(recipe: "BindRecipe") -> "Stage":
    if recipe.data.sources:
        from imagebind_llm.training.bind import BindCaptions

        return BindCaptions(recipe)
    from imagebind_llm.training.bind import BindPairs

    return BindPairs(recipe)


def _heads(recipe: "HeadsRecipe") -> "Stage":
    from imagebind_llm.training.heads.stage import Heads

    return Heads(recipe)


def _pretrain(recipe: "PretrainRecipe") -> "Stage":
    from imagebind_llm.training.align import Pretrain, new_parts, with_tokenizer
    from imagebind_llm.training.examples import SourceExamples

    parts = with_tokenizer(new_parts(recipe), recipe.tokenizer)
    return Pretrain(recipe, parts, SourceExamples(recipe, parts))


def _finetune(recipe: "FinetuneRecipe") -> "Stage":
    from imagebind_llm.training.align import Finetune, open_parts, with_tokenizer
    from imagebind_llm.training.examples import SourceExamples

    parts = with_tokenizer(open_parts(recipe.model), recipe.tokenizer)
    return Finetune(recipe, parts, SourceExamples(recipe, parts))


BIND = StageKind(
    "imagebind_llm.training.recipe:BindRecipe",
    _bind,
    "Encoders: images with captions, other modalities.",
    "Encoders: images with captions, or another modality towards images.",
    """
\b
Examples:
  imagebind-llm train bind recipes/captions/text-tower.yaml      captions, any data
  imagebind-llm train bind recipes/sensors/tactile.yaml data.root=pairs       a new modality
  imagebind-llm train bind recipes/sensors/depth-lora.yaml data.root=pairs    low-rank updates
""",
)
HEADS = StageKind(
    "imagebind_llm.training.heads.recipe:HeadsRecipe",
    _heads,
    "Heads of an encoder of pretrained backbones.",
    "Heads of an encoder that new-encoder made, on features of its frozen backbones.",
    """
\b
Examples:
  imagebind-llm train heads recipes/towers/clip-clap-heads.yaml encoder=my-encoder
  imagebind-llm train heads recipes/towers/siglip-whisper-heads.yaml run.steps=2000 'train=[audio]'
""",
)
PRETRAIN = StageKind(
    "imagebind_llm.training.recipe:PretrainRecipe",
    _pretrain,
    "The bind network and the gates, on image-caption pairs.",
    examples="""
\b
Examples:
  imagebind-llm train pretrain recipes/any-llm.yaml language_model=Qwen/Qwen3-0.6B
  imagebind-llm train pretrain recipes/any-llm.yaml 'data.sources=[{kind: embedded, path: embedded}]'
  imagebind-llm train pretrain recipes/7b-published/pretrain.yaml run.sharding=full
""",
)
FINETUNE = StageKind(
    "imagebind_llm.training.recipe:FinetuneRecipe",
    _finetune,
    "LoRA, biases and norms, on instructions.",
    "LoRA, biases and norms of the language model, on instructions.",
    """
\b
Examples:
  imagebind-llm train finetune recipes/any-llm-finetune.yaml
  imagebind-llm train finetune recipes/any-llm-finetune.yaml model=nano adapters.rank=8 train_bind=true
""",
)
