"""The configuration of a whole model, as transformers saves it, and reading it strictly."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, PreTrainedConfig

from imagebind_llm.common.budget import refuse_many_layers
from imagebind_llm.common.errors import CheckpointError, ConfigError, one_line, short
from imagebind_llm.common.files import read_json
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import build, to_plain
from imagebind_llm.model.bind import check_encoder_tokens, check_tokens
from imagebind_llm.model.generation import GENERATION_FILE, check_generation_settings

CONFIG_FILE = "config.json"
_REASON = 200
"""Characters of a library's complaint that are worth showing."""

STAGES = ("base", "pretrain", "finetune")
"""How far a model has been trained: not at all, image-text alignment, instruction tuning."""


@dataclass(frozen=True)
class _Bind:
    depth: int = 3
    norm: str = "rms"
    hidden: int | None = None
    tokens: int = 1
    encoder_tokens: int = 0
    tokens_of: tuple[str, ...] = (Modality.IMAGE.value,)


@dataclass(frozen=True)
class _Injection:
    style: str = "residual"
    layers: int | tuple[int, ...] | None = None
    query: bool | None = None
    gate_std: float = 0.0


@dataclass(frozen=True)
class _Lora:
    rank: int = 16
    scale: float = 1.0
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None
    tokens: Literal["all", "conditioned"] = "all"


@dataclass(frozen=True)
class _Cache:
    modalities: tuple[str, ...] = tuple(item.value for item in Modality if item is not Modality.IMAGE)
    mixtures: bool = True
    k: int = 10
    temperature: float = 20.0
    weight: float = 0.5


