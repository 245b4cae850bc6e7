"""The backbone that settings describe, with fresh weights."""

from torch import nn

from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import build
from imagebind_llm.encoders.towers.backbones.efficientnet_lite import EfficientNetLite, EfficientNetLiteConfig
from imagebind_llm.encoders.towers.backbones.imagebind import ImageBindBackbone
from imagebind_llm.encoders.towers.settings import BackboneSettings


def build_backbone(modality: Modality, settings: BackboneSettings) -> nn.Module:
    """A module with ``width``, whose call turns a batch into features ``[B, width]``.

    Raises:
        ConfigError: an unknown or impossible setting.
    """
    if settings.kind == "efficientnet_lite":
        return EfficientNetLite(build(EfficientNetLiteConfig, settings.config, f"towers.{modality.value}"))
    if settings.kind == "imagebind":
        return ImageBindBackbone(modality, settings.config)
    from imagebind_llm.encoders.towers.backbones.hugging_face import HuggingFaceBackbone

    assert settings.pooling is not None, "the settings have checked it"
    return HuggingFaceBackbone(modality, settings.config, settings.pooling)
