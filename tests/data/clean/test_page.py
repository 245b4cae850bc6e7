"""The report: complete, safe and without any need of the network."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from support.cleaning_samples import MadeUpEncoder, encoded, picture

from imagebind_llm.data.clean.report import histogram
from imagebind_llm.data.clean.run import clean
from imagebind_llm.data.clean.settings import load_settings
from imagebind_llm.data.sources.base import SourceSettings

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
    assert text.count("like c.tsv:") == 6, "each example of a duplicate says of what"


def test_long_captions_can_be_read_in_full(page, parts):
    titles = [values["title"] for tag, values in parts.seen if (values.get("class") or "") == "words"]
    assert EVIL in titles, "the card cuts it off, the tooltip does not; and it is text there too"


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (np.array([1, 3, 4, 4, 9, 500.0]), 3, 400),
        (np.array([32.0] * 90 + [20, 64, 640]), 32, None),
        (np.array([0.0] * 50 + [2.0]), None, 0),
        (np.linspace(-0.4, 0.8, 300), 0.1, None),
        (np.linspace(0.0, 1.0, 301)[1:-1], 0.3, 0.7),
        (np.array([0.5]), None, None),
    ],
)
def test_bars_do_not_straddle_a_limit_and_the_axis_is_in_round_numbers(values, low, high):
    fails = np.zeros(len(values), bool)
    if low is not None:
        fails |= values < low
    if high is not None:
        fails |= values > high
    svg = histogram(values, fails, np.zeros(len(values), bool), low, high)
    for found in re.finditer(r": (\d+) samples, (\d+) dropped here", svg):
        assert found[2] in ("0", found[1]), found[0]
    ticks = [float(n) for n in re.findall(r'<text x="[^"]+" y="145"[^>]*>([^<]+)<', svg)]
    assert 1 <= len(ticks) <= 8
    assert all(float(f"{tick:.2g}") == tick for tick in ticks)
    assert min(ticks) >= min(*values, 0) - 1e-9, "no axis at -10 words"
    assert svg.count("samples,") == len(set(re.findall(r"<title>[^<]+", svg)))
    total = sum(int(n) for n in re.findall(r": (\d+) samples", svg))
    assert total == len(values)


def test_what_an_earlier_rule_dropped_is_drawn_apart():
    values = np.array([1.0, 1.0, 2.0, 5.0])
    svg = histogram(values, np.array([0, 0, 0, 1], bool), np.array([0, 1, 0, 0], bool), None, 4)
    kinds = re.findall(r'rect class="(\w+)"', svg)
    assert sorted(kinds) == ["bad", "bar", "bar", "gone"]
