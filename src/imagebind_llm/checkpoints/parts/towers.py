"""The encoder of a bundle: trained heads, kept without the pretrained backbones, and put back on them.

The folder of heads holds the encoder's whole ``config.json`` and, in ``model.safetensors``, its tensors
without those of the backbones that are parts: the heads, and towers that were trained here.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.tensor_files import weights_of
from imagebind_llm.encoders.towers.media import TowersMedia, read_input
from imagebind_llm.encoders.towers.opening import Opened, open_backbone
from imagebind_llm.encoders.towers.recipe import NewTower
from imagebind_llm.encoders.towers.settings import MODEL_TYPE, TowersConfig, TowerSettings
from imagebind_llm.encoders.towers.weights import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    save_towers,
    towers_from_state_dict,
)

_BACKBONE = "towers.{}.backbone."


def write_heads(encoder: Path, parts: Iterable[str], heads: Path) -> None:
    """Keep a towers encoder without the backbones that can be had as parts.

    Args:
        encoder: the folder of a towers encoder.
        parts: the towers whose backbones are left out.
        heads: the folder to write.

    Raises:
        CheckpointError: it is no such encoder, has no such tower, or ``heads`` holds anything else.
    """
    config = _config(encoder)
    left = tuple(_BACKBONE.format(name) for name in _known(parts, config, encoder))
    source = weights_of(encoder)
    tensors = {name: source.get(name) for name in source.infos if not name.startswith(left)}
    with atomic_directory(heads, CheckpointError) as stage:
        values = {"model_type": MODEL_TYPE, **config.to_dict()}
        text = json.dumps(values, indent=2, ensure_ascii=False)
        (stage / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
        save_file(tensors, stage / WEIGHTS_FILE, metadata={"format": "pt"})


def join_heads(heads: Path, backbones: Mapping[str, Path], out: Path) -> None:
    """Put heads back on their backbones: the towers encoder that it was before :func:`write_heads`.

    Args:
        heads: what :func:`write_heads` wrote.
        backbones: tower → the folder of its pretrained model.
        out: the folder to write.

    Raises:
        CheckpointError: a backbone is missing, of no tower, of another kind or with other tensors, or the
            heads are not whole.
        ConfigError: the settings contradict themselves.
    """
    config = _config(heads)
    _known(backbones, config, heads)
    source = weights_of(heads)
    tensors = {name: source.get(name) for name in source.infos}
    tokenizer = None
    for name, folder in backbones.items():
        found = _opened(name, folder, config.towers[name])
        parts = {_BACKBONE.format(name) + key: value for key, value in found.weights.items()}
        if twice := sorted(parts.keys() & tensors.keys()):
            raise CheckpointError(f"{str(heads)!r} holds {twice[0]}, which is of the part {name!r}")
        tensors |= parts
        tokenizer = found.tokenizer if name == Modality.TEXT else tokenizer
    encoder = towers_from_state_dict(config, tensors, str(heads))
    inputs = {
        name: read_input(name, tower.backbone.kind, tower.media) for name, tower in config.towers.items()
    }
    save_towers(encoder, TowersMedia(inputs, config.video, tokenizer), out)


def _known(names: Iterable[str], config: TowersConfig, folder: Path) -> list[str]:
    found = list(names)
    if odd := sorted(set(found) - set(config.towers)):
        raise CheckpointError(
            f"{str(folder)!r} has the towers {', '.join(config.towers)}, and no {odd[0]!r}; "
            "give those that belong"
        )
    return found


def _config(folder: Path) -> TowersConfig:
    values = read_json(folder / CONFIG_FILE)
    if values.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{str(folder)!r} is of type {values.get('model_type')!r}; expected {MODEL_TYPE}"
        )
    return TowersConfig.from_dict(values)


def _opened(name: str, folder: Path, tower: TowerSettings) -> Opened:
    """A backbone, opened as it was when the encoder was made.

    Raises:
        CheckpointError: it reads media otherwise than the heads were trained for, or is of another kind.
    """
    media: Mapping[str, Any] = tower.media
    own = tower.backbone.kind == "transformers"
    found = open_backbone(
        name,
        NewTower(
            str(folder),
            tower.backbone.pooling,
            tower.head,
            seconds=media.get("seconds") if own and name == "audio" else None,
            context=media.get("context_length") if own and name == "text" else None,
        ),
    )
    for what, now, then in (
        ("kind of network", found.backbone.kind, tower.backbone.kind),
        ("reading of media", found.media, media),
    ):
        if json.loads(json.dumps(now)) != json.loads(json.dumps(then)):
            raise CheckpointError(
                f"towers.{name}: {str(folder)!r} has another {what} than the heads were trained for; "
                "give the backbone that belongs to them"
            )
    return found
