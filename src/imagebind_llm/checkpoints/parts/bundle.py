"""A bundle: parts out of packages, and what was trained on them, put together into one model folder.

The folder of what was trained holds ``adapter/``, an adapter folder as ``save_pretrained(adapter_only=True)``
writes it, and perhaps ``heads/``, as ``towers`` writes it. In the result each part lies in a folder named by
its role; with heads, those that are backbones become ``encoder/`` instead. The adapter's ``base_models`` name
these folders, so the whole may be moved. Loading it compares the parts' fingerprints with those recorded.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebind_llm.checkpoints.parts.pull import (
    PulledPart,
    Say,
    is_there,
    part_folder,
    part_made_of,
    pull_part,
    write_source,
)
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import read_json, require_space, sha256, write_json
from imagebind_llm.common.folders import MARK, atomic_directory
from imagebind_llm.common.locate import ADAPTER_FILE, COMPONENTS

if TYPE_CHECKING:
    from imagebind_llm.checkpoints.registry import Artefact, Bundle

ADAPTER, HEADS = "adapter", "heads"
"""In the folder of what was trained."""
_LANGUAGE_MODEL, _ENCODER = "language_model", "encoder"
_ABOUT = ("source.json", "licences")
"""What is kept of a part that is not kept itself."""
_CONFIG = "config.json"
_LAYOUT = 1
"""Goes up when the files that are written change."""


def pull_bundle(
    artefact: "Artefact",
    known: Mapping[str, "Artefact"],
    out: Path | None = None,
    progress: bool = False,
    say: Say = lambda _: None,
) -> PulledPart:
    """Make the folder of a bundle, or see that it is there and whole.

    Parts that are finished stay where :func:`~imagebind_llm.checkpoints.parts.pull.part_folder` says, so a
    bundle that was stopped goes on with the next part.

    Args:
        artefact: an entry of the registry with a bundle.
        known: the registry.
        out: the folder; ``None``: beside those of the parts.
        progress: see :func:`~imagebind_llm.checkpoints.parts.pull.pull_part`.
        say: likewise.

    Raises:
        UserError: a part cannot be had, what was trained is not there or does not belong to the parts, or
            ``out`` holds anything else or was changed.
    """
    bundle = require_trained(artefact)
    folder = out if out is not None else part_folder(artefact.name)
    made_of = {
        "name": artefact.name,
        "parts": {role: part_made_of(known[name]) for role, name in bundle.parts.items()},
        "trained": {name: sha256(bundle.trained / name) for name in _files(bundle.trained)},
        "layout": _LAYOUT,
    }
    if is_there(folder, made_of):
        return PulledPart(folder, made_of, True)
    parts = {
        role: pull_part(known[name], progress=progress, say=say).folder for role, name in bundle.parts.items()
    }
    say(f"putting {artefact.name} together in {folder}")
    size = sum((place / name).stat().st_size for place in parts.values() for name in _files(place))
    require_space(folder, size, artefact.name)
    with atomic_directory(folder, CheckpointError) as stage:
        assemble(parts, bundle.trained, stage)
        write_source(stage, artefact, made_of)
    return PulledPart(folder, made_of, False)


def require_trained(artefact: "Artefact") -> "Bundle":
    """The bundle of an entry, if what was trained on its parts is there. Cheap enough to be asked first.

    Raises:
        CheckpointError: there is no folder of what was trained.
    """
    assert artefact.bundle is not None
    if not artefact.bundle.trained.is_dir():
        raise CheckpointError(
            f"{artefact.name} needs what was trained, but there is no folder "
            f"{str(artefact.bundle.trained)!r}; install a version that has it"
        )
    return artefact.bundle


def assemble(parts: Mapping[str, Path], trained: Path, out: Path) -> None:
    """Put a model folder together.

    Args:
        parts: role → folder; the role ``language_model`` is the adapter's.
            With heads the other roles are the names of their towers.
        trained: holds ``adapter/``, and perhaps ``heads/``.
        out: an empty folder.

    Raises:
        CheckpointError: there is no adapter, or one that names parts that are not given; or heads that do not
            belong to the parts.
    """
    adapter = trained / ADAPTER
    if not (adapter / ADAPTER_FILE).is_file():
        raise CheckpointError(f"{str(trained)!r} has no {ADAPTER}/{ADAPTER_FILE}; give what was trained")
    others = sorted(path.name for path in trained.iterdir() if path.name not in (ADAPTER, HEADS, MARK))
    if others:
        raise CheckpointError(
            f"{str(trained)!r} holds {others[0]!r} beside {ADAPTER!r}, which cannot be put together here; "
            "install the version that it was made for"
        )
    kept, given = dict(parts), {role: role for role in COMPONENTS if role in parts}
    if (trained / HEADS).is_dir():
        backbones = {role: kept.pop(role) for role in parts if role != _LANGUAGE_MODEL}
        _put_encoder(trained / HEADS, backbones, out)
        given[_ENCODER] = _ENCODER
    for name in _files(adapter):
        if Path(name).parts[0] in (*parts, _ENCODER):
            raise CheckpointError(f"{str(adapter)!r} holds {name!r}, where the part of that name would lie")
        _place(adapter / name, out / name, copy=True)
    for role, place in kept.items():
        for name in _files(place):
            _place(place / name, out / role / name)
    config = read_json(adapter / _CONFIG)
    config["base_models"] = _bases(config.get("base_models"), given, adapter)
    write_json(out / _CONFIG, config)


def _put_encoder(heads: Path, backbones: Mapping[str, Path], out: Path) -> None:
    """The encoder, and beside it where its backbones come from and under which licences."""
    from imagebind_llm.checkpoints.parts.towers import join_heads

    join_heads(heads, backbones, out / _ENCODER)
    (out / _ENCODER / MARK).unlink()  # the whole folder says whose it is
    for role, place in backbones.items():
        for name in _files(place):
            if Path(name).parts[0] in _ABOUT:
                _place(place / name, out / "backbones" / role / name, copy=True)


def _bases(bases: Any, given: Mapping[str, str], adapter: Path) -> dict[str, Any]:
    """``base_models`` with the parts' folders; what is named otherwise must be had from anywhere.

    Raises:
        CheckpointError: a part is named by a folder that is not given.
    """
    if not isinstance(bases, Mapping):
        raise CheckpointError(f"{str(adapter / _CONFIG)!r} names no base_models; save the adapter again")
    found = dict(bases)
    for component, what in COMPONENTS.items():
        base = found.get(component)
        if component in given:
            found[component] = {"id": given[component], "revision": None}
        elif isinstance(base, Mapping) and str(base.get("id", "")).startswith((".", "/")):
            raise CheckpointError(
                f"{str(adapter / _CONFIG)!r} has its {what} in {base['id']!r}, which is no part of the "
                f"bundle; give the bundle the part {component}"
            )
    return found


def _place(source: Path, target: Path, copy: bool = False) -> None:
    """A file of a part in its new place: the same content on the disk where the disk allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not copy:
        try:
            os.link(source, target)
            return
        except OSError:  # another disk, or one without links
            pass
    shutil.copyfile(source, target)


def _files(folder: Path) -> list[str]:
    """The paths of all files below ``folder``, sorted, without the mark of who made it."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != MARK)
