"""Open-vocabulary detection: boxes around what is described, shown or heard.

:class:`Detector` proposes boxes and scores them in the joint space; :class:`Prompt` is what to look for.
Names are imported on first use, so that the command line can check its options without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagebind_llm.skills.detection.asking import ask_box
    from imagebind_llm.skills.detection.detector import Detector
    from imagebind_llm.skills.detection.prompts import Prompt
    from imagebind_llm.skills.detection.proposals import Proposals, Proposer
    from imagebind_llm.skills.detection.results import Detection, Detections
    from imagebind_llm.skills.detection.settings import DetectionSettings

__all__ = [
    "Detection",
    "DetectionSettings",
    "Detections",
    "Detector",
    "Prompt",
    "Proposals",
    "Proposer",
    "ask_box",
]

_HOMES = {
    "Detection": "results",
    "DetectionSettings": "settings",
    "Detections": "results",
    "Detector": "detector",
    "Prompt": "prompts",
    "Proposals": "proposals",
    "Proposer": "proposals",
    "ask_box": "asking",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
