"""Cleaning from end to end, on planted dirt."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance
from support.cleaning_samples import (
    MadeUpEncoder,
    MadeUpSource,
    MadeUpStream,
    caption,
    contents,
    encoded,
    picture,
    settings_of,
)

from imagebind_llm.common.errors import CleanError, TrainingDataError
from imagebind_llm.data.clean.run import clean
from imagebind_llm.data.clean.settings import load_settings
from imagebind_llm.data.sources import open_source
from imagebind_llm.data.sources.base import SourceSettings

NO_ENCODER = ["rules.agreement.enabled=false", "rules.similar_embedding.enabled=false"]
COUNT = 150


class Plant:
    """A table of pictures and captions, and what is wrong with each row."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows, self.truth = folder, [], []
        folder.mkdir()

    def add(self, data: bytes, words: str, truth: str) -> None:
        name = f"{len(self.rows):04d}.png"
        (self.folder / name).write_bytes(data)
        self.rows.append((name, words))
        self.truth.append(truth)

    def write(self) -> SourceSettings:
        path = self.folder / "captions.tsv"
        path.write_text("url\tcaption\n" + "".join(f"{n}\t{w}\n" for n, w in self.rows), encoding="utf-8")
        return SourceSettings("tsv", str(path))


def near(image: Image.Image) -> dict[str, bytes]:
    return {
        "smaller": encoded(image.resize((48, 48), Image.Resampling.BICUBIC)),
        "larger": encoded(image.resize((100, 100), Image.Resampling.LANCZOS)),
        "JPEG": encoded(image, "JPEG", quality=40),
        "brighter": encoded(ImageEnhance.Brightness(image).enhance(1.2)),
        "paler": encoded(ImageEnhance.Contrast(image).enhance(0.8)),
        "mirrored": encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    }


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plant, SourceSettings]:
    """150 clean samples, then dirt of every kind; duplicates repeat the first ones."""
    plant = Plant(tmp_path_factory.mktemp("dirty") / "data")
    for seed in range(COUNT):
        plant.add(encoded(picture(seed)), caption(seed), "clean")
    seeds = iter(range(1000, 2000))
    for seed in range(10):
        plant.add(encoded(picture(seed)), caption(seed), "exact_duplicate")
        plant.add(encoded(picture(seed), "BMP"), caption(next(seeds)), "exact_duplicate")
        for name, data in near(picture(20 + seed)).items():
            truth = "similar_embedding" if name == "mirrored" else "near_duplicate"
            plant.add(data, caption(next(seeds)), truth)
    bad_captions = {
        "caption_length": ["dog", "a dog", "狗"],
        "script": ["фотография собаки во дворе", "صورة جميلة لكلب صغير في الحديقة"],
        "letters": ["2016 08 23 - 14 / 22", "### 12 ### 34 ### ab"],
        "character_repetition": ["ha" * 30 + " a dog", "so nice " * 10],
        "boilerplate": [
            "IMG_20160823_141233 nice trip",
            "a dog https://example.com/shop/dog.html",
            "brown dog - stock photo",
            "all rights reserved by the zoo",
            "点击查看大图 一只狗",
        ],
        "caption_frequency": ["our lovely picture of the day"] * 12,
        "listed_words": ["a darn dog in front of a house", "heck, what a tree in the garden"],
    }
    for truth, texts in bad_captions.items():
        for text in texts:
            plant.add(encoded(picture(next(seeds))), text, truth)
    for shade in (0, 90, 255):
        plant.add(encoded(Image.new("RGB", (64, 64), (shade,) * 3)), caption(next(seeds)), "contrast")
    plant.add(encoded(picture(next(seeds), 20)), caption(next(seeds)), "image_side")
    plant.add(encoded(picture(next(seeds)).resize((300, 50))), caption(next(seeds)), "aspect_ratio")
    plant.add(encoded(picture(next(seeds)))[:900], caption(next(seeds)), "unreadable")
    plant.add(b"no picture", caption(next(seeds)), "unreadable")
    (plant.folder / "words.txt").write_text("# harmless\ndarn\nheck\n")
    return plant, plant.write()


