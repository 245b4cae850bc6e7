"""The page's files, without a browser: words, colours, sizes, nothing from elsewhere."""

import json
import re
from pathlib import Path

import pytest

import imagebind_llm.serving

PAGE = Path(imagebind_llm.serving.__file__).parent / "page"
OWN = [
    path for path in PAGE.rglob("*") if path.suffix in (".js", ".css", ".html") and "vendor" not in path.parts
]
_KEY = re.compile(r"^  '?([\w.]+)'?: '(.*)',$", re.MULTILINE)


def words(language):
    return dict(_KEY.findall((PAGE / "js" / "words" / f"{language}.js").read_text()))


def test_both_languages_have_the_same_words():
    english, chinese = words("en"), words("zh")
    assert len(english) > 150
    assert list(english) == list(chinese)
    for key, value in english.items():
        assert set(re.findall(r"\{\w+\}", value)) == set(re.findall(r"\{\w+\}", chinese[key])), key


def test_all_words_that_are_asked_for_are_there():
    known = words("en")
    for path in OWN:
        text = path.read_text()
        asked = re.findall(r"data-t(?:-label|-placeholder)?=\"([^\"]+)\"", text)
        asked += re.findall(
            r"\bt(?:Label|Placeholder)?: '([\w.]+)'|\bt\('([\w.]+)'|toast\('(\w+)'|act\('\w+', '(\w+)'", text
        )
        for key in asked:
            key = key if isinstance(key, str) else next(filter(None, key))
            assert key in known, f"{key} in {path.name}"


def test_nothing_comes_from_elsewhere():
    for path in OWN:
        found = re.findall(r"(?:https?:)?//[\w.-]+\.\w{2,}", path.read_text())
        assert [one for one in found if "www.w3.org" not in one] == [], path.name
    for path in OWN:
        assert not re.search(r"\sstyle=|\son\w+=\"|innerHTML|\beval\(|new Function", path.read_text()), (
            path.name
        )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out(theme):
    css = (PAGE / "css" / "tokens.css").read_text()
    blocks = re.findall(r":root(\[data-theme=\"dark\"\])? \{(.*?)\n\}", css, re.DOTALL)
    colours = {}
    for dark, block in blocks:
        if theme == "dark" or not dark:
            colours |= dict(re.findall(r"--([\w-]+): (#\w{6});", block))
    pairs = [
        (ink, ground) for ink in ("ink", "soft", "faint") for ground in ("paper", "side", "card", "sunk")
    ]
    pairs += [
        ("on-accent", "accent"),
        ("accent-strong", "accent-soft"),
        ("ink", "accent-soft"),
        ("ink", "bad-soft"),
    ]
    pairs += [
        ("soft", "bad-soft"),
        ("bad", "paper"),
        ("warm", "warm-soft"),
        ("paper", "ink"),
        ("accent", "paper"),
    ]
    for ink, ground in pairs:
        assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def contrast(one, other):
    def light(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([light(one), light(other)])
    return (high + 0.05) / (low + 0.05)


def test_examples_are_whole_and_small():
    folder = PAGE / "examples"
    examples = json.loads((folder / "examples.json").read_text())
    for example in examples:
        assert set(example["title"]) == set(example["question"]) == {"en", "zh"}
        for medium in example["media"]:
            assert (folder / medium["url"].removeprefix("/examples/")).stat().st_size > 0
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000


def test_libraries_are_named_with_their_licences():
    folder = PAGE / "vendor"
    readme = (folder / "README.md").read_text()
    for path in folder.glob("*.js"):
        assert f"`{path.name}`" in readme
        assert path.with_suffix(".LICENSE").stat().st_size > 500
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_500_000
