"""Open Clip Art: drawings with titles and keywords, rendered. The folders they lie in are categories."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from imagebind_llm.data.fetch import drawings
from imagebind_llm.data.fetch.tables import write_captions, write_lines

_ROOT = Path("usr/share/openclipart/svg")
_WORDS = "{http://purl.org/dc/elements/1.1/}"
_ITEM = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"


def write(unpacked: Path, out: Path) -> dict[str, int]:
    """See :attr:`imagebind_llm.data.fetch.catalogue.DataSet.writer`."""
    from tqdm import tqdm

    rows = []
    left_out = {"without a title": 0, "with letters": 0, "not rendered": 0}
    for drawing in tqdm(sorted((unpacked / _ROOT).rglob("*.svg")), desc="pictures", disable=None):
        name = drawing.relative_to(unpacked / _ROOT)
        image = Path("images") / name.with_suffix(".png")
        title, keywords = _description(drawing)
        if not title:
            left_out["without a title"] += 1
        elif drawings.has_letters(drawing):
            left_out["with letters"] += 1
        elif not drawings.render(drawing, out / image):
            left_out["not rendered"] += 1
        else:
            category = name.parent.as_posix()
            rows.append(
                {"image": image.as_posix(), "caption": title, "keywords": keywords, "category": category}
            )
    write_lines(out / "drawings.jsonl", rows)
    captions = ((str(row["image"]), str(row["caption"])) for row in rows)
    write_captions(out, captions, "Open Clip Art Library 0.18")
    return {
        "captions": len(rows),
        "categories": len({row["category"] for row in rows}),
        **{f"left out {why}": count for why, count in left_out.items()},
    }


def _description(drawing: Path) -> tuple[str, list[str]]:
    """Title and keywords that a drawing's metadata give; nothing, if it is no XML."""
    try:
        root = ElementTree.parse(drawing).getroot()
    except ElementTree.ParseError:
        return "", []
    title = next((" ".join((found.text or "").split()) for found in root.iter(f"{_WORDS}title")), "")
    subject = next(root.iter(f"{_WORDS}subject"), None)
    found = [] if subject is None else [(item.text or "").strip() for item in subject.iter(_ITEM)]
    return title, [word for word in found if word]