def bounds(plant: Plant, *more: str) -> list[str]:
    return [
        "shard_rows=64",
        f"rules.listed_words.file={plant.folder / 'words.txt'}",
        "rules.agreement.enabled=false",
        *more,
    ]


@pytest.fixture(scope="module")
def cleaned(dirty, tmp_path_factory):
    plant, source = dirty
    out = tmp_path_factory.mktemp("cleaned") / "out"
    return clean(source, out, load_settings(None, bounds(plant)), encoder=MadeUpEncoder())


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_planted_dirt_is_found_and_clean_samples_stay(dirty, cleaned, capsys):
    plant, _ = dirty
    reasons = {line["index"]: line["reason"] for line in lines(cleaned.folder / "dropped.jsonl")}
    found = Counter((truth, reasons.get(row, "clean")) for row, truth in enumerate(plant.truth))
    dirt = sum(n for (truth, _), n in found.items() if truth != "clean")
    caught = sum(n for (truth, got), n in found.items() if truth != "clean" and got != "clean")
    wrongly = sum(n for (truth, got), n in found.items() if truth == "clean" and got != "clean")
    precision, recall = caught / (caught + wrongly), caught / dirt
    with capsys.disabled():
        print(f"\nplanted dirt: {dirt} of {len(plant.truth)}; precision {precision:.3f}, recall {recall:.3f}")
    assert precision == 1.0, found
    assert recall >= 0.98, found
    named = sum(n for (truth, got), n in found.items() if truth == got and truth != "clean")
    assert named >= 0.97 * caught, found


def test_the_lists_hold_every_sample_once(dirty, cleaned):
    plant, _ = dirty
    kept, dropped = (lines(cleaned.folder / name) for name in ("kept.jsonl", "dropped.jsonl"))
    assert sorted(line["index"] for line in kept + dropped) == list(range(len(plant.truth)))
    assert all(line["key"] == f"captions.tsv:{line['index'] + 2}" for line in kept + dropped)
    scores = pq.read_table(cleaned.folder / "scores.parquet").to_pylist()
    assert [row["index"] for row in scores] == list(range(len(plant.truth)))
    assert {row["index"] for row in scores if row["reason"] is None} == {line["index"] for line in kept}
    assert cleaned.summary["kept"] == len(kept)
    assert sum(cleaned.summary["dropped"].values()) == len(dropped)
    first = scores[0]
    assert first["image_side"] == 64
    assert first["contrast"] > 10
    assert first["agreement"] is not None
    quarantined = lines(cleaned.folder / "quarantine.jsonl")
    assert len(quarantined) == plant.truth.count("unreadable")
    assert all(set(line) == {"source", "key", "reason"} for line in quarantined)


def test_the_first_of_each_group_is_kept(cleaned):
    groups = lines(cleaned.folder / "groups.jsonl")
    number = {
        line["key"]: line["index"]
        for name in ("kept", "dropped")
        for line in lines(cleaned.folder / f"{name}.jsonl")
    }
    kept = {line["key"] for line in lines(cleaned.folder / "kept.jsonl")}
    assert len(groups) == 20
    for group in groups:
        assert group["kept"] in kept
        for member in group["duplicates"]:
            assert number[member["key"]] > number[group["kept"]]
            assert member["key"] not in kept


