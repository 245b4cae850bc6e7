"""The recipe of contrastive training: on nano's pictures and senses, on pairs of arrays and images, or on
pictures with captions from data sets. Settings that have no effect on the data in hand are refused.

What a training run is: one YAML file per stage, read into frozen dataclasses.

Every field has one line that says what it means. ``key=value`` overrides use dotted keys. The resolved recipe
is saved beside the run with the versions it ran under.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import apply_overrides, build, check_numbers
from imagebind_llm.training.checkpoint import save_resolved
from imagebind_llm.training.foreign_names import own_names, own_overrides
from imagebind_llm.training.new_sensor import NewSensor
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
    "LanguageRecipe",
    "OptimizerSettings",
    "PretrainRecipe",
    "Recipe",
    "RunSettings",
    "load_recipe",
    "save_resolved",
]


_BANK = ("bank", "bank_views", "bank_seed")
_PAIRS_ONLY = ("sensor", "media_from")
_WORLD_ONLY = (*_BANK, "captions", "clip_probability")
_TOWERS_ONLY = ("bank_sample", "instance_weight")
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
    """Captions per step (image and text together); they need not be as many as images."""
    clip_probability: float | None = None
    """Show images as clips of two frames, this share of them moving; null = still images."""
    bank: str | None = None
    """Folder of precomputed image embeddings (made if absent); null = inside the run."""
    bank_views: int = 2
    """Augmented views per image in the bank."""
    bank_seed: int = 0
    """Of the bank's views (a bank is shared between runs, so this is not the run's seed)."""
    bank_sample: int = 1024
    """Bank images each step is contrasted with, balanced over classes."""
    instance_weight: float = 0.5
    """Weight of 1 - cos(example, the image it was derived from), where there is one."""
    temperature: float = 0.07
    """Initial softmax temperature."""
    learn_temperature: bool = True
    """Whether the temperature is trained."""
    label_smoothing: float = 0.0
    """Part of the target spread evenly over the batch."""
    source: Literal["nano", "pairs"] = "nano"
    """What data.root holds: ``nano``: nano's world; ``pairs``: arrays with images (see data/pairs.py)."""
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
        from imagebind_llm.common.modality import Modality

        check_numbers(
            self,
            least=dict.fromkeys(("captions", "bank_views", "bank_sample", "evaluate_items"), 1)
            | dict.fromkeys(("clip_probability", "bank_seed", "instance_weight", "label_smoothing"), 0),
            above={"temperature": 0},
            most={"clip_probability": 1, "label_smoothing": 1},
        )
        self._refuse_settings_without_effect()
        if self.data.sources:
            self._check_sources()
            return
        if self.source == "pairs":
            self._check_pairs()
            return
        found = [Modality.parse(name) for name in self.modalities]
        if not self.anchor and (len(found) != 1 or found[0] in (Modality.TEXT, Modality.VIDEO)):
            raise ConfigError(
                f"modalities is {list(self.modalities)}; give [image, text] or exactly one of "
                "audio, point, depth, thermal, imu ([text] alone: with data.sources)"
            )
        if self.anchor and set(found) != {Modality.IMAGE, Modality.TEXT}:
            raise ConfigError(
                f"modalities is {list(self.modalities)}; images are trained with text, nothing else"
            )
        if self.encoder == "new" and not self.anchor:
            raise ConfigError(
                f"encoder is 'new', but {found[0]} is trained towards images; give a trained encoder"
            )
        self._check_config()

    def _check_config(self) -> None:
        if self.encoder != "new" and self.config:
            raise ConfigError(f"config is given but encoder is {self.encoder!r}; drop one of them")

    def _refuse_settings_without_effect(self) -> None:
        """A setting that only another kind of data reads would otherwise be ignored in silence."""
        unused: tuple[str, ...]
        if self.data.sources:
            kind, unused = "data.sources", _WORLD_ONLY + _TOWERS_ONLY + ("source", "sensor")
        elif self.source == "pairs":
            kind, unused = "pairs", _WORLD_ONLY
        elif self.anchor:
            kind, unused = "nano's images and captions", _BANK + _TOWERS_ONLY + _PAIRS_ONLY
        else:
            kind, unused = "one of nano's senses", ("captions", "clip_probability", *_PAIRS_ONLY)
        defaults = {item.name: item.default for item in fields(self)}
        for name in unused:
            if getattr(self, name) != defaults[name]:
                other = "set source: pairs, or " if name in _PAIRS_ONLY and not self.data.sources else ""
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
        self._check_config()
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
    adapters: AdapterSettings | None = None
    """What is added to the language model; null = what the model was fine-tuned with before, or the
    defaults."""
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
    """The recipe for ``stage`` in the YAML file ``path`` with ``key=value`` overrides. Names of transformers'
    ``TrainingArguments`` are taken for ours where they mean the same.

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
    values = apply_overrides(own_names(values), own_overrides(overrides))
    named = values.pop("stage", stage)
    if named != stage:
        raise ConfigError(f"{path} is a recipe for {named!r}; run: train {named} {path}")
    return build(STAGES[stage], values)
