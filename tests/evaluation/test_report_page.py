"""The report: whole, offline, the same for the same results, and safe whatever models and data say."""

import base64
import copy
import io
import re
import time
import wave
from collections.abc import Iterable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagebind_llm.evaluation import tiles
from imagebind_llm.evaluation.folder import write_outcome
from imagebind_llm.evaluation.page import page, worst
from imagebind_llm.evaluation.page_parts import printable, words
from imagebind_llm.evaluation.runner import Outcome, run_suite
from imagebind_llm.evaluation.suite import Item, Sample, Suite, ratio

ANIMALS = ("cat", "dog", "鸟")
HOSTILE = (
    "</style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}&lt;b&gt;",
    "\x00\x1b[31mred\ud800 \u202eevil",
    "回答：两只猫 👩\u200d🔬",
)


class Animals(Suite):
    """Which animal a picture shows; two questions a picture."""

    name = "animals"

    def __init__(self, count: int = 12) -> None:
        self._count = count

    def items(self, data: Path | None) -> Iterator[Item]:
        for number in range(self._count):
            animal = ANIMALS[number % 3]
            request: dict[str, Any] = {"question": f"Which animal? {number}"}
            if data is not None:
                request["image"] = str(data / f"{number % 6}.png")
            yield Item(f"{number:03}", request, animal, f"group {number % 2}", f"picture {number % 6}")

    def judge(self, items: Any, answers: Any) -> list[Sample]:
        found = []
        for item, answer in zip(items, answers, strict=True):
            read = next((name for name in ANIMALS if isinstance(answer, str) and name in answer), None)
            right = float(read == item.expected)
            found.append(Sample({"n": 1, "right": right, "read": float(read is not None)}, read, right))
        return found

    def metrics(self, sums: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"accuracy": ratio(sums["right"], sums["n"]), "precision": ratio(sums["right"], sums["read"])}


