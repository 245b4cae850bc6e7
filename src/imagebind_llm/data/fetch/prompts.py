"""Asterisk's prompts: speech with transcripts, a line ``NAME: transcript`` each in ``core-sounds-en.txt``.

A transcript in brackets describes a sound that nobody speaks (``[ascending tones]``).
"""

import gzip
import shutil
from pathlib import Path

from imagebind_llm.common.modality import Modality
from imagebind_llm.common.text_files import decode_text
from imagebind_llm.data.fetch.tables import CLOTHO, write_dialogs, write_table

_QUESTION = "What is said in this recording?"
_MOST_TEXT = 2**20


def write(unpacked: Path, out: Path) -> dict[str, int]:
    """See :attr:`imagebind_llm.data.fetch.catalogue.DataSet.writer`."""
    with gzip.open(next(iter(unpacked.rglob("core-sounds-en.txt.gz")))) as file:
        lines = decode_text(file.read(_MOST_TEXT)).splitlines()
    words = {
        name.strip(): " ".join(text.split())
        for name, separator, text in (line.partition(":") for line in lines if not line.startswith(";"))
        if separator
    }
    speech, sounds, silent = [], [], 0
    root = next(path for path in (unpacked / "usr/share/asterisk/sounds").iterdir() if path.is_dir())
    for recording in sorted(root.rglob("*.wav")):
        name = recording.relative_to(root)
        text = words.get(name.with_suffix("").as_posix(), "")
        audio = Path("audio") / name
        (out / audio.parent).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(recording, out / audio)
        if not text:
            silent += 1
        elif text.startswith(("[", "(")):
            sounds.append((audio.as_posix(), text.strip("[]()")))
        else:
            speech.append((audio.as_posix(), text))
    write_table(out / "transcripts.csv", ("file_name", "transcript"), speech)
    write_table(out / CLOTHO, ("file_name", "caption_1"), sounds)
    write_dialogs(out, Modality.AUDIO, _QUESTION, speech)
    return {"transcripts": len(speech), "described sounds": len(sounds), "without a transcript": silent}