def test_the_cleaned_source_is_read_as_any_other(dirty, cleaned, tmp_path):
    import yaml

    from imagebind_llm.common.settings import build

    plant, _ = dirty
    values = yaml.safe_load((cleaned.folder / "source.yaml").read_text())
    source = open_source(build(SourceSettings, values), tmp_path)
    kept = [line["index"] for line in lines(cleaned.folder / "kept.jsonl")]
    assert len(source) == len(kept)
    for place in (0, len(kept) // 2, len(kept) - 1):
        record = source.read(place).load()
        assert record.messages[-1]["content"] == plant.rows[kept[place]][1]
    again = clean(
        build(SourceSettings, values),
        tmp_path / "again",
        load_settings(None, bounds(plant)),
        encoder=MadeUpEncoder(),
    )
    assert again.summary["kept"] == len(kept), "cleaning what is clean drops nothing"


def test_two_runs_are_equal_byte_for_byte(dirty, cleaned, tmp_path):
    plant, source = dirty
    out = tmp_path / "out"
    settings = load_settings(None, bounds(plant))
    clean(source, out, settings, encoder=MadeUpEncoder())
    first, second = contents(cleaned.folder), contents(out / "result")
    assert set(first) == set(second)
    for name, data in first.items():
        if name != "source.yaml":  # it names its own folder
            assert data == second[name], name
    assert contents(cleaned.folder.parent / "measured") == contents(out / "measured")


def test_other_bounds_need_no_second_measuring(dirty, cleaned, tmp_path):
    plant, source = dirty
    stricter = load_settings(None, bounds(plant, "rules.image_side.minimum=60"))
    done = clean(source, cleaned.folder.parent, stricter, encoder=MadeUpEncoder(), dry_run=True)
    assert done.resumed == len(plant.truth)
    assert done.summary["dropped"]["image_side"] > cleaned.summary["dropped"]["image_side"]
    assert not (done.folder / "kept.jsonl").exists(), "a dry run writes no lists"
    assert (cleaned.folder / "kept.jsonl").exists(), "and leaves those of an earlier run"
    assert (done.folder / "report.html").is_file()
    back = clean(source, cleaned.folder.parent, load_settings(None, bounds(plant)), encoder=MadeUpEncoder())
    assert back.summary == cleaned.summary


def test_a_folder_belongs_to_one_source_and_encoder(tmp_path):
    settings = load_settings(None, NO_ENCODER)
    clean(settings_of(), tmp_path / "out", settings, opened=MadeUpSource(5))
    with pytest.raises(CleanError, match=r"measured with source .* delete that folder"):
        clean(settings_of(), tmp_path / "out", settings, opened=MadeUpSource(6))
    with pytest.raises(CleanError, match="measured with encoder None, this run has 'made-up'"):
        clean(settings_of(), tmp_path / "out", opened=MadeUpSource(5), encoder=MadeUpEncoder())


def test_two_runs_at_once_are_refused(tmp_path):
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CleanError, match="another run"):
            clean(settings_of(), tmp_path / "out", load_settings(None, NO_ENCODER), opened=MadeUpSource(5))


def test_streams_and_bytes_become_parquet(tmp_path):
    done = clean(
        settings_of(kind="webdataset"),
        tmp_path / "out",
        load_settings(None, [*NO_ENCODER, "shard_rows=20"]),
        opened=MadeUpStream(70),
    )
    assert done.summary == {
        **done.summary,
        "samples": 70,
        "kept": 67,
        "dropped": {"unreadable": 3},
    }
    source = open_source(SourceSettings("parquet", str(done.folder / "images")), tmp_path)
    assert len(source) == 67
    record = source.read(66).load()
    assert record.messages[-1]["content"] == caption(69)
    assert np.array_equal(np.asarray(record.messages[0]["content"][0]["image"]), np.asarray(picture(69)))


def test_an_empty_source(tmp_path):
    done = clean(settings_of(), tmp_path / "out", load_settings(None, NO_ENCODER), opened=MadeUpSource(0))
    assert done.summary["samples"] == done.summary["kept"] == 0
    assert (done.folder / "kept.jsonl").read_text() == ""
    assert "no samples" in (done.folder / "report.html").read_text()


def test_when_everything_is_dropped(tmp_path):
    settings = load_settings(None, [*NO_ENCODER, "rules.image_side.minimum=5000"])
    done = clean(settings_of(), tmp_path / "out", settings, opened=MadeUpSource(30))
    assert done.summary["kept"] == 0
    assert done.summary["dropped"]["image_side"] == 30
    assert "Nothing is kept" in (done.folder / "report.html").read_text()


