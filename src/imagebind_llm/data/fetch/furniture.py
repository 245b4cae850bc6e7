"""Sweet Home 3D's furniture: models with names, categories and a rendered picture each.

A library is a zip file. Its ``PluginFurnitureCatalog.properties`` has, for the model of number N, ``name#N``,
``category#N``, ``tags#N``, ``creator#N``, ``model#N`` and ``icon#N`` (paths); files of the same name with a
language behind have the names translated.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from imagebind_llm.checkpoints.packages.archives import unpack
from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.fetch.tables import LANGUAGES, write_captions, write_dialogs, write_lines

_CATALOGUE = "PluginFurnitureCatalog"
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_PLAIN = re.compile(r"[^A-Za-z0-9]+")
_KEYS = ("category", "tags", "creator", "model", "icon")
_QUESTION = "What is this object?"


def write(unpacked: Path, out: Path) -> dict[str, int]:
    """See :attr:`imagebind_llm.data.fetch.catalogue.DataSet.writer`."""
    models: list[dict[str, Any]] = []
    translated: list[dict[str, str]] = []
    for library in sorted(unpacked.rglob("*.sh3f")):
        folder = unpacked / "libraries" / library.stem
        unpack(library, folder, ("*",))
        _licence(folder, out / "licences" / library.stem)
        english = _properties(folder / f"{_CATALOGUE}.properties")
        others = {
            path.stem.removeprefix(f"{_CATALOGUE}_"): _properties(path)
            for path in sorted(folder.glob(f"{_CATALOGUE}_*.properties"))
        }
        number = 1
        while (name := english.get(f"name#{number}")) is not None:
            values = {key: english.get(f"{key}#{number}", "") for key in _KEYS}
            model = _inside(folder, values["model"])
            place = Path("points") / _plain(values["category"]) / f"{library.stem}-{number:03d}"
            image = Path("images") / f"{library.stem}-{number:03d}{Path(values['icon']).suffix}"
            shutil.copytree(model.parent, out / place)  # its materials, textures and licence too
            (out / image.parent).mkdir(exist_ok=True)
            shutil.copyfile(_inside(folder, values["icon"]), out / image)
            point = (place / model.name).as_posix()
            models.append(
                {
                    "point": point,
                    "captions": [name],
                    "category": values["category"],
                    "image": image.as_posix(),
                    "tags": [tag for part in values["tags"].split(",") if (tag := part.strip())],
                    "creator": values["creator"],
                    "licence": english.get("license", ""),
                }
            )
            for language, words in {"en": english, **others}.items():
                if caption := words.get(f"name#{number}"):
                    row = {"point": point, "image": image.as_posix(), "lang": language, "caption": caption}
                    translated.append(row)
            number += 1
    write_lines(out / "points.jsonl", models)
    write_lines(out / LANGUAGES, translated)
    names = [row["captions"][0] for row in models]
    write_captions(
        out, zip((row["image"] for row in models), names, strict=True), "Sweet Home 3D's furniture"
    )
    write_dialogs(out, Modality.POINT, _QUESTION, zip((row["point"] for row in models), names, strict=True))
    return {
        "models": len(models),
        "categories": len({str(row["category"]) for row in models}),
        "languages": len({row["lang"] for row in translated}),
    }


def _inside(library: Path, name: str) -> Path:
    """A file that the library's catalogue names.

    Raises:
        UserError: it is none of its own.
    """
    path = library / name.lstrip("/")
    if ".." in path.parts or not path.is_file():
        raise UserError(f"the library {library.name!r} names {short(name)}, which is no file of it")
    return path


def _licence(library: Path, to: Path) -> None:
    to.mkdir(parents=True)
    for path in library.iterdir():
        if path.name.lower().startswith("licen"):
            shutil.copyfile(path, to / path.name)


def _plain(name: str) -> str:
    """A category as the name of a folder."""
    return _PLAIN.sub("_", name).strip("_").lower() or "other"


def _properties(path: Path) -> dict[str, str]:
    """The values of a Java properties file: Latin-1, a ``key=value`` a line, ``\\uXXXX`` for the rest."""
    values = {}
    text = re.sub(r"\\\r?\n[ \t]*", "", path.read_text(encoding="latin-1"))
    for line in text.splitlines():
        key, separator, value = line.lstrip().partition("=")
        if separator and key[:1] not in ("#", "!"):
            values[key.strip()] = _ESCAPE.sub(_letter, value.lstrip()).strip()
    return values


def _letter(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else _LETTERS.get(code, code)
