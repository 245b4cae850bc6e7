"""What is given to the data commands: files of the same name, recipes; the message when nothing is good."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.source_samples import pictures

from imagebind_llm.cli.data_sources import read_sources
from imagebind_llm.common.errors import ConfigError, TrainingDataError
from imagebind_llm.data.mixture import SourceMixture
from imagebind_llm.data.sources import Source, SourceSettings, open_source
from imagebind_llm.data.sources.guess import guess_kind


def table(folder: Path) -> Path:
    pictures(folder)
    path = folder / "captions.tsv"
    path.write_text("url\tcaption\n0.png\ta caption\n")
    return path


def test_files_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    paths = [table(tmp_path / part) for part in ("a/x", "b/x", "c")]
    sources = read_sources([str(path) for path in paths])
    assert [source.label for source in sources] == ["a/x/captions.tsv", "b/x/captions.tsv", "c/captions.tsv"]
    mixture = SourceMixture([open_source(source, tmp_path / "index") for source in sources], [1, 1, 1])
    assert {mixture.draw(np.random.default_rng(seed)).source for seed in range(30)} == {
        source.label for source in sources
    }
    assert [source.name for source in read_sources([str(paths[0]), str(paths[0])])] == [None, None]


def test_a_recipe_names_its_sources(tmp_path: Path) -> None:
    listed = [{"kind": "tsv", "path": "x.tsv", "weight": 2}]
    for number, values in enumerate(({"sources": listed}, {"stage": "bind", "data": {"sources": listed}})):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(values))
        assert read_sources([str(path)]) == (SourceSettings("tsv", "x.tsv", 2.0),)


def test_when_nothing_is_good_the_last_reason_is_told(tmp_path: Path) -> None:
    pictures(tmp_path / "pictures")
    source = open_source(SourceSettings("folder", str(tmp_path / "pictures")), tmp_path / "index")
    with pytest.raises(
        TrainingDataError, match=r"none of 12 samples is good .*the last: .*no caption: neither"
    ):
        list(SourceMixture([source], [1]).iterate())


def dirty(folder: Path, good: int, bad: int) -> Path:
    """A table of ``good`` pictures and ``bad`` missing ones."""
    pictures(folder)
    path = folder / "dirty.tsv"
    names = [f"{number % 10}.png" for number in range(good)] + [f"gone-{number}.png" for number in range(bad)]
    path.write_text("url\tcaption\n" + "".join(f"{name}\ta caption\n" for name in names))
    return path


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, output and error output of a command line."""
    from imagebind_llm.cli import main

    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return (int(left.value.code or 0), *capsys.readouterr())


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_final_share_decides_in_every_command(
    tmp_path: Path, own_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six of 58 are fewer than are met before the share is judged on the way."""
    path = dirty(tmp_path / "data", 52, 6)
    message = "6 of 58 samples are bad, more than the allowed share 0.05"
    source = open_source(SourceSettings("tsv", str(path)), tmp_path / "index")
    with pytest.raises(TrainingDataError, match=message):
        list(SourceMixture([source], [1]).iterate())
    code, _, error = told(capsys, "data", "check", path)
    assert (code, message in error) == (2, True)
    embed = ("data", "embed", path, "--workers", 1, "--out", tmp_path / "embedded")
    code, _, error = told(capsys, *embed)
    assert (code, message in error) == (2, True)
    assert "quarantine.jsonl" in error
    code, out, _ = told(capsys, *embed, "--max-bad", 0.2)
    assert (code, out) == (0, f"52 samples with 52 media in {tmp_path / 'embedded'}\n")


def test_embedding_what_is_embedded_shows_no_bar(
    tmp_path: Path, own_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data", "embed", dirty(tmp_path / "data", 4, 0), "--workers", 1, "--out", tmp_path / "embedded")
    assert "embed: 100%" in told(capsys, *words)[2]
    code, out, error = told(capsys, *words)
    assert (code, error) == (0, "")
    assert out.endswith("finished before, nothing to do\n")


def test_repeated_draws_are_told_from_different_samples(tmp_path: Path) -> None:
    source = open_source(SourceSettings("tsv", str(dirty(tmp_path / "data", 0, 6))), tmp_path / "index")
    with pytest.raises(TrainingDataError, match=r"20 of 20 samples are bad.*\(6 different ones, drawn"):
        SourceMixture([source], [1]).draw(np.random.default_rng(0))


def test_checking_names_the_first_reasons(
    tmp_path: Path, own_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data", "check", dirty(tmp_path / "data", 5, 5), "--max-bad", 1)
    _, out, _ = told(capsys, *words)
    lines = out.splitlines()
    assert lines[0] == "dirty.tsv: 5 good, 5 bad"
    assert [line.split(":")[1] for line in lines[1:4]] == ["7", "8", "9"]
    assert "gone-0.png" in lines[1]
    assert lines[4:] == ["  … and 2 more; --report FILE lists all"]
    values = json.loads(told(capsys, *words, "--json")[1])
    assert len(values["bad_examples"]["dirty.tsv"]) == 3


def test_a_cleaned_source_goes_into_every_command(
    tmp_path: Path, own_cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    described = tmp_path / "source.yaml"
    values = {"kind": "csv", "path": str(tmp_path / "clean.csv"), "name": "mine"}
    described.write_text(yaml.safe_dump(values))
    pictures(tmp_path)
    (tmp_path / "clean.csv").write_text("url,caption\n0.png,a caption\n")
    assert told(capsys, "data", "check", described)[:2] == (0, "mine: 1 good, 0 bad\n")
    given = SourceSettings("csv", str(described), weight=3, instruction="What is it?")
    opened = open_source(given, tmp_path / "index")
    assert isinstance(opened, Source)
    assert opened.name == "mine"
    assert opened.read(0).messages[0]["content"][1]["text"] == "What is it?"
    with pytest.raises(ConfigError, match=r"of kind csv, not tsv; say kind: csv"):
        open_source(SourceSettings("tsv", str(described)), tmp_path / "index")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", '[{"conversations" [}]', r"no valid JSON from byte 1 on"),
        ("x.json", '[{"conversations": [', r"no valid JSON from byte 1 on"),
        ("x.json", '{"conversations": [', r"holds no valid JSON: neither a list of objects nor one"),
        ("x.jsonl", "not\nJSON", r"holds no valid JSON: neither"),
        ("x.json", '[{"a": 1}]', r"cannot tell what data"),
        ("x.json", "[]", r"cannot tell what data"),
    ],
)
def test_broken_json_says_where_it_breaks(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TrainingDataError, match=message):
        guess_kind(str(tmp_path / name))


def test_a_broken_line_of_json_lines_does_not_hide_the_kind(tmp_path: Path) -> None:
    good = json.dumps({"instruction": "Say one", "output": "one"})
    (tmp_path / "x.jsonl").write_text('{"instruction":\n' + good + "\n")
    assert guess_kind(str(tmp_path / "x.jsonl")) == "alpaca"
