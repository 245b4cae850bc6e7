"""Measuring a tiny mini of the real classes from the command line, on tiny data of the real shapes."""

import json

import pytest
import torch
from mini_worlds import CAPTIONS

from imagebind_llm import Assistant
from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.caption_scores import require_scorers
from imagebind_llm.evaluation.suite import Item
from mini_lab import evaluate
from mini_lab.measures import captions, cost, parts, plain_text
from mini_lab.measures.captions import Beams, shuffled
from mini_lab.measures.context import Context
from mini_lab.measures.parts import read_results
from mini_lab.measures.text import metrics

PARTS = ("photographs", "retrieval", "sounds", "furniture", "text")
TEXT = "\n\n".join(
    f"This is paragraph {number} of a text that is long enough to be a passage of plain English words."
    for number in range(20)
)


@pytest.fixture(scope="module")
def command(world, tmp_path_factory):
    """The arguments, without the folder of the results."""
    text = tmp_path_factory.mktemp("text") / "text.txt"
    text.write_text(TEXT)
    return [
        *("--model", world.bundle.folder, "--data", world.data, "--parts", world.bundle.parts),
        *("--words", world.words, "--work", world.work, "--text", text, "--quiet"),
    ]


def run(*arguments):
    return evaluate.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def out(command, tmp_path_factory):
    """Results of all parts but the two slow ones."""
    folder = tmp_path_factory.mktemp("results") / "out"
    chosen = [word for name in PARTS for word in ("--part", name)]
    assert run(*command, "--out", folder, *chosen) == 0
    return folder


def rows(results, part):
    return {row["name"]: row for table in results["parts"][part]["tables"] for row in table["rows"]}


