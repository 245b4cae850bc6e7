"""The README is short, and says nothing that the model card does not."""

import re

from pages import ROOT, blocks, lines, names, read

README = read("README.md")
CARD = (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8")
WEAK = {
    "photograph and animal sound mixed, both named": "photograph and animal sound, different",
    "yes-or-no questions": "questions: yes or no",
    "later turns of a dialog, with new media": "dialogs: later, with new media",
    "calls of animals it does not know, met with doubt": "audio: other animals",
}
"""Row of the README → row of the model card."""


def rows(text):
    """The tables of a text by their first column."""
    found = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in found}


def test_it_is_short():
    assert len(README.splitlines()) <= 150
    assert README.count("![") == 1


def test_the_two_commands_come_first():
    assert [line.text for line in lines("README.md", "bash")][:2] == ["make demo", "make test"]


def test_its_blocks_have_known_languages():
    typed = re.findall(r"^```(\w+)$", README, re.MULTILINE)
    assert len(typed) == len(blocks("README.md", "bash")) + len(blocks("README.md", "python")) == 4


def test_weak_rows_are_those_of_the_model_card():
    told, known = rows(README), rows(CARD)
    for shown, name in WEAK.items():
        count, share = told[shown]
        assert known[name][0] == count
        assert share in known[name]


def test_numbers_that_pages_repeat_are_those_of_the_model_card():
    """Shares with intervals in the text of a page, outside the pages that have measures of their own."""
    intervals = set(re.findall(r"[\d.]+–[\d.]+", CARD))
    pages = {
        page: re.findall(r"\((?:[^()]*, )?([\d.]+–[\d.]+)\)", read(page)) for page in ("docs/evaluate.md",)
    }
    for page, told in pages.items():
        assert told, page
        assert set(told) <= intervals, page


def test_no_index_is_said_to_have_the_package():
    for page in names():
        for install in re.findall(r"pip install [^`\n]*", read(page)):
            ours = "opencv" not in install  # another package, which is on the index
            assert not ours or "git+" in install or " -e " in install, f"{page}: {install}"


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_pages_name_files_that_exist():
    """Links are checked by the strict build of the site."""
    for page in names():
        for name in re.findall(r"`((?:\w+/)*\w+\.(?:py|ipynb))`", read(page)):
            places = (ROOT, ROOT / "src", ROOT / "src" / "imagebind_llm")
            assert any((place / name).is_file() for place in places), f"{page}: {name}"
        for recipe in re.findall(r"`(recipes/[\w/.-]+)`", read(page)):
            assert (ROOT / recipe).exists(), f"{page}: {recipe}"
