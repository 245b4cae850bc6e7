"""Emoji pictures and their Unicode names. ``1f415.webp`` is U+1F415, *dog*; ``-fe0f`` asks for a picture.

Sequences (skin tones, families, flags) have no name in Unicode's character data and are left out, as are
characters that came after the Unicode version of this Python.
"""

import shutil
import unicodedata
from pathlib import Path

from imagebind_llm.data.fetch.tables import write_captions, write_table

_AS_PICTURE = "-fe0f"


def write(unpacked: Path, out: Path) -> dict[str, int]:
    """See :attr:`imagebind_llm.data.fetch.catalogue.DataSet.writer`."""
    rows, sequences, unknown = [], 0, 0
    (out / "images").mkdir()
    for picture in sorted((unpacked / "package/assets").glob("*.webp")):
        code = picture.stem.removesuffix(_AS_PICTURE)
        if "-" in code:
            sequences += 1
            continue
        name = unicodedata.name(chr(int(code, 16)), "").lower()
        if not name:
            unknown += 1
            continue
        image = f"images/{picture.name}"
        shutil.copyfile(picture, out / image)
        rows.append((image, name, f"U+{code.upper()}"))
    write_table(out / "names.csv", ("image", "name", "code"), rows)
    write_captions(out, ((image, name) for image, name, _ in rows), "Fluent Emoji, 3D")
    return {
        "captions": len(rows),
        "left out sequences": sequences,
        f"unknown to Unicode {unicodedata.unidata_version}": unknown,
    }