def test_every_part_has_numbers_with_intervals(out):
    results = read_results(out / "results.json")
    assert list(results["parts"]) == list(PARTS)
    passages = len(list(plain_text.passages(TEXT)))
    counts = {
        "photographs": {"mini, cache off": 5, "mini, cache on": 5, "mini, shown another photograph": 5},
        "sounds": {"asked for an animal, cache on": 24, "nearest mean of training recordings": 24},
        "furniture": {"mini, cache off": 4, "nearest mean of training points": 4},
        "text": dict.fromkeys(("nothing attached", "a picture attached"), passages),
    }
    for part, expected in counts.items():
        found = rows(results, part)
        assert {name: found[name]["n"] for name in expected} == expected
    every = [row for part in PARTS for row in rows(results, part).values()]
    assert all(row["metrics"] for row in every)
    text = (out / "results.md").read_text()
    for row in every:
        assert f"| {row['name']} |" in text
    for name in ("naming.png", "calibration.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert (out / "answers" / "sounds-encoder" / "report.html").is_file()
    assert str(out) not in (out / "results.json").read_text()


def test_encoder_rows_are_what_the_encoder_gives(out, world):
    """The prototypes' best class of each photograph, computed here anew."""
    from mini_worlds import jpeg

    from mini_lab.prototypes import prototypes

    bot = Assistant.from_pretrained(world.bundle.folder, device="cpu", dtype="float32")
    found = bot.embed(image=[jpeg(number)["bytes"] for number in range(5)])
    best = (found @ prototypes(bot.model.encoder).T).argmax(1)
    right = int((best == torch.arange(5)).sum())
    results = read_results(out / "results.json")
    row = rows(results, "photographs")["EfficientNet-Lite2's features, no language model"]
    assert row["metrics"]["top-1"]["value"] == right / 5


def test_recordings_of_a_session_are_drawn_together(out):
    row = rows(read_results(out / "results.json"), "sounds")["asked for an animal, cache off"]
    assert (row["n"], row["units"]) == (24, 12)


def test_the_same_command_goes_on(out, command, monkeypatch, capsys):
    before = (out / "results.json").read_bytes()

    def fail(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(parts, "measure", fail)
    assert run(*command, "--out", out, "--part", "text") == 0
    assert (out / "results.json").read_bytes() == before
    assert run(*command, "--out", out, "--part", "text", "--items", 3) == 2
    assert "holds results with another limit" in capsys.readouterr().err


def test_stopped_in_the_middle_it_keeps_what_is_done(command, tmp_path, monkeypatch, capsys):
    asked = []
    measure = parts.measure

    def stopping(name, context):
        asked.append(name)
        if name == "sounds":
            raise KeyboardInterrupt
        return measure(name, context)

    monkeypatch.setattr(parts, "measure", stopping)
    chosen = ["--items", 2, "--part", "retrieval", "--part", "sounds"]
    assert run(*command, "--out", tmp_path / "out", *chosen) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert asked == ["retrieval", "sounds"]
    assert [path.name for path in (tmp_path / "out" / "parts").iterdir()] == ["retrieval.json"]


def test_what_is_missing_is_one_line(command, tmp_path, capsys):
    assert run(*command, "--out", tmp_path / "out", "--items", 1) == 2
    assert "--items is 1; expected at least 2" in capsys.readouterr().err
    assert run(*command, "--data", tmp_path / "none", "--out", tmp_path / "out") == 2
    assert "give another as --data" in capsys.readouterr().err
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UserError, match="expected \\(1, 'mini'\\)"):
        read_results(tmp_path / "other.json")


@pytest.fixture(scope="module")
def bot(world):
    return Assistant.from_pretrained(world.bundle.folder, device="cpu", dtype="float32")


@pytest.fixture
def context(world, bot, tmp_path):
    return Context(
        bot=bot,
        folder=world.bundle.folder,
        facts={"name": "tiny"},
        data=world.data,
        parts=world.bundle.parts,
        words=world.words,
        work=world.work,
        out=tmp_path,
        caption_question="What?",
        limit=3,
        progress=False,
    )


def test_one_beam_says_what_the_assistant_says(bot, context):
    requests = [
        {"question": "What is this?", **item.request, "max_new_tokens": 8}
        for item in captions.pictures(context)
    ]
    requests += [{"question": "And now, without a picture?", "max_new_tokens": 8}, {"question": ""}]
    found = list(Beams(bot, beams=1).answers(iter(requests)))
    expected = [answer.text for answer in bot.ask_batch(requests[:-1])]
    assert found[:-1] == expected
    assert isinstance(found[-1], UserError)
    more = list(Beams(bot, beams=3).answers(iter(requests[:2])))
    assert all(isinstance(text, str) for text in more)


def test_shuffled_items_have_the_picture_of_another_one():
    items = [Item(str(number), {"image": bytes([number])}, number) for number in range(7)]
    mixed = shuffled(items, seed=0)
    assert [item.key for item in mixed] == [item.key for item in items]
    assert all(a.request != b.request and a.expected == b.expected for a, b in zip(items, mixed, strict=True))
    assert sorted(item.request["image"] for item in mixed) == [bytes([number]) for number in range(7)]


def test_captions_are_scored_beside_their_controls(context):
    try:
        require_scorers()
    except UserError as error:
        pytest.skip(str(error))
    part = captions.measure(context)
    (table,) = part["tables"]
    assert [row["name"] for row in table["rows"]] == [
        "mini, greedy",
        "mini, 3 beams",
        "mini, greedy, visual cache on",
        "mini, shown another picture",
        "mini, no picture",
        "SmolLM2, no picture",
    ]
    assert all(row["n"] == 3 and row["metrics"].keys() >= table["columns"].keys() for row in table["rows"])
    assert [goal["goal"] for goal in part["goals"]] == [0.62, 0.19, 0.5]
    assert set(part["said"]) == {"no picture", "SmolLM2"}


def test_a_perfect_captioner_has_the_highest_scores(context):
    """The same suite with a reference in the answer's place: BLEU is 1, and words alone are not."""
    try:
        require_scorers()
    except UserError as error:
        pytest.skip(str(error))
    items = captions.pictures(context)
    suite = captions.Captions("x", items)
    scores = []
    for said in (CAPTIONS[0], "something else entirely"):
        samples = suite.judge(items, [said] * len(items))
        sums = {name: sum(sample.sums[name] for sample in samples) for name in samples[0].sums}
        scores.append(float(suite.metrics(sums)["BLEU-1"]))
    assert scores[0] == pytest.approx(1.0)
    assert scores[1] < 0.2


def test_cost_is_measured_in_a_process_of_its_own(context, monkeypatch):
    monkeypatch.setattr(cost, "PRECISIONS", {"float32": None, "none such": "int3"})
    monkeypatch.setattr(cost, "_media", lambda *_: {"words only": {}})
    part = cost.measure(context)
    (row,) = part["tables"][0]["rows"]
    assert row["name"] == "words only, float32"
    assert row["metrics"]["peak, MB"]["value"] > 50
    assert 0 < row["metrics"]["first token, s"]["value"] <= row["metrics"]["answer, s"]["value"]
    assert any("unknown quantization 'int3'" in note for note in part["notes"])


def test_the_ratio_of_a_model_to_itself_is_one(world):
    sums = {"mini": 20.0, "base": 20.0, "tokens": 10.0, "bytes": 40.0}
    assert metrics(sums)["ratio"] == 1.0
    assert metrics({**sums, "mini": 30.0})["ratio"] == pytest.approx(2.718, abs=1e-3)


def test_passages_leave_headings_out_and_own_text_is_read(tmp_path):
    found = list(plain_text.passages(f"Heading\n\n{TEXT}\n\nls -l"))
    assert "".join(found).count("paragraph") == 20
    assert "Heading" not in "".join(found)
    assert all(len(one.split()) >= plain_text._PASSAGE for one in found[:-1])
    (tmp_path / "a.txt").write_text(TEXT)
    assert plain_text.own_text(tmp_path) == TEXT
    with pytest.raises(UserError, match="there is no text in"):
        plain_text.own_text(tmp_path / "none")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="give plain text in UTF-8"):
        plain_text.own_text(tmp_path)


def test_the_debian_faq_is_read_from_its_package(tmp_path, monkeypatch):
    """From a package of ours, put where the cache keeps it."""
    import gzip
    from dataclasses import replace

    from support.packages import deb, known

    text = "1. Contents, and 2. more\n\nChapter 1.\u00a0Definitions\n\nThis is what it says of itself.\n"
    content = deb({f"./{plain_text._MEMBER}": gzip.compress(text.encode())})
    package = known("debian", plain_text.PACKAGE.path, content, "debian-faq", "11.1")
    place = tmp_path / "imagebind-llm" / "fetch" / "debian-faq"
    place.mkdir(parents=True)
    (place / package.file).write_bytes(content)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(plain_text, "PACKAGE", package)
    assert plain_text.debian_faq().startswith("Chapter 1.\u00a0Definitions")
    monkeypatch.setattr(plain_text, "PACKAGE", replace(package, sha256="0" * 64, registry="npm"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="or measure on text of your own: --text FILE"):
        plain_text.debian_faq()


def test_results_hold_no_path_of_this_machine(out, world):
    text = json.dumps(read_results(out / "results.json"))
    for place in (world.data, world.words, world.bundle.folder):
        assert str(place) not in text