class Fixed:
    """An engine that says the same to the same questions."""

    modalities = None

    def __init__(self, answers: Mapping[int, str | Exception] | None = None) -> None:
        self._answers = dict(answers or {})

    def answers(self, requests: Iterable[Mapping[str, Any]]) -> Iterator[str | Exception]:
        for request in requests:
            yield self._answers.get(int(request["question"].split()[-1]), "a cat")

    def embeddings(self, requests: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(generator.integers(0, 255, (500, 700, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def outcome(data: Path | None = None, answers: Mapping[int, Any] | None = None, **more: Any) -> Outcome:
    return run_suite(Animals(more.pop("count", 12)), Fixed(answers), data, about={"name": "tiny"}, **more)


def html_of(found: Outcome) -> str:
    return page(found.results, found.samples)


class Tags(HTMLParser):
    """Every tag with its attributes, and the text outside of styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._inside = "", ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.text += data


def test_the_page_says_what_was_found(pictures: Path) -> None:
    found = outcome(pictures, {1: "a dog", 5: ValueError("no such picture"), 2: "两只鸟。"})
    text = re.sub(r"\s+", " ", Tags(html_of(found)).text)
    assert "animals" in text
    assert "answered by tiny" in text
    value = found.results["metrics"]["accuracy"]
    assert f"{100 * value['value']:.1f}" in text
    assert f"{100 * value['low']:.1f} to {100 * value['high']:.1f}" in text
    assert "6 independent units" in text
    assert "group 0" in text
    assert "两只鸟。" in text
    assert "1 no such picture" in text
    assert "precision" in text


def test_nothing_runs_and_nothing_is_fetched(pictures: Path) -> None:
    tags = Tags(html_of(outcome(pictures))).tags
    assert {name for name, _ in tags}.isdisjoint({"script", "link", "iframe", "object", "form", "base"})
    policy = next(a["content"] for name, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy)
    for _, attributes in tags:
        assert not any(name.startswith("on") or name == "href" for name in attributes)
        assert str(attributes.get("src", "data:")).startswith("data:")


def test_hostile_text_stays_text() -> None:
    answers = {number: HOSTILE[number % len(HOSTILE)] for number in range(12)}
    found = outcome(None, answers)
    results, samples = copy.deepcopy(found.results), copy.deepcopy(found.samples)
    for number, sample in enumerate(samples):
        hostile = HOSTILE[number % len(HOSTILE)]
        sample |= {"key": hostile + str(number), "expected": hostile, "read": hostile, "group": hostile}
        sample["request"] = {"question": hostile, "image": hostile, "text": hostile}
    samples[0] |= {"error": HOSTILE[0]}
    results |= {"task": HOSTILE[0], "model": {"name": HOSTILE[1], HOSTILE[2]: HOSTILE[3]}, "main": HOSTILE[0]}
    results["metrics"] = dict.fromkeys(HOSTILE, found.results["metrics"]["accuracy"])
    results["groups"] = {hostile: {"n": 3, "metrics": results["metrics"]} for hostile in HOSTILE}
    text = page(results, samples)
    text.encode("utf-8")  # half a surrogate pair would not
    parsed = Tags(text)
    assert not [name for name, _ in parsed.tags if name in ("script", "img", "b i")]
    assert not [a for _, a in parsed.tags if "onerror" in a]
    for shown in (*HOSTILE[:3], HOSTILE[4], "[31mred"):
        assert shown in parsed.text
    assert "\x00" not in text
    assert "\x1b" not in text


def test_pictures_are_small_and_sounds_are_whole(pictures: Path) -> None:
    found = outcome(pictures)
    with wave.open(str(pictures / "bark.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    sound = pictures / "bark.wav"
    found.samples[1]["request"] = {"audio": [str(sound), 0.5], "question": "?"}
    addresses = [str(a["src"]) for _, a in Tags(html_of(found)).tags if "src" in a]
    kinds = {address.partition(";")[0] for address in addresses}
    assert kinds == {"data:image/jpeg", "data:audio/wav"}
    data = {
        kind: base64.b64decode(next(a for a in addresses if a.startswith(kind)).partition(",")[2])
        for kind in kinds
    }
    assert data["data:audio/wav"] == sound.read_bytes()
    with Image.open(io.BytesIO(data["data:image/jpeg"])) as picture:
        assert picture.size == (320, 229)


def test_media_that_cannot_be_shown_are_named(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "LARGEST_SOUND", 10)
    (pictures / "long.ogg").write_bytes(bytes(100))
    (pictures / "broken.png").write_bytes(b"no picture")
    request = {
        "image": [str(pictures / "gone.png"), str(pictures / "broken.png"), "https://example.org/x.png"],
        "audio": str(pictures / "long.ogg"),
        "point": {"sha256": "00"},
        "video": str(pictures / "0.png"),
        "text": "a bird that sings",
        "max_new_tokens": 5,
    }
    found = [(tile.kind, tile.name, tile.note, tile.data) for tile in tiles.Tiles().of(request)]
    assert found == [
        ("image", "gone.png", "the file is no longer there", ""),
        ("image", "broken.png", "cannot be shown here", ""),
        ("image", "x.png", "cannot be shown here", ""),
        ("audio", "long.ogg", "100 bytes, too large for this page", ""),
        ("point", "", "given as data, which are not kept", ""),
        ("video", "0.png", "", ""),
        ("text", "a bird that sings", "", ""),
    ]


def test_the_page_stays_small(pictures: Path) -> None:
    shown = tiles.Tiles(most=100_000)
    found = [tile for number in range(6) for tile in shown.of({"image": str(pictures / f"{number}.png")})]
    assert sum(len(tile.data) for tile in found) <= 100_000
    assert {tile.note for tile in found} == {"", "left out, to keep this page small"}
    many = outcome(None, dict.fromkeys(range(12), "long " * 100_000))
    assert len(html_of(many)) < 200_000
    assert "(and 498,800 more characters)" in html_of(many)


def test_a_picture_is_shown_again_when_two_items_ask_about_it(pictures: Path) -> None:
    tags = Tags(html_of(outcome(pictures, dict.fromkeys(range(12), "nothing")))).tags
    assert sum(name == "img" for name, _ in tags) == 12


def test_the_same_run_gives_the_same_bytes_also_when_it_was_killed(pictures: Path, tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        out = tmp_path / name
        found = outcome(pictures, {3: "a dog"}, out=out)
        if name == "killed":
            kept = (out / "answers.jsonl").read_bytes().splitlines(keepends=True)
            (out / "answers.jsonl").write_bytes(b"".join(kept[:5]) + kept[5][:20])
            found = outcome(pictures, {3: "a dog"}, out=out)
        write_outcome(found, out, f"command {name}", time.time())
    first, second = ((tmp_path / name / "report.html").read_bytes() for name in ("whole", "killed"))
    assert first == second
    assert b"command whole" not in first


def confusion(found: Outcome) -> list[str]:
    table = re.search(r'<table class="confusion.*?</table>', html_of(found), re.S)
    return re.findall(r'title="([^"]* read as [^"]*)"', table.group()) if table else []


def test_labels_are_shown_with_what_they_were_read_as() -> None:
    answers = {0: "a dog", 1: "a dog", 2: "none", 4: "a dog"}
    titles = confusion(outcome(None, answers))
    assert "cat read as dog: 1 of 4" in titles
    assert "cat read as cat: 3 of 4" in titles
    assert "dog read as dog: 2 of 4" in titles
    assert "鸟 read as (nothing): 1 of 4" in titles


def test_answers_that_are_no_labels_have_no_confusion() -> None:
    found = outcome()
    for number, sample in enumerate(found.samples):
        sample["expected"] = f"a sentence of its own {number}"
    assert confusion(found) == []
    found = outcome()
    found.samples[0]["read"] = ["cat", "dog"]
    assert confusion(found) == []


def test_scores_between_right_and_wrong_are_drawn() -> None:
    found = outcome()
    for number, sample in enumerate(found.samples):
        sample["score"] = (number % 5) / 10
    text = html_of(found)
    assert 'title="0.40 to 0.45: 2"' in text
    assert "mean 0.175, median 0.150" in text  # of 0 0.1 0.2 0.3 0.4, twice, and 0 0.1
    assert "score 0.30" in text


def test_without_scores_there_are_examples() -> None:
    found = outcome()
    for sample in found.samples:
        sample["score"] = None
    text = Tags(html_of(found)).text
    assert "Examples" in text
    assert "Lowest scores" not in text


def test_what_was_asked_only_for_the_others_is_no_example() -> None:
    found = outcome()
    found.samples.append(found.samples[0] | {"key": "class cat", "sums": {}, "score": None})
    assert "class cat" not in html_of(found)


def test_the_worst_are_spread_over_groups() -> None:
    samples = [
        {"key": f"{group}{number}", "group": group, "score": score}
        for group, scores in (("a", [0, 0, 0, 0]), ("b", [0.5, 0.2]), ("c", [0.1]))
        for number, score in enumerate(scores)
    ]
    assert [sample["key"] for sample in worst(samples, 4)] == ["a0", "a1", "c0", "b1"]
    assert [sample["key"] for sample in worst(samples, 3)] == ["a0", "c0", "b1"]


def test_errors_are_counted_without_the_names_of_files(pictures: Path) -> None:
    errors = {number: ValueError(f"{pictures / f'{number % 6}.png'}: damaged") for number in (0, 1, 2)}
    text = re.sub(r"\s+", " ", Tags(html_of(outcome(pictures, errors))).text)
    assert "3 FILE: damaged" in text


def test_a_metric_without_a_value_is_a_dash() -> None:
    text = html_of(outcome(None, dict.fromkeys(range(12), "what?")))
    assert re.search(r"<th>precision</th><td class=\"value\">–</td>", text)


def test_words_for_what_is_expected() -> None:
    assert words({"class": "cat"}) == "cat"
    assert words(["two", "2", "two"]) == "two ×2 · 2"
    assert words({"box": [1, 2], "名": "猫"}) == '{"box": [1, 2], "名": "猫"}'
    assert words(None) == ""
    assert (
        printable("a\x07b\ud83dc\n\u200d") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\n\u200d"
    )
