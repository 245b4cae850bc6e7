"""What a recipe adds to the language model in fine-tuning, or finds there already."""

from typing import TYPE_CHECKING, Any

import torch

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.training.settings import AdapterSettings

if TYPE_CHECKING:
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration


def prepare_adapters(
    model: "ImageBindLLMForConditionalGeneration", wanted: AdapterSettings | None, seed: int
) -> None:
    """Have the model train what ``wanted`` says. None: what it was trained with before, or the defaults.

    Raises:
        ConfigError: the model was fine-tuned with others before.
    """
    from imagebind_llm.model.adaptation import add_biases, add_lora, tune_norms, widen_lora
    from imagebind_llm.model.families import family_of

    config = model.config
    fine_tuned = config.lora is not None or bool(config.bias_targets) or bool(config.norm_tuned)
    if wanted is None and fine_tuned:
        return
    wanted = wanted or AdapterSettings()
    family = family_of(config.text_config.model_type)
    biases = set(family.biased if wanted.biases is None else wanted.biases)
    if fine_tuned:
        _refuse_others(model, wanted, biases, set(family.linears))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if wanted.rank and config.lora is None:
            add_lora(model, wanted.rank, wanted.scale, targets=wanted.targets, tokens=wanted.tokens)
        elif config.lora is not None and wanted.rank > config.lora["rank"]:
            widen_lora(model, wanted.rank)
    if biases and not config.bias_targets:
        add_biases(model, wanted.biases)
    if wanted.norms:
        tune_norms(model)


def _refuse_others(
    model: "ImageBindLLMForConditionalGeneration",
    wanted: AdapterSettings,
    biases: set[str],
    linears: set[str],
) -> None:
    """Updates that were merged are gone, so new ones may come; all else must be as it was."""
    config = model.config
    differences: list[tuple[str, Any, Any]] = []
    if config.lora is not None:
        own = set(config.lora["targets"] or linears)
        pairs: list[tuple[str, Any, Any]] = [
            ("scale", config.lora["scale"], wanted.scale),
            ("tokens", config.lora["tokens"], wanted.tokens),
        ]
        if not (wanted.widen and wanted.rank > config.lora["rank"]):
            pairs.insert(0, ("rank", config.lora["rank"], wanted.rank))
        pairs.append(("targets", sorted(own), sorted(wanted.targets or linears)))
        differences += [pair for pair in pairs if pair[1] != pair[2] and (wanted.rank or pair[0] == "rank")]
    own_biases = set(config.bias_targets or ())
    if own_biases != biases:
        differences.append(("biases", sorted(own_biases), sorted(biases)))
    if bool(config.norm_tuned) != wanted.norms:
        differences.append(("norms", bool(config.norm_tuned), wanted.norms))
    if differences:
        name, own_value, value = differences[0]
        raise ConfigError(
            f"the model was fine-tuned with adapters.{name} {own_value}, the recipe says {value}; leave the "
            "group adapters out to go on with the model's own, or start from a pretrained model"
        )
