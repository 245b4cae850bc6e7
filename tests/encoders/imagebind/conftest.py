"""The tiny reference model, its recorded numbers, and a small random model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_imagebind import GOLDEN, tiny_config

from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel


def arrays(name: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / "imagebind_tiny" / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def reference_config() -> ImageBindConfig:
    return tiny_config()


@pytest.fixture(scope="session")
def reference_weights() -> dict[str, torch.Tensor]:
    return arrays("weights")


@pytest.fixture(scope="session")
def reference_inputs() -> dict[str, torch.Tensor]:
    return arrays("inputs")


@pytest.fixture(scope="session")
def reference_outputs() -> dict[str, torch.Tensor]:
    return arrays("outputs")


@pytest.fixture(scope="session")
def frozen_nano() -> ImageBindModel:
    """A random nano in eval mode; shared, so tests must not change it."""
    torch.manual_seed(3)
    return ImageBindModel(ImageBindConfig.nano()).eval().requires_grad_(False)


@pytest.fixture
def media() -> dict[str, torch.Tensor]:
    """Two random items of each modality, in nano's shapes."""
    generator = torch.Generator().manual_seed(5)
    shapes = {
        "image": (3, 32, 32),
        "video": (3, 2, 32, 32),
        "audio": (1, 64, 204),
        "point": (512, 3),
        "depth": (1, 32, 32),
        "thermal": (1, 32, 32),
        "imu": (6, 2000),
    }
    batches = {name: torch.randn(2, *shape, generator=generator) for name, shape in shapes.items()}
    text = torch.zeros(2, 77, dtype=torch.int64)
    text[0, :4] = torch.tensor([49406, 320, 1929, 49407])
    text[1, :6] = torch.tensor([49406, 320, 1125, 539, 2368, 49407])
    return batches | {"text": text}