class ImageBindLLMConfig(PreTrainedConfig):
    """Configuration of :class:`imagebind_llm.model.modeling.ImageBindLLMForConditionalGeneration`.

    Args:
        text_config: configuration of the language model, an object or its dict with ``model_type``.
        encoder_config: ``{"type": "imagebind", …}``, or ``None`` for a model that is only given embeddings.
        embedding_dim: ``D``, width of the joint space.
        bind: ``depth`` (blocks), ``norm`` (``"rms"`` or ``"layer"``), ``hidden`` (``None``: 4 × width),
            ``tokens`` (vectors per condition, 1 as published; more need injection style ``"value"``),
            ``encoder_tokens`` (groups of the encoder's tokens, each one more vector; 0 as published; also
            only in style ``"value"``), ``tokens_of`` (the modalities whose media have them; of the others
            their vector stands in).
        injection: ``style`` (``"residual"`` or ``"value"``), ``layers`` (``None``: all; a number: that many
            last; a list of indices), ``query`` (learned vector per layer; ``None``: only in style
            ``"value"``), ``gate_std`` (spread of the gates before training, 0 as published).
        lora: ``rank``, ``scale`` (factor of the update), ``dropout``, ``targets`` (module paths inside a
            decoder layer; ``None``: all the family's linear layers), ``tokens`` (``"all"`` as published, or
            ``"conditioned"``: an update acts only on tokens that see a condition, so that without one the
            language model is as it was; biases and norms are then not trained), or ``None`` for no low-rank
            updates.
        bias_targets: linear layers (paths inside a decoder layer) whose bias is trained, added where there is
            none; ``None``: none.
        norm_tuned: whether finetuning trains the language model's norms.
        stage: ``"base"``, ``"pretrain"`` or ``"finetune"``: how far the weights were trained.
        fingerprints: ``{"encoder": …, "language_model": …}`` of the parts this model was trained with.
        base_models: where those parts are: ``{"language_model": {"id": …, "revision": …}, "encoder": {…}}``.
        cache: ``modalities`` that use the visual cache by default, ``mixtures`` (whether conditions of
            several media do, if one of them does), ``k``, ``temperature``, ``weight``.
        media: media settings as a dict (``None``: ImageBind's).
        confidence_temperature: divides the logits from which the confidence of an answer is read, 0.01 … 100;
            1: as they are. It changes no answer. Fitted by :mod:`imagebind_llm.evaluation.calibration`.

    Raises:
        ConfigError: an unknown key or a value of another type in one of the groups, an unknown stage, or a
            temperature out of range.
    """

    model_type = "imagebind_llm"
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012 - the attribute transformers reads
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012

    def __init__(
        self,
        text_config: Mapping[str, Any] | PreTrainedConfig | None = None,
        encoder_config: Mapping[str, Any] | None = None,
        embedding_dim: int = 1024,
        bind: Mapping[str, Any] | None = None,
        injection: Mapping[str, Any] | None = None,
        lora: Mapping[str, Any] | None = None,
        bias_targets: Sequence[str] | None = None,
        norm_tuned: bool = False,
        stage: str = "base",
        fingerprints: Mapping[str, str | None] | None = None,
        base_models: Mapping[str, Any] | None = None,
        cache: Mapping[str, Any] | None = None,
        media: Mapping[str, Any] | None = None,
        confidence_temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if stage not in STAGES:
            raise ConfigError(f"stage is {stage!r}; expected one of {', '.join(STAGES)}")
        if type(confidence_temperature) not in (int, float) or not 0.01 <= confidence_temperature <= 100:
            found = one_line(repr(confidence_temperature), 60)
            raise ConfigError(f"confidence_temperature is {found}; expected a number from 0.01 to 100")
        self.text_config = _text_config(text_config)
        self.encoder_config = None if encoder_config is None else dict(encoder_config)
        self.embedding_dim = embedding_dim
        self.bind = to_plain(build(_Bind, bind or {}, "bind"))
        self.injection = to_plain(build(_Injection, injection or {}, "injection"))
        check_tokens(self.bind["tokens"], self.injection["style"])
        check_encoder_tokens(self.bind["encoder_tokens"], self.bind["tokens"], self.injection["style"])
        self.lora = None if lora is None else to_plain(build(_Lora, lora, "lora"))
        self.bias_targets = None if bias_targets is None else list(bias_targets)
        self.norm_tuned = norm_tuned
        check_tuned(self.lora, self.bias_targets, norm_tuned)
        self.stage = stage
        self.fingerprints = {"encoder": None, "language_model": None, **(fingerprints or {})}
        self.base_models = {"encoder": None, "language_model": None, **(base_models or {})}
        self.cache = to_plain(build(_Cache, cache or {}, "cache"))
        self.media = None if media is None else dict(media)
        self.confidence_temperature = float(confidence_temperature)
        kwargs.setdefault("tie_word_embeddings", getattr(self.text_config, "tie_word_embeddings", False))
        super().__init__(**kwargs)


def check_tuned(lora: Mapping[str, Any] | None, biases: Sequence[str] | None, norms: bool) -> None:
    """Refuse biases and norms, which act on all tokens, beside updates that act on some.

    Raises:
        ConfigError: both are asked for.
    """
    if lora is not None and lora["tokens"] != "all" and (biases or norms):
        raise ConfigError(
            f"low-rank updates are for conditioned tokens only, but {'biases' if biases else 'norms'} are "
            "tuned too, which act on all; train neither (biases: [], norms: false), or all tokens"
        )


def _text_config(given: Mapping[str, Any] | PreTrainedConfig | None) -> PreTrainedConfig:
    if isinstance(given, PreTrainedConfig):
        return copy.deepcopy(given)  # transformers writes attention settings into it: not into the caller's
    if given is None:  # transformers builds every config without arguments to find its defaults
        return AutoConfig.for_model("llama")
    values = dict(given)
    if "model_type" not in values:
        raise ConfigError(
            "text_config has no 'model_type'; it must be the full configuration of a language model"
        )
    return AutoConfig.for_model(**values)


def read_model_config(folder: Path) -> ImageBindLLMConfig:
    """The configuration of a model or adapter folder.

    Raises:
        CheckpointError: ``config.json`` or ``generation_config.json`` is damaged, or no model can be made of
            what it says.
        ConfigError: it has a setting that does not exist.
    """
    refuse_many_layers(read_json(folder / CONFIG_FILE), repr(str(folder / CONFIG_FILE)))
    try:
        config = ImageBindLLMConfig.from_pretrained(folder)
        for base in config.base_models.values():
            if base is not None and not isinstance(base["id"], str):
                raise ConfigError(f"base_models holds {base!r}; expected an id")
        _check_numbers(config)
    except ConfigError as error:
        raise ConfigError(f"{str(folder / CONFIG_FILE)!r}: {error}") from None
    except Exception as error:  # what transformers' classes make of odd values has many names
        reason = one_line(str(error).strip() or type(error).__name__, _REASON)
        raise CheckpointError(
            f"no model can be made of {str(folder / CONFIG_FILE)!r} ({type(error).__name__}: {reason}); get "
            "the file again"
        ) from error
    check_generation_settings(folder / GENERATION_FILE, config.text_config.vocab_size)
    return config


def _check_numbers(config: ImageBindLLMConfig) -> None:
    """What is computed with beyond building modules, which find the rest."""
    text = config.text_config
    lengths = {
        "vocab_size": text.vocab_size,
        "hidden_size": text.hidden_size,
        "max_position_embeddings": getattr(text, "max_position_embeddings", None) or 1,
    }
    numbers = {f"text_config.{name}": value for name, value in lengths.items()}
    for name, value in {**numbers, "embedding_dim": config.embedding_dim}.items():
        if type(value) is not int or not 1 <= value < 2**31:
            raise ConfigError(f"{name} is {one_line(repr(value), 60)}; expected a whole number of at least 1")
    for one in (config, text):
        if not isinstance(one.dtype, torch.dtype | None):
            raise ConfigError(f"dtype is {short(one.dtype)}; expected one such as float32 or bfloat16")
    for one in (config, text):  # transformers' own switches, for those who call it otherwise
        one.return_dict, one.output_hidden_states = True, False
    for part in ("encoder", "language_model"):
        found = config.fingerprints[part]
        if found is not None and not isinstance(found, str):
            raise ConfigError(f"fingerprints.{part} is {one_line(repr(found), 60)}; expected text or null")
