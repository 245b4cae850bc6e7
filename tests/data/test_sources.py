"""Every kind of source: what is read, what is put aside, and that nothing is lost."""

import io
import json
import tarfile

import numpy as np
import pytest
from support import source_samples as made

from imagebind_llm.common.errors import (
    BadSample,
    ConfigError,
    MissingExtraError,
    TrainingDataError,
    UserError,
)
from imagebind_llm.data.mixture import SourceMixture
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.sources import Source, SourceSettings, open_source
from imagebind_llm.model.messages import read_messages


@pytest.fixture(scope="module", params=list(made.WRITERS))
def opened(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    if request.param.startswith("datasets"):
        pytest.importorskip("datasets")
    settings = made.WRITERS[request.param](place / "data")
    return settings, open_source(settings, place / "index")


def test_one_percent_broken_is_counted_and_the_rest_is_read(opened, tmp_path):
    _, source = opened
    quarantine = Quarantine(tmp_path / "bad.jsonl", max_rate=0.02, min_count=made.BAD)
    records = list(SourceMixture([source], [1.0], quarantine).iterate())
    assert len(records) == made.ROWS - made.BAD
    assert quarantine.counts == {source.name: made.BAD}
    assert quarantine.tried == made.ROWS
    listed = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text("utf-8").splitlines()]
    assert len({entry["key"] for entry in listed}) == made.BAD
    assert all(entry["reason"] and "\n" not in entry["reason"] for entry in listed)
    assert len({record.key for record in records}) == len(records)


def test_what_is_read_is_what_was_written(opened):
    settings, source = opened
    records = list(SourceMixture([source], [1.0], Quarantine(max_rate=1)).iterate())
    good = [row for row in range(made.ROWS) if row not in made.PLACES]
    for row, record in zip(good, records, strict=True):
        turns = read_messages(record.messages)
        media = [item for turn in turns for item in turn.media]
        if settings.kind == "alpaca":
            assert [turn.text for turn in turns] == [
                f"Say {row}." + ("\n\ntwice" if row % 2 else ""),
                f"{row}",
            ]
            assert not media
            continue
        assert made.caption(row) in turns[1].text
        if settings.kind == "llava":
            assert len(turns) == 4
            assert "<image>" not in str(record.messages)
            assert len(media) == (row % 5 != 0)
        else:
            assert turns[0].text == "Generate caption of this image"
            assert len(media) == 1
        if media:
            assert media[0].source.size == (7, 9)
            expected = np.random.default_rng(row % 10).integers(0, 256, (9, 7, 3), dtype=np.uint8)
            assert np.array_equal(np.asarray(media[0].source), expected)


def test_reading_again_and_from_the_middle_gives_the_same(opened, tmp_path):
    settings, source = opened
    again = open_source(settings, tmp_path / "other-index")
    assert again.fingerprint == source.fingerprint
    if isinstance(source, Source):
        assert len(again) == made.ROWS
        assert again.read(250).messages == source.read(250).messages
        with pytest.raises(IndexError):
            source.read(made.ROWS)
    ours = [record.key for record in SourceMixture([again], [1], Quarantine(max_rate=1)).iterate(490)]
    assert (
        ours == [r.key for r in SourceMixture([source], [1], Quarantine(max_rate=1)).iterate()][-len(ours) :]
    )
    assert len(ours) == 9


def test_nothing_is_written_beside_the_data(tmp_path):
    settings = made.write_tsv(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))
    open_source(settings, tmp_path / "index").read(0)
    assert sorted(path for path in tmp_path.rglob("*") if "index" not in path.parts) == before


def test_an_edit_changes_the_fingerprint_and_the_index(tmp_path):
    settings = made.write_tsv(tmp_path)
    first = open_source(settings, tmp_path / "index")
    with open(settings.path, "ab") as file:
        file.write(b"1.png\tone more\n")
    second = open_source(settings, tmp_path / "index")
    assert len(second) == len(first) + 1
    assert second.fingerprint != first.fingerprint
    assert second.read(made.ROWS).messages[1]["content"] == "one more"


