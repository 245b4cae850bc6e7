"""Tux Paint's stamps: pictures with captions in many languages, sounds, and captions read aloud.

Of ``NAME.png`` or ``NAME.svg``, ``NAME.txt`` holds the caption: English on the first line, then
``LANGUAGE.utf8=…``. ``NAME.ogg`` (or ``.wav``) is what the thing sounds like, ``NAME_desc_LANGUAGE.ogg`` the
caption read aloud (without a language: English). ``NAME_mirror`` is another view without a caption.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from imagebind_llm.common.text_files import read_text
from imagebind_llm.data.fetch import drawings
from imagebind_llm.data.fetch.tables import LANGUAGES, write_captions, write_lines, write_table

_ROOT = Path("usr/share/tuxpaint/stamps")
_SOUNDS = (".ogg", ".wav")
_LANGUAGE = ".utf8"


def write(unpacked: Path, out: Path) -> dict[str, int]:
    """See :attr:`imagebind_llm.data.fetch.catalogue.DataSet.writer`."""
    from tqdm import tqdm

    captions, translated, pairs, speech = [], [], [], []
    for text in tqdm(sorted((unpacked / _ROOT).rglob("*.txt")), desc="pictures", disable=None):
        name = text.relative_to(unpacked / _ROOT).with_suffix("")
        image = _picture(text, out, name)
        if image is None:
            continue
        words = _captions(text)
        captions.append((image, words["en"]))
        translated += [{"image": image, "lang": lang, "caption": caption} for lang, caption in words.items()]
        for sound in (text.with_suffix(end) for end in _SOUNDS):
            if sound.is_file():
                pairs.append((image, _copied(sound, out, Path("audio") / name.parent), words["en"]))
        for lang, spoken in _spoken(text):
            if lang in words:
                audio = _copied(spoken, out, Path("speech") / lang / name.parent)
                speech.append((audio, image, lang, words[lang]))
    counts = {"captions": write_captions(out, captions, "Tux Paint's stamps")}
    write_lines(out / LANGUAGES, translated)
    write_table(out / "pairs.csv", ("image", "audio", "text"), pairs)
    write_table(out / "speech.csv", ("audio", "image", "lang", "text"), speech)
    languages = len({row["lang"] for row in translated})
    return {
        **counts,
        "languages": languages,
        "translated captions": len(translated),
        "picture-sound pairs": len(pairs),
        "captions read aloud": len(speech),
    }


def _picture(text: Path, out: Path, name: Path) -> str | None:
    """Path below ``out`` of the stamp's picture; None: it has none that looks the same everywhere."""
    image = Path("images") / name.with_suffix(".png")
    photograph, drawing = text.with_suffix(".png"), text.with_suffix(".svg")
    if photograph.is_file():
        return _copied(photograph, out, image.parent)
    if drawing.is_file() and not drawings.has_letters(drawing) and drawings.render(drawing, out / image):
        return image.as_posix()
    return None


def _captions(text: Path) -> dict[str, str]:
    """Language → caption, English first."""
    first, *others = read_text(text).splitlines()
    words = {"en": first.strip()}
    for line in others:
        language, separator, caption = line.partition("=")
        if separator and language.endswith(_LANGUAGE) and caption.strip():
            words[language.removesuffix(_LANGUAGE)] = caption.strip()
    return words


def _spoken(text: Path) -> Iterator[tuple[str, Path]]:
    """Language and recording of each reading of the caption."""
    for end in _SOUNDS:
        start = f"{text.stem}_desc"
        for path in sorted(text.parent.glob(f"{start}*{end}")):
            language = path.stem.removeprefix(start)
            if language == "" or language.startswith("_"):
                yield language.removeprefix("_") or "en", path


def _copied(file: Path, out: Path, folder: Path) -> str:
    """Copy a file into a folder below ``out``; its path there."""
    (out / folder).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, out / folder / file.name)
    return (folder / file.name).as_posix()
