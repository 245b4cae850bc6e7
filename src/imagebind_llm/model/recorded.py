"""Whether the parts of a whole model folder are those whose fingerprints its configuration records.

Small models are compared whenever they are loaded, large ones when asked (``doctor --fingerprints``): all
their weights have to be hashed.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from torch import Tensor

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.locate import COMPONENTS
from imagebind_llm.common.tensor_files import HeldTensors, TensorsBelow, TensorSource
from imagebind_llm.encoders.base import encoder_fingerprint_of
from imagebind_llm.model.adaptation import language_model_fingerprint_of

if TYPE_CHECKING:
    from imagebind_llm.model.configuration import ImageBindLLMConfig
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

COMPARED_BYTES = 10**9
"""Weights up to this size are compared at every start: a second of hashing, a twentieth of it for nano."""


def fingerprints_in(
    config: "ImageBindLLMConfig", model: "ImageBindLLMForConditionalGeneration", source: TensorSource
) -> dict[str, str | None]:
    """Fingerprints of the parts, from the tensors of a whole folder as they are stored.

    Args:
        config: of the folder.
        model: its modules, also on the meta device or with low-rank updates folded.
        source: its tensors.

    Returns:
        By part; ``None`` where it cannot be told from the files
        (:func:`~imagebind_llm.encoders.base.encoder_fingerprint_of`; or a language model whose tensors have
        other names there).
    """
    stored = TensorsBelow(source, "language_model.")
    found: dict[str, str | None] = {"language_model": None}
    with suppress(CheckpointError):  # tensors that have other names in files, as GPT-NeoX's have
        found["language_model"] = language_model_fingerprint_of(stored, model.language_model)
    if config.encoder_config is None:
        return found
    return {
        **found,
        "encoder": encoder_fingerprint_of(config.encoder_config, TensorsBelow(source, "encoder.")),
    }


def require_recorded(recorded: Mapping[str, str | None], found: Mapping[str, str | None], where: str) -> None:
    """Refuse a part whose weights are not those that were recorded.

    Raises:
        CheckpointError: naming the part and both fingerprints.
    """
    for part, name in COMPONENTS.items():
        said, is_now = recorded.get(part), found.get(part)
        if said is not None and is_now is not None and said != is_now:
            raise CheckpointError(
                f"the {name} in {where!r} has the fingerprint {is_now}, but its config.json records {said}: "
                "its weights were changed or damaged; get the whole folder again"
            )


def require_recorded_if_small(
    config: "ImageBindLLMConfig",
    model: "ImageBindLLMForConditionalGeneration",
    state: Mapping[str, Tensor],
    where: str,
) -> None:
    """:func:`require_recorded` for the tensors ``state`` of a whole folder, if they are few enough.

    Raises:
        CheckpointError: as :func:`require_recorded`.
    """
    if sum(tensor.nbytes for tensor in state.values()) <= COMPARED_BYTES:
        source = HeldTensors(state)
        require_recorded(config.fingerprints, fingerprints_in(config, model, source), where)
