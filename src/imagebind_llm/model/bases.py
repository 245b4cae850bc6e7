"""The language model that a model is made with, or that an adapter stands on.

It lies in a folder of its own, on the hub, or inside another ImageBind-LLM. The last lets an adapter be made
for ``"nano"``, or for any whole model folder, whose language model lies nowhere else.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from imagebind_llm.common.budget import built_from, refuse_many_layers
from imagebind_llm.common.errors import CheckpointError, reason_of
from imagebind_llm.common.files import read_json
from imagebind_llm.common.finite import require_finite
from imagebind_llm.common.locate import NANO, locate_folder, nano_folder
from imagebind_llm.model.adaptation import UPDATE_MODULES
from imagebind_llm.model.generation import GENERATION_FILE, check_generation_settings
from imagebind_llm.model.unfilled import WithoutRandomValues

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from imagebind_llm.model.configuration import ImageBindLLMConfig

_PREFIX = "language_model."
_CONFIG = "config.json"
_LONG_LOAD_BYTES = 2**30
_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)
"""What transformers raises on folders that lack something, and on damaged files."""


@contextmanager
def progress_bar_if_long(name: str | os.PathLike[str]) -> Iterator[None]:
    """Keep transformers' progress bar away from loads of a second or less."""
    from transformers.utils import logging

    size = sum(file.stat().st_size for file in Path(name).glob("*.safetensors") if file.is_file())
    short = Path(name).is_dir() and size <= _LONG_LOAD_BYTES
    if not short or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def whole_model_folder(name: str, revision: str | None = None) -> Path | None:
    """The folder of the ImageBind-LLM called ``name``; ``None`` if that is a language model alone.

    Raises:
        CheckpointError: there is no such folder, and the hub gives no model of that name.
    """
    if name == NANO:
        return locate_folder(NANO) if (nano_folder() / "config.json").is_file() else None
    from transformers import PreTrainedConfig

    from imagebind_llm.common.hub import require_repository

    if not Path(name).is_dir():
        require_repository(name, revision)
    try:
        values, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
    except OSError:  # whoever loads it says so better
        return None
    return locate_folder(name, revision) if values.get("model_type") == "imagebind_llm" else None


def language_model_config(name: str, revision: str | None = None) -> "PreTrainedConfig":
    """The configuration of a language model in a folder of its own or on the hub.

    Raises:
        CheckpointError: there is none, or its configuration is damaged.
    """
    from transformers import AutoConfig

    from imagebind_llm.common.hub import require_repository

    if not Path(name).is_dir():
        require_repository(name, revision)
    elif (Path(name) / _CONFIG).is_file():
        refuse_many_layers(read_json(Path(name) / _CONFIG), repr(str(Path(name) / _CONFIG)))
    try:
        found: PreTrainedConfig = AutoConfig.from_pretrained(name, revision=revision or "main")
        vocabulary = int(found.vocab_size)
    except Exception as error:  # what transformers' classes make of odd values has many names
        raise not_there("language model", name, error) from error
    check_generation_settings(Path(name) / GENERATION_FILE, vocabulary)
    return found


def whole_language_model(name: str, revision: str | None = None, **arguments: Any) -> "PreTrainedModel":
    """A causal language model from a folder of its own or the hub, with all of its weights.

    Args:
        name: folder or hub id.
        revision: of a hub id.
        arguments: transformers' (``dtype``, ``device_map``, ``quantization_config`` …).

    Raises:
        CheckpointError: there is none, its files are damaged, or some of its weights are missing.
    """
    from transformers import AutoModelForCausalLM

    config = language_model_config(name, revision)
    if Path(name).is_dir():
        _try_to_build(config, Path(name))
    try:
        with progress_bar_if_long(name):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                name, revision=revision or "main", output_loading_info=True, **arguments
            )
    except _UNREADABLE as error:
        if "mismatched" in str(error):  # transformers has printed which, to where nobody looks
            raise CheckpointError(
                f"the weights of the language model {name!r} have other shapes than its config.json says; "
                "use the pair that belongs"
            ) from None
        raise not_there("language model", name, error) from None
    model, info = loaded
    missing = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if missing:
        raise CheckpointError(
            f"the language model {name!r} lacks {len(missing)} of its weights ({', '.join(missing[:3])}); "
            "copy or download the whole folder again"
        )
    require_finite(model, f"the language model {name!r}")
    found: PreTrainedModel = model
    return found


