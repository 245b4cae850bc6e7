"""``imagebind_huge.pth``, Point-Bind's ``imagebind_w3D.pth`` and others of that layout → an encoder folder.

The key layout is ours, so nothing is renamed; everything is checked.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from imagebind_llm.checkpoints.convert.plan import Plan, as_they_are
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.tensor_files import (
    TensorFile,
    TensorsBelow,
    TensorSource,
    on_meta,
    weights_of,
)
from imagebind_llm.encoders.base import imagebind_fingerprint_of
from imagebind_llm.encoders.imagebind.config import ImageBindConfig
from imagebind_llm.encoders.imagebind.weights import CONFIG_FILE, check_state_dict, skeleton
from imagebind_llm.encoders.registry import find_encoder

_MASK = "modality_preprocessors.text.mask"
_POINT = "point_trunk."


def plan_imagebind(path: Path, config_file: Path | None = None, dtype: torch.dtype | None = None) -> Plan:
    """The conversion of an ImageBind checkpoint.

    Args:
        path: ``.pth`` or safetensors.
        config_file: JSON of an :class:`ImageBindConfig`, for weights of other sizes than ImageBind-Huge;
            without it they must be ImageBind-Huge's, with or without Point-Bind's point encoder.
        dtype: precision of the result, ``None`` for that of the file.

    Raises:
        CheckpointError: the file cannot be read, or names, shapes or the text mask are not those of the
            configuration.
        ConfigError: the configuration contradicts itself.
    """
    source = TensorFile(path)
    config = _configuration(source, config_file)
    expected = skeleton(config).state_dict()
    found = on_meta(source.infos)
    if _MASK in found:
        found[_MASK] = source.get(_MASK)  # the only one whose values are known beforehand
    try:
        check_state_dict(expected, found)
    except CheckpointError as error:
        raise CheckpointError(f"{str(path)!r}: {error}") from None
    settings = config.to_dict()

    def finish(stage: Path) -> None:
        (stage / CONFIG_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    return Plan(
        kind="imagebind",
        tensors=[tensor.cast(dtype) for tensor in as_they_are(source, expected)],
        sources=[source],
        finish=finish,
        summary={"modalities": [name for name, _ in config.parts()], "embedding_dim": config.embedding_dim},
    )


def _configuration(source: TensorFile, config_file: Path | None) -> ImageBindConfig:
    if config_file is None:
        return ImageBindConfig.huge(point=any(key.startswith(_POINT) for key in source.infos))
    values = read_json(config_file)
    values.pop("type", None)  # as the encoder_config of a model folder has
    return ImageBindConfig.from_dict(values)


@dataclass(frozen=True)
class EncoderFiles:
    """An ImageBind on disk.

    Attributes:
        config: its configuration.
        source: its tensors, under its own names.
        fingerprint: 16 hex digits, as the loaded encoder has it.
    """

    config: ImageBindConfig
    source: TensorSource
    fingerprint: str


def encoder_of(name: str) -> EncoderFiles:
    """The ImageBind that ``name`` means: a folder, a model folder, ``"nano"`` or a hub id.

    Raises:
        CheckpointError: it is none, or its files are damaged.
    """
    place = find_encoder(name)
    if place.kind != "imagebind":
        raise CheckpointError(
            f"the encoder {name!r} is of type {place.kind}; give the ImageBind that this was made with"
        )
    config = ImageBindConfig.from_dict(dict(place.settings))
    source: TensorSource = weights_of(place.folder)
    if place.in_model:
        source = TensorsBelow(source, "encoder.")
    return EncoderFiles(config, source, imagebind_fingerprint_of(config, source))
