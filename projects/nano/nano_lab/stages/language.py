"""The language stage: a small language model from scratch on text-only dialogs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.data.packing import PackedBatch
from imagebind_llm.training.dialog_stage import DialogStage
from nano_lab.data.worlds import DialogWorld
from nano_lab.recipes import LanguageRecipe
from nano_lab.stages.examples import TextExamples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Language(DialogStage):
    """Next-token prediction on whole dialogs, or on their answers only."""

    name = "language"

    def __init__(
        self, recipe: LanguageRecipe, dialogs: DialogWorld, tokenizer: "PreTrainedTokenizerBase"
    ) -> None:
        super().__init__()
        from transformers import AutoModelForCausalLM

        self.recipe, self.tokenizer = recipe, tokenizer
        self.examples = TextExamples(recipe, dialogs, tokenizer)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.run.seed)
            self.model = AutoModelForCausalLM.from_config(_config(recipe.model, tokenizer))
        self.model.generation_config.eos_token_id = tokenizer.eos_token_id
        self.model.generation_config.pad_token_id = tokenizer.pad_token_id

    def trainable(self) -> dict[str, nn.Parameter]:
        return {f"model.{name}": parameter for name, parameter in self.model.named_parameters()}

    @property
    def language_model(self) -> Any:
        return self.model

    def logits(self, batch: PackedBatch, keep: Tensor) -> Tensor:
        output: Tensor = self.model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            use_cache=False,
            logits_to_keep=keep,
        ).logits
        return output

    def export(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def _config(values: dict[str, Any], tokenizer: "PreTrainedTokenizerBase") -> Any:
    """The configuration of a language model of a known family (``model_type``; Llama if it is left out)."""
    from transformers import AutoConfig

    from imagebind_llm.model.families import family_of

    values = dict(values)
    kind = str(values.pop("model_type", "llama"))
    family_of(kind)  # one that nothing can be injected into is no use
    default = AutoConfig.for_model(kind)
    known = set(default.to_dict())
    for key in values:
        if key not in known:
            raise ConfigError(
                f"unknown setting 'model.{key}'; it is not one of transformers' {type(default).__name__}"
            )
    return AutoConfig.for_model(
        kind,
        **{
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": True,
            **values,
        },
    )
