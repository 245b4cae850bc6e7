"""Features of items, computed once by the frozen backbones and kept in the run's folder as float16.

They are kept in stretches, so an interrupted computation goes on with the first missing one.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import BadSample, CheckpointError, TrainingDataError, UserError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.fingerprint import fingerprint_state_dict
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import to_plain
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.encoders.repeats import once_each
from imagebind_llm.encoders.towers.model import TowersEncoder
from imagebind_llm.training.heads.items import Items

logger = logging.getLogger(__name__)

_STRETCH = 256
_BATCH = 32


@dataclass(frozen=True)
class Features:
    """Of the usable items: features by modality ``[n, width]`` float16, and a number per label ``[n]``."""

    columns: Mapping[Modality, Tensor]
    labels: Tensor


class FeatureMaker:
    """Computes features with an encoder's backbones.

    Args:
        encoder: on the device where they are computed.
        folder: where they are kept, one sub-folder for each set of items.
        quarantine: told of items that cannot be used.
    """

    def __init__(self, encoder: TowersEncoder, folder: Path, quarantine: Quarantine) -> None:
        self._encoder, self._folder, self._quarantine = encoder, folder, quarantine
        self._backbones: dict[Modality, str] = {}

    def identity(self, items: Items) -> str:
        """Changes when the items, the backbones or the way of reading do."""
        for kind in items.modalities:
            if kind not in self._backbones:
                self._backbones[kind] = backbone_fingerprint(self._encoder, kind)
        made_by = (
            fingerprint_state_dict(dict(self._encoder.tower(kind).head.named_buffers()))
            if kind in items.embedded
            else self._backbones[kind]
            for kind in items.modalities
        )
        return " ".join([items.identity, *made_by])

    def make(self, name: str, items: Items) -> Features:
        """The features of all usable ``items``.

        Args:
            name: of the set, a file name.

        Raises:
            CheckpointError: features of other items, or by other backbones, are kept under this name.
            TrainingDataError: too many items are unusable.
            UserError: none is usable.
        """
        from tqdm import tqdm

        folder = self._folder / name
        mark, text = folder / "identity.json", json.dumps(self.identity(items))
        if mark.is_file() and mark.read_text(encoding="utf-8") != text:
            raise CheckpointError(
                f"{folder} was made from other data or by other backbones; delete it, or use another "
                "run.folder"
            )
        with atomic_write(mark) as temporary:
            temporary.write_text(text, encoding="utf-8")
        keys = ("labels", *(kind.value for kind in items.modalities))
        parts = []
        logger.info("features of %d items of %s, kept in %s", items.count, name, folder)
        starts = range(0, items.count, _STRETCH)
        for start in tqdm(starts, unit="stretch", desc=f"features of {items.count} {name}", disable=None):
            file = folder / f"{start:09d}.npz"
            if not file.is_file():
                found = self._stretch(name, items, range(start, min(start + _STRETCH, items.count)))
                with atomic_write(file) as temporary, temporary.open("wb") as stream:
                    np.savez(stream, **found)  # type: ignore[arg-type]
            with np.load(file, allow_pickle=False) as read:
                parts.append({key: read[key] for key in keys})
        parts = [part for part in parts if len(part["labels"])]
        if not parts:
            raise UserError(
                f"none of {items.count} items of {name} can be used; the reasons are in "
                f"{self._quarantine.path}"
            )
        whole = {key: torch.from_numpy(np.concatenate([part[key] for part in parts])) for key in keys}
        return Features({kind: whole[kind.value] for kind in items.modalities}, whole["labels"])

    def _stretch(self, name: str, items: Items, numbers: range) -> dict[str, np.ndarray]:
        labels: list[int] = []
        waiting: list[tuple[Tensor, ...]] = []
        columns: dict[Modality, list[np.ndarray]] = {kind: [] for kind in items.modalities}

        def encode() -> None:
            for place, kind in enumerate(items.modalities if waiting else ()):
                media = torch.stack([one[place] for one in waiting])
                columns[kind].append(self._encoded(kind, media, kind in items.embedded))
            waiting.clear()

        for number in numbers:
            try:
                media, label = items.read(number)
            except BadSample as bad:
                self._quarantine.report(name, bad)
                continue
            self._quarantine.passed()
            labels.append(_number(label))
            waiting.append(media)
            if len(waiting) == _BATCH:
                encode()
        encode()
        widths = {kind: self._encoder.tower(kind).width for kind in items.modalities}
        made = {
            kind.value: np.concatenate(rows) if rows else np.zeros((0, widths[kind]), np.float16)
            for kind, rows in columns.items()
        }
        return {"labels": np.array(labels, np.int64), **made}

    @torch.no_grad()
    def _encoded(self, kind: Modality, media: Tensor, embedded: bool) -> np.ndarray:
        if embedded:
            head = self._encoder.tower(kind).head
            found = head.feature_of(media.to(next(head.buffers(), media).device)).cpu()
        else:  # pictures with several captions come one after another
            found = once_each(media, partial(self._encoder.features, kind)).float().cpu()
        rounded = found.half()
        if not bool(rounded.isfinite().all()):
            raise TrainingDataError(
                f"the backbone of {kind.value} gives features up to {float(found.abs().max()):g}, which "
                "float16 cannot hold; use another pooling or backbone"
            )
        return rounded.numpy()


def backbone_fingerprint(encoder: TowersEncoder, kind: Modality) -> str:
    """Changes when the features of a medium do: of the backbone's weights and settings, and the media
    settings."""
    settings = encoder.config.towers[encoder.config.tower_of(kind)]
    plain = to_plain(settings)
    del plain["head"]
    video = encoder.config.video
    if kind is Modality.VIDEO and video is not None:
        plain["video"] = to_plain(video)
    state = encoder.tower(kind).backbone.state_dict()
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    return fingerprint_state_dict(floats, header=json.dumps(plain, sort_keys=True))


def _number(label: str) -> int:
    """A whole number below 2⁶³ for a label, equal for equal ones."""
    return int.from_bytes(hashlib.sha256(label.encode("utf-8", "backslashreplace")).digest()[:8], "big") >> 1


def device_for(wanted: str) -> torch.device:
    """Where features are computed: on an accelerator if there is one and ``wanted`` is ``auto``."""
    if wanted == "cpu":
        return torch.device("cpu")
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None:
        return torch.device("cpu")
    return torch.device(found.type, int(os.environ.get("LOCAL_RANK", "0")))
