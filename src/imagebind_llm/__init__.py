"""ImageBind-LLM: instructions about any modality, learnt from image-text pairs only (arXiv 2309.03905)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.noise import drop_import_noise

__version__ = "0.1.0"

if TYPE_CHECKING:
    from imagebind_llm.cache import VisualCache
    from imagebind_llm.common.errors import UserError
    from imagebind_llm.common.modality import Modality
    from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel
    from imagebind_llm.inference.assistant import Assistant
    from imagebind_llm.inference.chat import Chat
    from imagebind_llm.inference.request import Answer, Options, Request
    from imagebind_llm.model import register
    from imagebind_llm.model.configuration import ImageBindLLMConfig
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
    from imagebind_llm.model.processing import ImageBindLLMProcessor

__all__ = [
    "Answer",
    "Assistant",
    "Chat",
    "ImageBindConfig",
    "ImageBindLLMConfig",
    "ImageBindLLMForConditionalGeneration",
    "ImageBindLLMProcessor",
    "ImageBindModel",
    "Modality",
    "Options",
    "Request",
    "UserError",
    "VisualCache",
    "register",
]

_HOMES = {
    "Answer": "inference.request",
    "Assistant": "inference.assistant",
    "Chat": "inference.chat",
    "ImageBindConfig": "encoders.imagebind",
    "ImageBindLLMConfig": "model.configuration",
    "ImageBindLLMForConditionalGeneration": "model.modeling",
    "ImageBindLLMProcessor": "model.processing",
    "ImageBindModel": "encoders.imagebind",
    "Modality": "common.modality",
    "Options": "inference.request",
    "Request": "inference.request",
    "UserError": "common.errors",
    "VisualCache": "cache",
    "register": "model",
}
"""Where each public name lives. They are imported on first use, so that
``import imagebind_llm`` takes no torch."""

drop_import_noise()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name.startswith("ImageBindLLM"):
        import_module(f"{__name__}.model").register()
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