def test_a_draw_depends_on_the_generator_only(tmp_path):
    first = open_source(made.write_tsv(tmp_path / "a"), tmp_path / "index")
    second = open_source(made.write_alpaca(tmp_path / "b"), tmp_path / "index")
    mixture = SourceMixture([first, second], [3, 1], Quarantine(max_rate=1))
    keys = [mixture.draw(np.random.default_rng((5, step))).key for step in range(400)]
    fresh = SourceMixture([first, second], [3, 1], Quarantine(max_rate=1))
    assert [fresh.draw(np.random.default_rng((5, step))).key for step in reversed(range(400))] == keys[::-1]
    share = sum(key.startswith("captions.tsv") for key in keys) / len(keys)
    assert 0.68 < share < 0.82
    assert mixture.quarantine.total > 0
    nothing = SourceMixture([first, second], [0, 1], Quarantine())
    rng = np.random.default_rng(0)
    assert all(nothing.draw(rng).source == "alpaca.json" for _ in range(50))


def test_too_many_bad_samples_stop_the_run_with_a_clear_message(tmp_path):
    made.pictures(tmp_path)
    tables = [f"{'missing' if row % 3 == 0 else row % 10}.png\tcaption" for row in range(300)]
    (tmp_path / "captions.tsv").write_text("url\tcaption\n" + "\n".join(tables))
    source = open_source(SourceSettings("tsv", str(tmp_path / "captions.tsv")), tmp_path / "index")
    quarantine = Quarantine(tmp_path / "bad.jsonl", max_rate=0.1, min_count=10)
    with pytest.raises(TrainingDataError, match=r"10 of 28 samples are bad.*0\.1.*missing\.png.*bad\.jsonl"):
        list(SourceMixture([source], [1], quarantine).iterate())
    mixture = SourceMixture([source], [1], Quarantine(max_rate=0.1, min_count=10))
    rng = np.random.default_rng(0)
    with pytest.raises(TrainingDataError, match="samples are bad"):
        [mixture.draw(rng) for _ in range(300)]


def test_a_run_where_nothing_is_good_ends(tmp_path):
    (tmp_path / "captions.tsv").write_text("url\tcaption\n" + "gone.png\ta\n" * 3)
    source = open_source(SourceSettings("tsv", str(tmp_path / "captions.tsv")), tmp_path / "index")
    with pytest.raises(TrainingDataError, match="none of 3 samples is good"):
        list(SourceMixture([source], [1]).iterate())
    with pytest.raises(TrainingDataError, match="20 of 20 samples are bad"):
        SourceMixture([source], [1]).draw(np.random.default_rng(0))


def test_a_bad_sample_is_listed_once_also_after_a_kill(tmp_path):
    path = tmp_path / "bad.jsonl"
    first = Quarantine(path, max_rate=1)
    for _ in range(3):
        first.report("a", BadSample("k1", "broken"))
    first.report("b", BadSample("k1", "broken"))
    with path.open("a") as file:
        file.write('{"source": "a", "key"')  # killed while writing
    second = Quarantine(path, max_rate=1)
    assert second.counts == {"a": 1, "b": 1}
    second.report("a", BadSample("k1", "broken"))
    second.report("a", BadSample("k2", "broken"))
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["k1", "k1", "k2"]
    assert second.summary() == "3 bad samples (a 2, b 1)"


