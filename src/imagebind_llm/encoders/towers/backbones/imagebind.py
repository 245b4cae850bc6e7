"""One tower of ImageBind's layout as a backbone: small towers for points, depth, heat or motion."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality, trunk_name
from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel


class ImageBindBackbone(nn.Module):
    """The feature is the tower's raw output, before it is scaled to length 1.

    Args:
        modality: the one that it reads.
        config: an ImageBind configuration with this modality only.

    Raises:
        ConfigError: a configuration that cannot be, or with another modality.
    """

    def __init__(self, modality: Modality, config: Mapping[str, Any]) -> None:
        super().__init__()
        parsed = ImageBindConfig.from_dict(config)
        found = [name for name, _ in parsed.parts()]
        if found != [trunk_name(modality)]:
            raise ConfigError(
                f"towers.{modality.value}: its ImageBind configuration has {', '.join(found)}; expected "
                f"{trunk_name(modality)} alone"
            )
        self.modality = modality
        self.model = ImageBindModel(parsed)

    @property
    def width(self) -> int:
        """Length of a feature vector."""
        return self.model.embedding_dim

    def forward(self, batch: Tensor) -> Tensor:
        """Features ``[B, width]`` of a batch as :meth:`ImageBindModel.encode` takes it."""
        return self.model.features(self.modality, batch).prenorm
