"""Proposers by name."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.locate import HUB_ID, NANO

if TYPE_CHECKING:
    from imagebind_llm.skills.detection.proposals import Proposer


def check_proposer(name: str) -> None:
    """Complain of a name before a model is loaded for it.

    Raises:
        UserError: it is neither ``nano``, nor a folder with a ``config.json``, nor a hub id.
    """
    folder = Path(name).expanduser()
    if name == NANO or (folder.is_dir() and (folder / "config.json").is_file()):
        return
    if folder.is_dir():
        raise UserError(f"the detector {name!r} has no config.json: give the folder of a model")
    if folder.exists() or not HUB_ID.match(name):
        raise UserError(
            f"the detector is {name!r}; expected nano, the folder of a zero-shot detector, or a hub id, "
            "such as google/owlv2-base-patch16-ensemble"
        )


def open_proposer(name: str | os.PathLike[str], device: str = "cpu") -> "Proposer":
    """``"nano"``: regions that differ from their ground; else a zero-shot detector of transformers.

    Args:
        name: ``"nano"``, a folder, or a hub id (then downloaded).
        device: of the detector.

    Raises:
        UserError: there is no such detector.
    """
    text = os.fspath(name)
    check_proposer(text)
    if text == NANO:
        from imagebind_llm.skills.detection.regions import RegionProposer

        return RegionProposer()
    from imagebind_llm.skills.detection.zero_shot import ZeroShotProposer

    return ZeroShotProposer(text, device)