def test_a_tar_that_was_cut_short_keeps_what_comes_before(tmp_path):
    made.write_tars(tmp_path)
    whole = (tmp_path / "00004.tar").read_bytes()
    (tmp_path / "00004.tar").write_bytes(whole[: len(whole) // 2 + 700])
    source = open_source(SourceSettings("webdataset", str(tmp_path)), tmp_path / "index")
    quarantine = Quarantine(max_rate=1)
    records = list(SourceMixture([source], [1], quarantine).iterate())
    assert 396 + 40 < len(records) < 396 + 60
    assert len(source) == len(records) + quarantine.total
    assert quarantine.total == made.BAD - 1 + 1


def test_a_meta_file_lists_tables(tmp_path):
    made.write_tsv(tmp_path / "a")
    made.write_tsv(tmp_path / "b")
    (tmp_path / "meta.yaml").write_text("META:\n- a/captions.tsv\n- b/captions.tsv\n")
    source = open_source(SourceSettings("tsv", str(tmp_path / "meta.yaml")), tmp_path / "index")
    assert len(source) == 2 * made.ROWS
    assert source.read(made.ROWS + 1).messages[0]["content"][0]["image"] == str(tmp_path / "b" / "1.png")


@pytest.mark.parametrize(
    ("name", "first", "message"),
    [
        ("a.tsv", "dog.jpg\ta dog", r"first line, 'dog.jpg', 'a dog', .*url<tab>caption on top.*--column"),
        ("a.csv", "dog.jpg,a dog", r"first line, 'dog.jpg', 'a dog', .*url,caption on top"),
        ("a.tsv", "url,caption", r"separated by commas, not tabs; say kind: csv"),
        ("a.csv", "url\tcaption", r"separated by tabs, not commas; say kind: tsv"),
        ("a.tsv", "file\ttext", r"first line, 'file', 'text', .*columns: \{image: …, caption: …\}"),
        ("a.tsv", "x" * 5000, r"first line, 'x{57}\.\.\.', "),
    ],
)
def test_a_table_without_its_header_is_told_what_to_do(tmp_path, name, first, message):
    (tmp_path / name).write_text(first + "\ndog.jpg\ta dog\n")
    with pytest.raises(TrainingDataError, match=message):
        open_source(SourceSettings(name[-3:], str(tmp_path / name)), tmp_path / "index")


@pytest.mark.parametrize("block", [1, 2, 7])
def test_lines_are_the_same_whatever_the_block(tmp_path, monkeypatch, block):
    from imagebind_llm.data.sources import tables

    text = b"a\n\r\n\nbc\r\n\n\nd\n\r\nlast"
    (tmp_path / "x").write_bytes(text)
    monkeypatch.setattr(tables, "_BLOCK", block)
    found = np.concatenate(list(tables.lines(tmp_path / "x")))
    assert [text[at:].split(b"\n")[0].strip() for at in found] == [b"a", b"bc", b"d", b"last"]


@pytest.mark.parametrize("block", [16, 100, 1000])
def test_a_json_list_is_split_whatever_the_block(tmp_path, monkeypatch, block):
    from imagebind_llm.data.sources import tables

    items = [{"text": 'brackets ]} and "quotes" 图' * (n % 4), "n": [n, {"m": n}]} for n in range(60)]
    (tmp_path / "x.json").write_text("\ufeff " + json.dumps(items, ensure_ascii=False), encoding="utf-8")
    monkeypatch.setattr(tables, "_BLOCK", block)
    files = tables.RowFiles([tmp_path / "x.json"], tables.json_items, tmp_path / "index")
    decoder = json.JSONDecoder()
    assert [decoder.raw_decode(files.text(n))[0] for n in range(len(files))] == items


def test_several_pictures_stand_where_their_marks_stand(tmp_path):
    item = {
        "image": ["a.png", "b.png"],
        "conversations": [
            {"from": "human", "value": "First: <image>"},
            {"from": "gpt", "value": "Seen."},
            {"from": "human", "value": "<image>\nAnd this?"},
            {"from": "gpt", "value": "Too."},
        ],
    }
    (tmp_path / "x.jsonl").write_text(json.dumps(item))
    record = open_source(SourceSettings("llava", str(tmp_path / "x.jsonl")), tmp_path / "index").read(0)
    first, _, second, _ = read_messages(record.messages)
    assert [item.source for item in first.media] == [str(tmp_path / "a.png")]
    assert [item.source for item in second.media] == [str(tmp_path / "b.png")]
    assert (first.text, second.text) == ("First:", "And this?")


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("x.tsv", "a\tb\n1\t2\n", "tsv", "names no columns 'url' and 'caption'"),
        ("x.tsv", "url\tcaption\n", "tsv", "holds no rows"),
        ("x.json", '[{"a": 1}, {"b" 2}]', "llava", "no valid JSON from byte 11"),
        ("x.json", "", "alpaca", "holds no rows"),
        ("x.parquet", "no", "parquet", "no readable Parquet"),
        ("x.tar", "no tar", "webdataset", None),
        ("meta.yaml", "META: [gone.tsv]", "tsv", "which is not there"),
        ("meta.yaml", "other: 1", "tsv", "no list META"),
    ],
)
def test_files_that_are_something_else_are_refused_in_one_line(tmp_path, name, content, kind, message):
    (tmp_path / name).write_text(content)
    settings = SourceSettings(kind, str(tmp_path / name))
    if message is None:  # a damaged tar is a bad sample, so that one of a thousand does not stop a run
        with pytest.raises(BadSample, match="damaged"):
            open_source(settings, tmp_path / "index").read(0)
        return
    with pytest.raises(TrainingDataError, match=message) as caught:
        open_source(settings, tmp_path / "index")
    assert "\n" not in str(caught.value)