def _try_to_build(config: "PreTrainedConfig", folder: Path) -> None:
    """Find out on the meta device what transformers' loader would stumble over, or take all memory for.

    Raises:
        CheckpointError: no model can be built from ``config.json``, or one larger than the weights.
    """
    from transformers import AutoModelForCausalLM

    from imagebind_llm.common.tensor_files import weights_of

    try:
        stored = weights_of(folder).infos
    except CheckpointError:
        return  # the loader says so as well
    with built_from(folder / _CONFIG, stored), torch.device("meta"), WithoutRandomValues():
        AutoModelForCausalLM.from_config(config)


def not_there(what: str, where: str, error: Exception, more: str = "") -> CheckpointError:
    """transformers' complaint about something that cannot be opened, in one line."""
    reason = reason_of(error)
    return CheckpointError(f"no {what} can be opened at {where!r} ({reason}){more}")


def language_model_of(folder: Path, adapter: "ImageBindLLMConfig", **arguments: Any) -> "PreTrainedModel":
    """The language model inside a whole ImageBind-LLM, without what finetuning added to it.

    Norms and biases that finetuning changed there stay changed, so the adapter must bring its own.

    Args:
        folder: of the whole model.
        adapter: configuration of the adapter that will stand on it.
        arguments: transformers' (``dtype``, ``device_map``, ``quantization_config`` …).

    Raises:
        CheckpointError: the adapter does not replace what was changed there, or weights are missing.
    """
    from transformers import AutoModelForCausalLM

    from imagebind_llm.common.tensor_files import weights_of
    from imagebind_llm.model.configuration import read_model_config

    whole = read_model_config(folder)
    changed = [
        *(["norms"] if whole.norm_tuned and not adapter.norm_tuned else []),
        *sorted(
            {f"biases of {name}" for name in set(whole.bias_targets or ()) - set(adapter.bias_targets or ())}
        ),
    ]
    if changed:
        raise CheckpointError(
            f"the language model in {str(folder)!r} was finetuned ({', '.join(changed[:3])}), and the "
            "adapter does not bring its own; name the untouched language model as its base"
        )
    source = weights_of(folder)
    with built_from(folder / _CONFIG, source.infos), torch.device("meta"), WithoutRandomValues():
        skeleton: Any = AutoModelForCausalLM.from_config(whole.text_config)
    own = set(skeleton.state_dict())
    state: dict[str, Tensor] = {}
    for name in source.infos:
        if name.startswith(_PREFIX) and UPDATE_MODULES.isdisjoint(name.split(".")):
            short = name.removeprefix(_PREFIX).replace(".base_layer.", ".")
            if short in own or not short.endswith(".bias"):  # finetuning adds biases where there are none
                state[short] = source.get(name)
    config = whole.text_config
    if isinstance(arguments.get("dtype"), str) and arguments["dtype"] == "auto":
        arguments["dtype"] = whole.dtype or next(iter(state.values())).dtype
    with progress_bar_if_long(folder):
        found, info = type(skeleton).from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, **arguments
        )
    faults = sorted(map(str, [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]))
    if faults:
        raise CheckpointError(
            f"the language model in {str(folder)!r} does not fit its config.json ({len(faults)} tensors: "
            f"{faults[0]}, …); copy or download the whole folder again"
        )
    require_finite(found, f"the language model in {str(folder)!r}")
    model: PreTrainedModel = found.eval()
    return model
