"""What a training run is: one YAML file per stage, read into frozen dataclasses.

Every field has one line that says what it means. ``key=value`` overrides use dotted keys. The run config
is saved beside the run with the versions it ran under. Settings that have no effect are refused.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from imagebind_llm.common.errors import ConfigError, one_line, short
from imagebind_llm.common.settings import apply_overrides, build, check_numbers
from imagebind_llm.common.text_files import NotUtf8, read_text
from imagebind_llm.common.yaml_text import NotYaml, parse_yaml
from imagebind_llm.training.checkpoint import save_run_config
from imagebind_llm.training.foreign_names import own_names, own_overrides
from imagebind_llm.training.new_sensor import NewSensor
from imagebind_llm.training.registry import is_for, stage_kind
from imagebind_llm.training.settings import (
    AdapterSettings,
    AlignSettings,
    DataSettings,
    OptimizerSettings,
    RunSettings,
    TowerLora,
)

__all__ = [
    "STAGES",
    "AdapterSettings",
    "AlignSettings",
    "BindRecipe",
    "DataSettings",
    "FinetuneRecipe",
    "FinetuneSettings",
    "OptimizerSettings",
    "PretrainRecipe",
    "PretrainSettings",
    "Recipe",
    "RunSettings",
    "load_recipe",
    "save_run_config",
]


BANK = ("bank", "bank_views", "bank_seed")
PAIRS_ONLY = ("sensor", "media_from")
TOWERS_ONLY = ("bank_sample", "instance_weight", "class_weight")
LABELS_ONLY = (*BANK, "captions", "clip_probability")
"""Settings of BindRecipe that only some kinds of data read."""


@dataclass(frozen=True)
class BindRecipe:
    """Contrastive training of the encoders, anchored to images."""

    run: RunSettings
    optimizer: OptimizerSettings
    data: DataSettings
    modalities: tuple[str, ...]
    """``[image, text]`` trains the anchor, ``[text]`` (with data.sources) the text tower towards its images;
    one other modality trains its tower likewise."""
    encoder: str = "new"
    """Encoder or model to start from (folder, ``nano`` or hub id), or ``new`` (built from ``config``)."""
    config: dict[str, Any] | None = None
    """Overrides of the nano encoder configuration, only with ``encoder: new``."""
    captions: int = 96
    """Labelled pictures: captions per step (image and text together); they need not be as many as images."""
    clip_probability: float | None = None
    """Labelled pictures: show them as clips of two frames, this share of them moving; null = still images."""
    bank: str | None = None
    """Labelled pictures: folder of their embeddings (made if absent); null = inside the run."""
    bank_views: int = 2
    """Augmented views per image in the bank."""
    bank_seed: int = 0
    """Of the bank's views (a bank is shared between runs, so this is not the run's seed)."""
    bank_sample: int = 1024
    """Bank images each step is contrasted with, balanced over classes."""
    instance_weight: float = 0.5
    """Weight of 1 - cos(example, the image it was derived from), where there is one."""
    class_weight: float = 0.0
    """Weight of 1 - cos(example, the mean of the images of its label). Contrast only compares; this brings a
    modality whose examples have no image of their own to where images lie."""
    temperature: float = 0.07
    """Initial softmax temperature."""
    learn_temperature: bool = True
    """Whether the temperature is trained."""
    label_smoothing: float = 0.0
    """Part of the target spread evenly over the batch."""
    source: Literal["pairs"] | None = None
    """What data.root holds: ``pairs``: arrays with images (see data/pairs.py)."""
    sensor: NewSensor | None = None
    """With pairs: a modality to add to the encoder, called as ``modalities`` says."""
    media_from: str | None = None
    """With pairs or data.sources: model folder whose media settings hold; null = those that come with the
    encoder."""
    lora: TowerLora | None = None
    """Low-rank updates of the towers instead of training all of them; null = all of them."""
    evaluate_items: int = 2000
    """Test items per evaluation."""

    @property
    def anchor(self) -> bool:
        """Whether this run trains images (and text) rather than a tower towards them."""
        return "image" in self.modalities

    def __post_init__(self) -> None:

        check_numbers(
            self,
            least=dict.fromkeys(("captions", "bank_views", "bank_sample", "evaluate_items"), 1)
            | dict.fromkeys(
                ("clip_probability", "bank_seed", "instance_weight", "class_weight", "label_smoothing"), 0
            ),
            above={"temperature": 0},
            most={"clip_probability": 1, "label_smoothing": 1},
        )
        kind, unused = self.reads()
        self._refuse_settings_without_effect(kind, unused)
        if self.data.sources:
            self._check_sources()
        elif self.source == "pairs":
            self._check_pairs()
        else:
            self._check_own()

    def reads(self) -> tuple[str, tuple[str, ...]]:
        """What the recipe's data are called, and the settings that have no effect on them."""
        if self.data.sources:
            return "data.sources", (*LABELS_ONLY, *TOWERS_ONLY, "source", "sensor")
        return "pairs", LABELS_ONLY

    def _check_own(self) -> None:
        """Data that are neither sources nor pairs: other packages have them, in recipes of their own."""
        raise ConfigError(
            "data.root is given without its kind; set source: pairs, or list data.sources. A recipe for the "
            "data of another package names its stage (stage: PACKAGE.bind)"
        )

    def check_config(self) -> None:
        """Refuse a configuration beside an encoder that has its own."""
        if self.encoder != "new" and self.config:
            raise ConfigError(f"config is given but encoder is {self.encoder!r}; drop one of them")

    def _refuse_settings_without_effect(self, kind: str, unused: tuple[str, ...]) -> None:
        """A setting that only another kind of data reads would otherwise be ignored in silence."""
        defaults = {item.name: item.default for item in fields(self)}
        for name in unused:
            if getattr(self, name) != defaults[name]:
                other = "set source: pairs, or " if name in PAIRS_ONLY and not self.data.sources else ""
                raise ConfigError(f"{name} is set, which has no effect on {kind}; {other}leave it out")

    def _check_sources(self) -> None:
        """Pictures with captions."""
        if sorted(self.modalities) not in (["text"], ["image", "text"]):
            raise ConfigError(
                f"modalities is {list(self.modalities)}; pictures with captions (data.sources) train [text] "
                "or [image, text]"
            )
        if self.encoder == "new" and not self.anchor:
            raise ConfigError(
                "encoder is 'new', but [text] learns towards the images of a trained encoder; give one, or "
                "train [image, text]"
            )
        if self.encoder == "new" and (self.media_from is not None or self.lora is not None):
            raise ConfigError(
                "media_from and lora are for a trained encoder, but encoder is 'new'; drop them"
            )
        self.check_config()
        for source in (*self.data.sources, *self.data.test_sources):
            if source.kind == "alpaca":
                raise ConfigError(f"source {source.label!r} is text only; give pictures with captions")
            if source.kind == "embedded" and self.anchor:
                raise ConfigError(
                    f"source {source.label!r} is embedded already, which leaves the vision tower nothing to "
                    "learn from; give the pictures, or train [text] alone"
                )
        if self.run.batch_size < 2:
            raise ConfigError(
                "run.batch_size is 1: a pair is contrasted with the others of its micro-batch; expected at "
                "least 2 (much more is better)"
            )

    def _check_pairs(self) -> None:
        from imagebind_llm.common.modality import Modality

        if len(self.modalities) != 1 or self.modalities[0] in ("image", "video", "text"):
            raise ConfigError(
                f"modalities is {list(self.modalities)}; pairs train exactly one, which is not image, video "
                "or text"
            )
        name = self.modalities[0]
        if self.sensor is not None or name not in {member.value for member in Modality}:
            Modality.declare(name)
        if self.encoder == "new" or self.config:
            raise ConfigError(
                f"encoder is {self.encoder!r}; pairs are trained towards a trained encoder's images: give a "
                "folder or nano, without config"
            )
        if self.sensor is not None and self.lora is not None:
            raise ConfigError("sensor and lora are both given; a new tower has nothing to update, drop lora")


