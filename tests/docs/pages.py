"""The README and the pages of ``docs/``: their blocks and commands."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
"""Everything that a reader is told to type comes from one of these."""
RUN = ("README.md", "docs/index.md", "docs/python.md", "docs/shell.md", "docs/media.md", "docs/cache.md")
"""Pages whose ``bash`` and ``python`` blocks run here as they stand, with nano alone."""
RUN_PYTHON = (
    *RUN,
    "docs/any-llm.md",
    "docs/detection.md",
    "docs/imagine.md",
    "docs/tools.md",
    "docs/towers.md",
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Line:
    """A command and the page that shows it."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of this language; the empty one: of none."""
    return [body for name, body in _BLOCK.findall(read(page)) if name == language]


def lines(page: str, language: str) -> list[Line]:
    """The lines of these blocks, without comments."""
    found = [
        re.split(r"\s+# ", line)[0].strip() for block in blocks(page, language) for line in block.splitlines()
    ]
    return [Line(page, line) for line in found if line and not line.startswith("#")]


def names() -> list[str]:
    return [str(page.relative_to(ROOT)) for page in PAGES]


def shown() -> list[Line]:
    """Every command of ours that any page shows, in whatever block, and in the text."""
    in_blocks = [line for page in names() for language in ("bash", "") for line in lines(page, language)]
    in_text = [
        Line(page, command)
        for page in names()
        for command in re.findall(
            r"(?<!`)`((?:imagebind-llm|python -m imagebind_llm) [a-z][^`\n]*)`(?!`)", read(page)
        )
    ]
    return list(dict.fromkeys(line for line in [*in_blocks, *in_text] if words_of(line.text) is not None))


def words_of(line: str) -> list[str] | None:
    """The arguments of ``imagebind-llm`` in a line of the shell; None where it is not called."""
    call = re.search(r"(?:^|[| ])(?:imagebind-llm|-m imagebind_llm) (?=[a-z])(.*)", line)
    if call is None or "imagebind_llm." in line.partition("imagebind_llm ")[0]:
        return None
    return shlex.split(re.split(r" [|>] ", call[1])[0])