def test_too_many_unreadable_samples_stop_the_run(tmp_path):
    settings = load_settings(None, [*NO_ENCODER, "max_unreadable=0.05", "shard_rows=50"])
    with pytest.raises(
        TrainingDataError, match=r"samples are bad, more than the allowed share 0\.05"
    ) as told:
        clean(settings_of(), tmp_path / "out", settings, opened=MadeUpSource(400, bad_every=10))
    assert "raise max_unreadable" in str(told.value), "the setting is called as it is here"
    assert "broken on purpose" in str(told.value)
    allowed = load_settings(None, [*NO_ENCODER, "max_unreadable=0.2", "shard_rows=50"])
    done = clean(settings_of(), tmp_path / "out", allowed, opened=MadeUpSource(400, bad_every=10))
    assert done.resumed > 0
    assert done.summary["dropped"]["unreadable"] == 40


def test_copies_of_one_sample_make_no_frequent_caption(tmp_path):
    """Twenty times the same picture and words: one stays. Eleven pictures with the same words: none does."""
    rows = []
    for n in range(20):
        (tmp_path / f"same{n}.png").write_bytes(encoded(picture(1)))
        rows.append(f"same{n}.png\ta red dog in front of a house")
    for n in range(11):
        (tmp_path / f"other{n}.png").write_bytes(encoded(picture(100 + n)))
        rows.append(f"other{n}.png\tour lovely picture of the day")
    (tmp_path / "c.tsv").write_text("url\tcaption\n" + "\n".join(rows) + "\n")
    source = SourceSettings("tsv", str(tmp_path / "c.tsv"))
    done = clean(source, tmp_path / "out", load_settings(None, NO_ENCODER))
    assert done.summary["dropped"] == {"unreadable": 0, "caption_frequency": 11, "exact_duplicate": 19}
    scores = pq.read_table(done.folder / "scores.parquet")["caption_frequency"].to_pylist()
    assert scores == [1.0] * 20 + [11.0] * 11


def test_what_a_killed_dry_run_left_is_removed(tmp_path):
    settings = load_settings(None, NO_ENCODER)
    for name in (".dry-run.imagebind-llm-abcdefgh", ".result.imagebind-llm-abcdefgh"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "report.html").write_text("half")
    clean(settings_of(), tmp_path / "out", settings, opened=MadeUpSource(5), dry_run=True)
    left = {path.name for path in (tmp_path / "out").iterdir()} - {
        ".lock"
    }  # some releases of filelock keep it
    assert left == {"dry-run", "measured"}


def test_the_lowest_share_of_agreement_goes(tmp_path):
    done = clean(
        settings_of(),
        tmp_path / "out",
        load_settings(None, ["rules.agreement.percentile=10", "rules.similar_embedding.enabled=false"]),
        opened=MadeUpSource(100),
        encoder=MadeUpEncoder(),
    )
    table = pq.read_table(done.folder / "scores.parquet").to_pylist()
    ordered = sorted(table, key=lambda row: row["agreement"])
    assert {row["index"] for row in table if row["reason"] == "agreement"} == {
        r["index"] for r in ordered[:10]
    }


def test_dialogs_about_one_picture_are_no_duplicates_of_each_other(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(picture(1)))
    items = [
        {
            "id": str(n),
            "image": "a.png",
            "conversations": [
                {"from": "human", "value": f"<image>\n{question}"},
                {"from": "gpt", "value": "It is a small red house by the sea."},
            ],
        }
        for n, question in enumerate(["What is it?", "What do you see?", "What is it?"])
    ]
    (tmp_path / "talk.json").write_text(json.dumps(items))
    source = SourceSettings("llava", str(tmp_path / "talk.json"))
    done = clean(source, tmp_path / "out", load_settings(None, NO_ENCODER))
    assert done.summary["dropped"] == {"unreadable": 0, "exact_duplicate": 1}
    back = open_source(SourceSettings("llava", str(done.folder / "clean.jsonl")), tmp_path)
    assert [back.read(n).messages for n in range(2)] == [
        open_source(source, tmp_path).read(n).messages for n in range(2)
    ]
    strict = clean(source, tmp_path / "any", load_settings(None, [*NO_ENCODER, "duplicate_text=any"]))
    assert strict.summary["kept"] == 1
    assert strict.summary["duplicates_with_other_words"] == 0