def test_settings_name_the_nearest_column():
    with pytest.raises(ConfigError, match="did you mean 'caption'"):
        SourceSettings("tsv", "x.tsv", columns={"captoin": "text"})
    with pytest.raises(ConfigError, match="streaming"):
        SourceSettings("tsv", "x.tsv", streaming=True)
    with pytest.raises(ConfigError, match="weight is -1"):
        SourceSettings("tsv", "x.tsv", weight=-1)


def test_the_kind_is_guessed(tmp_path):
    from imagebind_llm.data.sources.guess import guess_kind

    for name, writer in made.WRITERS.items():
        if name == "datasets-stream":
            continue
        settings = writer(tmp_path / name)
        expected = "folder" if name == "folder-table" else settings.kind
        assert guess_kind(settings.path) == expected
    with pytest.raises(TrainingDataError, match="cannot tell"):
        guess_kind("someone/some-data-set")


def test_long_names_in_tars(tmp_path):
    name = "folder/" + "long" * 60
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for suffix, data in (("png", made.png()), ("txt", b"words")):
            member = tarfile.TarInfo(f"{name}.{suffix}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    source = open_source(SourceSettings("webdataset", str(tmp_path / "x.tar")), tmp_path / "index")
    assert len(source) == 1
    assert source.read(0).key == f"x.tar/{name}"
    assert source.read(0).messages[1]["content"] == "words"


def refuse_odd(record):
    number = int(record.key.rpartition(":")[2])
    if number % 2:
        raise UserError("odd")
    return number


def test_a_sample_that_cannot_be_used_is_bad_and_counted_once(tmp_path):
    """Reading succeeds, using fails: the share is that of the samples, half of them, not a third."""
    settings = made.WRITERS["alpaca"](tmp_path)
    quarantine = Quarantine(max_rate=0.9)
    mixture = SourceMixture([open_source(settings, tmp_path / "index")], [1.0], quarantine)
    rng = np.random.default_rng(0)
    drawn = [mixture.draw_as(rng, refuse_odd) for _ in range(200)]
    assert all(number % 2 == 0 for number in drawn)
    assert quarantine.tried - 200 == quarantine._bad > 150
    strict = SourceMixture(mixture.sources, [1.0], Quarantine(max_rate=0.4))
    with pytest.raises(TrainingDataError, match=r"more than the allowed share 0\.4; the last: .*: odd"):
        [strict.draw_as(rng, refuse_odd) for _ in range(200)]


def test_a_search_that_finds_nothing_ends_whatever_share_is_allowed(tmp_path):
    settings = made.WRITERS["alpaca"](tmp_path)
    mixture = SourceMixture([open_source(settings, tmp_path / "index")], [1.0], Quarantine(max_rate=1.0))

    def refuse(record):
        raise UserError("never")

    with pytest.raises(TrainingDataError, match="1000 samples drawn one after the other are bad"):
        mixture.draw_as(np.random.default_rng(0), refuse)


def test_a_missing_library_is_not_the_samples_fault(tmp_path):
    settings = made.WRITERS["alpaca"](tmp_path)
    mixture = SourceMixture([open_source(settings, tmp_path / "index")], [1.0])

    def refuse(record):
        raise MissingExtraError("install it")

    with pytest.raises(MissingExtraError, match="install it"):
        mixture.draw_as(np.random.default_rng(0), refuse)
    assert mixture.quarantine.total == 0


def test_held_out_samples_are_different_ones_of_all_sources_and_always_the_same(tmp_path):
    sources = [
        open_source(made.WRITERS[kind](tmp_path / kind), tmp_path / "index") for kind in ("tsv", "alpaca")
    ]
    mixture = SourceMixture(sources, [1.0, 0.0])
    keys = [(record.source, record.key) for record in mixture.spread(100, lambda record: record)]
    assert keys == [(record.source, record.key) for record in mixture.spread(100, lambda record: record)]
    assert 90 < len(keys) == len(set(keys)) <= 100
    assert {source for source, _ in keys} == {source.name for source in sources}
    everything = list(mixture.spread(10**6, lambda record: record.key))
    assert len(everything) == sum(map(len, sources)) - 2 * made.BAD
