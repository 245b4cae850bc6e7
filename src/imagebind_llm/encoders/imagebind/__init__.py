"""ImageBind's encoders and Point-Bind's, in one joint space."""

from imagebind_llm.encoders.base import JointEncoder
from imagebind_llm.encoders.imagebind.config import ImageBindConfig
from imagebind_llm.encoders.imagebind.model import EncoderOutput, ImageBindModel
from imagebind_llm.encoders.imagebind.weights import imagebind_from_state_dict, load_imagebind, save_imagebind

__all__ = [
    "EncoderOutput",
    "ImageBindConfig",
    "ImageBindModel",
    "JointEncoder",
    "imagebind_from_state_dict",
    "load_imagebind",
    "save_imagebind",
]