DIALOGS = {"row_length": 2, "evaluate_items": 1}
"""The least of what all stages on dialogs have."""


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """All of a recipe that trains the bind network and the gates, but for its data."""

    run: RunSettings
    optimizer: OptimizerSettings
    encoder: str | None = None
    """Folder of the trained encoder."""
    language_model: str | None = None
    """Folder of the language model and its tokenizer."""
    model: str | None = None
    """Folder of an untrained model (``imagebind-llm new``), instead of these two."""
    bind: dict[str, Any] = field(default_factory=dict)
    """BindNetwork values (width is the language model's unless given). ``tokens`` > 1 need injection style
    ``"value"``."""
    injection: dict[str, Any] = field(default_factory=dict)
    """Injection values (style, layers)."""
    tokenizer: str | None = None
    """Folder of another tokenizer, for its chat template; null = the language model's or the model's own."""
    row_length: int = 256
    """Tokens per packed row."""
    evaluate_items: int = 200
    """Held-out samples per evaluation."""

    def __post_init__(self) -> None:
        check_numbers(self, least=DIALOGS)
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
        if "tokens" in self.bind:  # told before anything is opened
            from imagebind_llm.model.bind import check_tokens

            check_tokens(self.bind["tokens"], self.injection.get("style", "residual"))


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe(PretrainSettings):
    """Pictures with captions from data sources; trains the bind network and the gates."""

    data: AlignSettings


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """All of a recipe that trains LoRA, biases and norms, but for its data."""

    run: RunSettings
    optimizer: OptimizerSettings
    model: str
    """Folder exported by pretrain."""
    tokenizer: str | None = None
    """Folder of another tokenizer, for its chat template; null = the model's own."""
    adapters: AdapterSettings | None = None
    """What is added to the language model; null = what the model was fine-tuned with before, or the
    defaults."""
    train_bind: bool = False
    """Whether the bind network and gates go on learning too."""
    row_length: int = 256
    """Tokens per packed row."""
    evaluate_items: int = 200
    """Held-out samples per evaluation."""

    def __post_init__(self) -> None:
        check_numbers(self, least=DIALOGS)


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(FinetuneSettings):
    """Instructions from data sources; trains LoRA, biases and norms (and the bind network if asked)."""

    data: AlignSettings


