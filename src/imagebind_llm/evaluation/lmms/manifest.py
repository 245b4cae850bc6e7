"""What lmms-eval finds through the entry point group ``lmms_eval.models``."""

from typing import Any


def manifest() -> Any:
    """The ``ModelManifest`` of this package's models."""
    from lmms_eval.models.registry_v2 import ModelManifest

    home = "imagebind_llm.evaluation.lmms.models"
    return ModelManifest(
        model_id="imagebind_llm",
        chat_class_path=f"{home}.ImageBindLLM",
        simple_class_path=f"{home}.ImageBindLLMSimple",
        aliases=("imagebind-llm",),
    )
