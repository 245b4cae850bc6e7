"""Sonic Pi's samples: ``GROUP_NAME.flac``, one a sound; its ``README.md`` says which page each is from."""

import re
import shutil
from pathlib import Path

from imagebind_llm.common.modality import Modality
from imagebind_llm.common.text_files import read_text
from imagebind_llm.data.fetch.tables import CLOTHO, write_dialogs, write_table

_GROUPS = {
    "ambi": "ambient sound",
    "bass": "bass",
    "bd": "bass drum",
    "drum": "drum",
    "elec": "electronic sound",
    "glitch": "glitch",
    "guit": "guitar",
    "loop": "loop",
    "mehackit": "synthesiser",
    "misc": "miscellaneous",
    "perc": "percussion",
    "sn": "snare drum",
    "tabla": "tabla",
    "vinyl": "vinyl record",
}
_LINK = re.compile(r"^\* `:(\w+)`\s*-\s*(\S+)", re.MULTILINE)
_QUESTION = "What is this sound?"


def write(unpacked: Path, out: Path) -> dict[str, int]:
    """See :attr:`imagebind_llm.data.fetch.catalogue.DataSet.writer`."""
    root = unpacked / "usr/share/sonic-pi/samples"
    pages = {name.replace("_", ""): page for name, page in _LINK.findall(read_text(root / "README.md"))}
    rows = []
    for sample in sorted(root.glob("*.flac")):
        prefix, _, name = sample.stem.partition("_")
        group = _GROUPS.get(prefix, prefix)
        audio = Path("audio") / group.replace(" ", "_") / sample.name
        (out / audio.parent).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sample, out / audio)
        caption = f"{group}: {name.replace('_', ' ')}"
        rows.append((audio.as_posix(), group, caption, pages.get(sample.stem.replace("_", ""), "")))
    write_table(out / "labels.csv", ("file_name", "class", "caption", "page"), rows)
    captions = [(audio, caption) for audio, _, caption, _ in rows]
    write_table(out / CLOTHO, ("file_name", "caption_1"), captions)
    write_dialogs(out, Modality.AUDIO, _QUESTION, captions)
    return {"sounds": len(rows), "classes": len({row[1] for row in rows})}
