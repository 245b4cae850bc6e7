"""What a training run is: one YAML file per stage, read into frozen dataclasses.

Every field has one line that says what it means. ``key=value`` overrides use dotted keys. The resolved recipe
is saved beside the run with the versions it ran under.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import apply_overrides, build, check_numbers
from imagebind_llm.training.bind_recipe import BindRecipe
from imagebind_llm.training.resolved import save_resolved
from imagebind_llm.training.run_settings import OptimizerSettings, RunSettings
from imagebind_llm.training.stage_settings import AdapterSettings, AlignSettings, DataSettings

__all__ = [
    "STAGES",
    "AdapterSettings",
    "AlignSettings",
    "BindRecipe",
    "DataSettings",
    "FinetuneRecipe",
    "LanguageRecipe",
    "OptimizerSettings",
    "PretrainRecipe",
    "Recipe",
    "RunSettings",
    "load_recipe",
    "save_resolved",
]


_DIALOGS = {"row_length": 2, "evaluate_items": 1}
"""The least of what all stages on dialogs have."""


@dataclass(frozen=True)
class LanguageRecipe:
    """A small language model from scratch on a text corpus."""

    run: RunSettings
    optimizer: OptimizerSettings
    model: dict[str, Any]
    """``model_type`` (a known family; llama if left out) and values of its transformers configuration
    (hidden_size, num_hidden_layers, …)."""
    tokenizer: str
    """Folder of the tokenizer (trained there if absent)."""
    vocabulary: int = 2048
    """Size of a newly trained tokenizer's vocabulary."""
    row_length: int = 256
    """Tokens per packed row."""
    mixture: dict[str, float] = field(default_factory=lambda: {"text": 0.4, "statement": 0.6})
    """Parts of the dialogs: plain text, and text that states what a medium would have shown."""
    mask_prompts: bool = False
    """Train on answers only instead of on every token."""
    evaluate_items: int = 200
    """Held-out samples per evaluation."""

    def __post_init__(self) -> None:
        check_numbers(self, least={**_DIALOGS, "vocabulary": 1})


@dataclass(frozen=True)
class PretrainRecipe:
    """Image-caption pairs; trains the bind network and the gates."""

    run: RunSettings
    optimizer: OptimizerSettings
    data: AlignSettings
    encoder: str | None = None
    """Folder of the trained encoder."""
    language_model: str | None = None
    """Folder of the language model and its tokenizer."""
    model: str | None = None
    """Folder of an untrained model (``imagebind-llm new``), instead of these two."""
    bind: dict[str, Any] = field(default_factory=dict)
    """BindNetwork values (width is the language model's unless given)."""
    injection: dict[str, Any] = field(default_factory=dict)
    """Injection values (style, layers)."""
    row_length: int = 256
    """Tokens per packed row."""
    evaluate_items: int = 200
    """Held-out samples per evaluation."""

    def __post_init__(self) -> None:
        check_numbers(self, least=_DIALOGS)
        parts = (self.encoder, self.language_model)
        if (self.model is None) != (None not in parts) or (self.model is not None and parts != (None, None)):
            raise ConfigError(
                f"encoder is {self.encoder!r}, language_model is {self.language_model!r} and model is "
                f"{self.model!r}; give either the first two or model"
            )
        given = [name for name in ("bind", "injection") if getattr(self, name)]
        if self.model is not None and given:
            raise ConfigError(
                f"{given[0]} is that of the model {self.model!r}, which imagebind-llm new has set; drop "
                f"{given[0]} from the recipe, or give {given[0]}=null"
            )


@dataclass(frozen=True)
class FinetuneRecipe:
    """Instructions; trains LoRA, biases and norms (and the bind network if asked)."""

    run: RunSettings
    optimizer: OptimizerSettings
    data: AlignSettings
    model: str
    """Folder exported by pretrain."""
    adapters: AdapterSettings = field(default_factory=AdapterSettings)
    """What is added to the language model."""
    train_bind: bool = False
    """Whether the bind network and gates go on learning too."""
    mixture: dict[str, float] = field(
        default_factory=lambda: {"media": 0.60, "text": 0.15, "statement": 0.10, "caption": 0.15}
    )
    """Parts of the dialogs: instructions about images, text only, perception stated in words, captions."""
    mixture_weights: float = 0.15
    """Two mixed images have weights 0.5 plus and minus up to this."""
    mixture_units: float = 0.3
    """Share of conditions scaled to length 1, as the visual cache leaves mixtures."""
    row_length: int = 256
    """Tokens per packed row."""
    evaluate_items: int = 200
    """Held-out samples per evaluation."""

    def __post_init__(self) -> None:
        least = {**_DIALOGS, "mixture_weights": 0, "mixture_units": 0}
        check_numbers(self, least=least, most={"mixture_units": 1})


Recipe = BindRecipe | LanguageRecipe | PretrainRecipe | FinetuneRecipe

STAGES: dict[str, type[Any]] = {
    "bind": BindRecipe,
    "language": LanguageRecipe,
    "pretrain": PretrainRecipe,
    "finetune": FinetuneRecipe,
}


def load_recipe(stage: str, path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Any:
    """The recipe for ``stage`` in the YAML file ``path`` with ``key=value`` overrides.

    Raises:
        ConfigError: the file cannot be read, belongs to another stage, or holds an unknown or wrong setting.
    """
    file = Path(path)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the recipe {str(path)!r} ({error}); give a YAML file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}; expected a mapping of settings")
    values = apply_overrides(values, overrides)
    named = values.pop("stage", stage)
    if named != stage:
        raise ConfigError(f"{path} is a recipe for {named!r}; run: train {named} {path}")
    return build(STAGES[stage], values)
