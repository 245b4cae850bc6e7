"""A report of words, tables and pictures: as one page of HTML that needs nothing else, and as Markdown."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from imagebind_llm.common.files import atomic_write
from imagebind_llm.evaluation.report import table

_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
body { color: #1c2326; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #cfd8dc; padding: .25rem .7rem; text-align: left; }
th { background: #eceff1; }
td { font-variant-numeric: tabular-nums; }
code { background: #eceff1; padding: 0 .2rem; border-radius: 3px; overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
img { max-width: 100%; background: #fff; }
figcaption { color: #546e7a; }
@media (prefers-color-scheme: dark) {
  body { color: #eceff1; background: #1c2326; }
  th, code { background: #37474f; }
  th, td { border-color: #455a64; }
  figcaption { color: #b0bec5; }
}
"""


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; ``head`` has as many as each row."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Figure:
    """A picture as PNG bytes, the name of its file, and what it shows."""

    name: str
    png: bytes
    shows: str


Part = str | Table | Figure
"""A string is a paragraph, in which ``**bold**`` and ``code`` between back quotes are understood."""


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: its heading.
        lead: what stands before the first section.
        sections: in order.
    """

    title: str
    lead: Sequence[Part]
    sections: Sequence[Section]

    def parts(self) -> Iterator[Part]:
        """Every part, in order."""
        yield from self.lead
        for section in self.sections:
            yield from section.parts


def markdown(document: Document) -> str:
    """The report as Markdown; pictures are files beside it."""
    blocks = [f"# {document.title}\n", *map(_as_markdown, document.lead)]
    for section in document.sections:
        blocks += [f"## {section.title}\n", *map(_as_markdown, section.parts)]
    return "\n".join(blocks)


def html(document: Document) -> str:
    """The report as one page, pictures inside."""
    blocks = [f"<h1>{_inline(document.title)}</h1>", *map(_as_html, document.lead)]
    for section in document.sections:
        blocks += [f"<h2>{_inline(section.title)}</h2>", *map(_as_html, section.parts)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(blocks)
        + "\n</body>\n</html>\n"
    )


def write(document: Document, folder: Path) -> None:
    """Write ``report.html``, ``report.md`` and the pictures, each whole or not at all."""
    files = {f"{part.name}.png": part.png for part in document.parts() if isinstance(part, Figure)}
    files |= {"report.md": markdown(document).encode(), "report.html": html(document).encode()}
    for name, content in files.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(content)


def _as_markdown(part: Part) -> str:
    if isinstance(part, Table):
        return table(part.head, part.rows)
    if isinstance(part, Figure):
        return f"![{part.shows}]({part.name}.png)\n"
    return f"{part}\n"


def _as_html(part: Part) -> str:
    if isinstance(part, Table):
        head = "".join(f"<th>{_inline(cell)}</th>" for cell in part.head)
        rows = (f"<tr>{''.join(f'<td>{_inline(str(c))}</td>' for c in row)}</tr>" for row in part.rows)
        return f"<table>\n<tr>{head}</tr>\n" + "\n".join(rows) + "\n</table>"
    if isinstance(part, Figure):
        data = base64.b64encode(part.png).decode()
        shows = escape(part.shows)
        return (
            f'<figure><img alt="{shows}" src="data:image/png;base64,{data}">'
            f"<figcaption>{shows}</figcaption></figure>"
        )
    return f"<p>{_inline(part)}</p>"


def _inline(text: str) -> str:
    text = escape(text)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
