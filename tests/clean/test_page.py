"""The report: complete, safe and without any need of the network."""

import re
from html.parser import HTMLParser

import pytest
from clean_made_up import MadeUpEncoder, encoded, picture

from imagebind_llm.data.clean.run import clean
from imagebind_llm.data.clean.settings import load_settings
from imagebind_llm.data.sources.settings import SourceSettings

EVIL = "<script>alert('dog')</script> a dog & a cat in the garden"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page")
    rows = []
    for n in range(12):
        (folder / f"{n}.png").write_bytes(encoded(picture(n // 2)))
        rows.append(f"{n}.png\t{EVIL if n == 0 else f'a small dog in garden number {n}'}")
    rows.append("none.png\ta dog that is not there at all")
    (folder / "c.tsv").write_text("url\tcaption\n" + "\n".join(rows) + "\n")
    settings = load_settings(None, ["rules.boilerplate.enabled=false"])
    done = clean(
        SourceSettings("tsv", str(folder / "c.tsv")), folder / "out", settings, encoder=MadeUpEncoder()
    )
    assert done.summary["dropped"] == {"unreadable": 1, "exact_duplicate": 6}
    return (done.folder / "report.html").read_text(encoding="utf-8")


class _Reader(HTMLParser):
    VOID = frozenset({"meta", "img", "br", "rect", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def parts(page) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_nothing_is_fetched_and_nothing_runs(page, parts):
    tags = {tag for tag, _ in parts.seen}
    assert not tags & {"script", "link", "iframe", "object", "base", "form"}
    for _, values in parts.seen:
        for name, value in values.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value.startswith(("data:image/jpeg;base64,", "#"))
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


def test_captions_are_shown_as_text(page, parts):
    assert EVIL not in page
    assert any(EVIL in text for text in parts.text)


def test_it_shows_counts_histograms_examples_and_groups(page, parts):
    text = " ".join(parts.text)
    for heading in (
        "From in to out",
        "Scores",
        "exact duplicate",
        "unreadable",
        "Groups of duplicates",
        "Kept",
    ):
        assert heading in text
    assert sum(tag == "svg" for tag, _ in parts.seen) >= 8
    assert sum(tag == "img" for tag, _ in parts.seen) >= 6 + 12 + 6
    assert sum("first" in (values.get("class") or "") for _, values in parts.seen) == 6
    assert "prefers-color-scheme: dark" in page
    assert "min 32" in text, "the threshold is written at its line"
