"""The language model that a model was made from, to compare its text ability with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import CheckpointError

if TYPE_CHECKING:
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration


@dataclass(frozen=True)
class Base:
    """A language model before any training with media.

    Attributes:
        model: it, in evaluation mode; None: there is none to be had.
        exact: it is that language model in every weight.
        says: where it comes from and what is not as it was, as a sentence.
    """

    model: Any
    exact: bool
    says: str


def base_of(model: ImageBindLLMForConditionalGeneration, folder: Path, given: Path | None = None) -> Base:
    """The language model that ``model`` was made from.

    Args:
        model: the whole model.
        folder: where its weights lie.
        given: folder of that language model. None: what is in ``folder`` without low-rank updates and added
            biases, if they are stored apart there.

    Raises:
        CheckpointError: there is no language model in ``given``, or it is not the one that ``model`` was made
            from, by its fingerprint.
    """
    from imagebind_llm.model.adaptation import language_model_fingerprint
    from imagebind_llm.model.bases import language_model_of, whole_language_model
    from imagebind_llm.model.configuration import read_model_config

    whole = (folder / "config.json").is_file()
    config: Any = read_model_config(folder) if whole else model.config  # in memory, updates may be folded in
    dtype = next(model.language_model.parameters()).dtype
    if given is not None:
        found: Any = whole_language_model(str(given), dtype=dtype)
        wanted = config.fingerprints.get("language_model") or language_model_fingerprint(model.language_model)
        own = language_model_fingerprint(found)
        if wanted != own:
            raise CheckpointError(
                f"the language model in {str(given)!r} has the fingerprint {own}, and the model was made "
                f"from {wanted}; give the one that it was made from"
            )
        says = "The base is the language model before any training with media."
        return Base(found.to(model.device).eval(), True, says)
    if config.lora is None or not whole:
        return Base(
            None,
            False,
            "There is no base to compare with: the model's folder does not keep the language model "
            "apart from what training added. Give the language model that it was made from.",
        )
    found = language_model_of(folder, config, dtype=dtype)
    gone = ["norms"] if config.norm_tuned else []
    own_names = set(found.state_dict())
    tuned = [name for name in config.bias_targets or () if any(f"{name}.bias" in own for own in own_names)]
    gone += ["biases"] if tuned else []
    says = "The base is the language model inside the model, without its low-rank updates and added biases."
    if gone:
        says += (
            f" It stands in for the real one: its {' and '.join(gone)} are the tuned ones, as their values "
            "before the tuning are not in the model. The real base may be better at text than this one."
        )
    return Base(found.to(model.device).eval(), not gone, says)
