"""The language model that an adapter stands on, taken out of another ImageBind-LLM.

So an adapter can be made for ``"nano"``, or for any whole model folder, whose language model lies nowhere
else.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagebind_llm.checkpoints.trained import UPDATE_MODULES
from imagebind_llm.errors import CheckpointError
from imagebind_llm.locate import HUB_ID, NANO, locate_folder, nano_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from imagebind_llm.configuration import ImageBindLLMConfig

_PREFIX = "language_model."


def whole_model_folder(name: str, revision: str | None = None) -> Path | None:
    """The folder of the ImageBind-LLM called ``name``; ``None`` if that is a language model alone."""
    if name == NANO:
        return locate_folder(NANO) if (nano_folder() / "config.json").is_file() else None
    from transformers import PreTrainedConfig

    if not Path(name).is_dir() and not HUB_ID.match(name):
        return None
    try:
        values, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
    except OSError:  # whoever loads it says so better
        return None
    return locate_folder(name, revision) if values.get("model_type") == "imagebind_llm" else None


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

    from imagebind_llm.checkpoints.convert.folders import weights_of
    from imagebind_llm.configuration import ImageBindLLMConfig

    whole = ImageBindLLMConfig.from_pretrained(folder)
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
    with torch.device("meta"):
        skeleton: Any = AutoModelForCausalLM.from_config(whole.text_config)
    own = set(skeleton.state_dict())
    source = weights_of(folder)
    state: dict[str, Tensor] = {}
    for name in source.infos:
        if name.startswith(_PREFIX) and UPDATE_MODULES.isdisjoint(name.split(".")):
            short = name.removeprefix(_PREFIX).replace(".base_layer.", ".")
            if short in own or not short.endswith(".bias"):  # finetuning adds biases where there are none
                state[short] = source.get(name)
    config = whole.text_config
    if isinstance(arguments.get("dtype"), str) and arguments["dtype"] == "auto":
        arguments["dtype"] = whole.dtype or next(iter(state.values())).dtype
    found, info = type(skeleton).from_pretrained(
        None, config=config, state_dict=state, output_loading_info=True, **arguments
    )
    faults = sorted(map(str, [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]))
    if faults:
        raise CheckpointError(
            f"the language model in {str(folder)!r} does not fit its config.json ({len(faults)} tensors: "
            f"{faults[0]}, …); copy or download the whole folder again"
        )
    model: PreTrainedModel = found.eval()
    return model