Recipe = BindRecipe | PretrainRecipe | FinetuneRecipe

STAGES: dict[str, type[Any]] = {
    "bind": BindRecipe,
    "pretrain": PretrainRecipe,
    "finetune": FinetuneRecipe,
}


def load_recipe(stage: str, path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Any:
    """The recipe for ``stage`` in the YAML file ``path`` with ``key=value`` overrides. Names of transformers'
    ``TrainingArguments`` are taken for ours where they mean the same.

    The file may name a stage itself: the same, or ``PACKAGE.STAGE``, which is this stage on the own data of
    that package (:mod:`imagebind_llm.training.registry`).

    Raises:
        ConfigError: the file cannot be read, belongs to another stage, or holds an unknown or wrong setting.
        UserError: there is no such stage.
    """
    file = Path(path)
    try:
        values = parse_yaml(read_text(file))
    except (OSError, NotUtf8) as error:
        raise ConfigError(f"cannot read the recipe {str(path)!r} ({error}); give a YAML file") from None
    except NotYaml as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}; expected a mapping of settings")
    values = apply_overrides(own_names(values), own_overrides(overrides))
    named = values.pop("stage", stage)
    if not isinstance(named, str):
        raise ConfigError(f"stage is {short(named)} in {path}; expected a name such as {stage!r}")
    if not is_for(stage, named):
        called = one_line(named, 80)
        raise ConfigError(f"{path} is a recipe for {called!r}; run: train {called} {path}")
    return build(stage_kind(named).recipe_class, values)