def test_other_sounds_and_second_pictures_make_other_dialogs(tmp_path):
    """The words are the same, and the first picture: what else is there tells them apart."""
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(encoded(picture(n)))
    (tmp_path / "copy.png").write_bytes(encoded(picture(2), "BMP"))
    given = [
        {"audio": "a.wav"},
        {"audio": "b.wav"},
        {"audio": "a.wav"},
        {"image": ["0.png", "1.png"]},
        {"image": ["0.png", "2.png"]},
        {"image": ["0.png", "copy.png"]},
    ]
    items = []
    for n, media in enumerate(given):
        marks = "<audio>" if "audio" in media else "<image>\n<image>"
        spoken = [
            {"from": "human", "value": f"{marks}\nWhat is it?"},
            {"from": "gpt", "value": "It is a small red house by the sea."},
        ]
        items.append({"id": str(n), **media, "conversations": spoken})
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "talk.json").write_text(json.dumps(items))
    source = SourceSettings("llava", str(tmp_path / "talk.json"))
    done = clean(source, tmp_path / "out", load_settings(None, NO_ENCODER))
    dropped = {line["index"]: line["reason"] for line in lines(done.folder / "dropped.jsonl")}
    assert dropped == {2: "exact_duplicate", 5: "exact_duplicate"}


def test_text_only_samples_are_compared_by_their_words(tmp_path):
    items = [
        {"instruction": f"Name a {thing} you know well", "input": "", "output": "I know a very good one"}
        for thing in ("bird", "tree", "bird")
    ]
    (tmp_path / "ask.json").write_text(json.dumps(items))
    source = SourceSettings("alpaca", str(tmp_path / "ask.json"))
    done = clean(source, tmp_path / "out", load_settings(None, NO_ENCODER))
    assert done.summary["dropped"] == {"unreadable": 0, "exact_duplicate": 1}
    back = open_source(SourceSettings("alpaca", str(done.folder / "clean.jsonl")), tmp_path)
    assert back.read(1).messages == open_source(source, tmp_path).read(1).messages


def test_captions_that_tables_find_hard_come_back_as_they_were(tmp_path):
    hard = ['"a dog" said "woof"', 'say "cheese" to the dog', "a dog, a cat; and 'more'", "一只狗 在跑步 呢"]
    (tmp_path / "d").mkdir()
    for n, words in enumerate(hard):
        (tmp_path / "d" / f"{n}.png").write_bytes(encoded(picture(n)))
        (tmp_path / "d" / f"{n}.txt").write_text(words + "\nand a second line" * (n == 2), encoding="utf-8")
    source = SourceSettings("folder", str(tmp_path / "d"))
    done = clean(source, tmp_path / "out", load_settings(None, NO_ENCODER))
    back = open_source(SourceSettings("csv", str(done.folder / "clean.csv")), tmp_path)
    told = [back.read(n).messages[-1]["content"] for n in range(4)]
    assert told == [*hard[:2], hard[2] + "\nand a second line", hard[3]]
    (tmp_path / "t.tsv").write_text(
        "url\tcaption\n" + "".join(f"d/{n}.png\t{w}\n" for n, w in enumerate(hard))
    )
    done = clean(
        SourceSettings("tsv", str(tmp_path / "t.tsv")), tmp_path / "out2", load_settings(None, NO_ENCODER)
    )
    before = open_source(SourceSettings("tsv", str(tmp_path / "t.tsv")), tmp_path)
    table = open_source(SourceSettings("tsv", str(done.folder / "clean.tsv")), tmp_path)
    assert [table.read(n).messages for n in range(4)] == [before.read(n).messages for n in range(4)]
