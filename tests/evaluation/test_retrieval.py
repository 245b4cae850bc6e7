"""Retrieval between modalities: tables as they are published, mangled ones, and ranks worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.benchmarks import retrieval
from imagebind_llm.evaluation.benchmarks.retrieval import Retrieval, chance
from imagebind_llm.evaluation.suite import Item, check_items, suite_kind

INPUTS = Path(__file__).parents[2] / "examples" / "inputs"


def refused(words, call, *arguments, **settings):
    with pytest.raises(UserError, match=words) as caught:
        whole(call, *arguments, **settings)
    assert "\n" not in str(caught.value)


def whole(call, *arguments, **settings):
    found = call(*arguments, **settings)
    return list(found) if hasattr(found, "__next__") else found


def sums_of(samples):
    names = {name for sample in samples for name in sample.sums}
    return {name: np.float64(sum(sample.sums.get(name, 0) for sample in samples)) for name in names}


def query(key, *relevant):
    return Item(key, {"text": key}, {"relevant": list(relevant)}, unit=key)


def targets(*rows):
    return [(Item(f"t{n}", {"image": f"{n}.jpg"}, {"relevant": None}), row) for n, row in enumerate(rows)]


def judged(pairs):
    answers = [None if row is None else np.array(row, np.float64) for _, row in pairs]
    return Retrieval().judge([item for item, _ in pairs], answers)


def ranks(pairs):
    return [sample.read["rank"] for sample in judged(pairs) if sample.sums]


# --- ranks and metrics


def test_metrics_by_hand():
    # twelve targets along the axes: a query's scores are its own coordinates
    falling = np.arange(12, 0, -1) / 12
    samples = judged(
        [
            (query("a", "t0"), falling),  # rank 1
            (query("b", "t4"), falling),  # rank 5
            (query("c", "t9"), falling),  # rank 10
            (query("d", "t11"), falling),  # rank 12
            *targets(*np.eye(12)),
        ]
    )
    assert [sample.read["rank"] for sample in samples[:4]] == [1, 5, 10, 12]
    assert {sample.read["nearest"] for sample in samples[:4]} == {"t0"}
    assert samples[1].score == pytest.approx(1 / 5)
    assert all(not sample.sums for sample in samples[4:])
    found = Retrieval().metrics(sums_of(samples))
    assert [found[f"r@{depth}"] for depth in (1, 5, 10)] == [0.25, 0.5, 0.75]
    assert found["median_rank"] == 7.5
    assert [found[f"chance_r@{depth}"] for depth in (1, 5, 10)] == pytest.approx([1 / 12, 5 / 12, 10 / 12])


def test_a_picture_is_found_by_any_of_its_captions():
    # three captions belong to the picture; the best of them is second, behind one foreign caption
    pairs = [(query("picture", "t0", "t1", "t2"), [0.1, 0.8, 0.5, 0.9, 0.6]), *targets(*np.eye(5))]
    assert ranks(pairs) == [2]
    # the picture's own captions never stand before each other
    pairs = [(query("picture", "t0", "t1", "t2"), [0.9, 0.9, 0.9, 0.1, 0.6]), *targets(*np.eye(5))]
    assert ranks(pairs) == [1]


def test_ties_count_against_the_query():
    same = [0.6, 0.8]
    assert ranks([(query("a", "t0"), [1, 0]), *targets(same, same, same, [0, 1])]) == [3]
    rng = np.random.default_rng(0)
    rows = np.tile(rng.normal(size=512) / 23, (300, 1))  # one embedding for everything
    assert ranks([(query("a", "t7"), rng.normal(size=512)), *targets(*rows)]) == [300]


def test_what_could_not_be_embedded_is_last():
    pairs = [
        (query("a", "t0"), None),
        (query("b", "t1"), [0, 1]),
        (query("c", "t0"), [1, 0]),
        *targets([1, 0], None, [0, 1]),
    ]
    assert ranks(pairs) == [3, 3, 1]
    assert judged(pairs)[0].read["nearest"] is None
    refused("no text could be embedded", judged, [(query("a", "t0"), None), *targets([1, 0])])
    refused("no image could be embedded", judged, [(query("a", "t0"), [1, 0]), *targets(None)])


def test_targets_must_be_there():
    pairs = [(query("a", "t0", "t1"), [1, 0]), *targets([1, 0])]
    refused("what belongs to 'a' is not among the items", judged, pairs)


def test_ranks_do_not_depend_on_how_many_are_compared_at_once(monkeypatch):
    rng = np.random.default_rng(1)
    pairs = [(query(f"q{n}", f"t{n % 9}", f"t{(n + 4) % 9}"), rng.normal(size=6)) for n in range(40)]
    pairs += targets(*rng.normal(size=(9, 6)))
    at_once = ranks(pairs)
    scores = np.array([row for _, row in pairs[:40]]) @ np.array([row for _, row in pairs[40:]]).T
    slowly = []
    for n, row in enumerate(scores):
        mine = {n % 9, (n + 4) % 9}
        slowly.append(1 + sum(row[t] > max(row[m] for m in mine) for t in range(9) if t not in mine))
    assert at_once == slowly
    monkeypatch.setattr(retrieval, "_AT_ONCE", 30)
    assert ranks(pairs) == at_once


def test_chance_is_that_of_drawing():
    rng = np.random.default_rng(2)
    drawn = [(rng.permutation(8)[:3] < 2).any() for _ in range(20000)]
    assert chance(3, 2, 8) == pytest.approx(np.mean(drawn), abs=0.015)
    assert chance(10, 1, 4) == 1


def test_the_median_of_draws_is_that_of_the_ranks():
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 4, size=(50, 6))
    sums = {f"rank:{rank}": counts[rank - 1].astype(float) for rank in range(1, 51)}
    sums["n"] = counts.sum(axis=0).astype(float)
    expected = [np.median(np.repeat(np.arange(1, 51), draw)) for draw in counts.T]
    assert Retrieval().metrics(sums)["median_rank"].tolist() == expected
    assert np.isnan(Retrieval().metrics({"n": np.float64(0)})["median_rank"])


def test_high_ranks_are_kept_within_five_per_cent():
    for rank in [1, 99, 100, 101, 105, 106, 1000, 4999, 25010]:
        kept = retrieval._bin(rank)
        assert kept == rank if rank <= 100 else rank <= kept <= 1.05 * rank
    assert len({retrieval._bin(rank) for rank in range(1, 25011)}) < 250


# --- tables


def pictures(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def lines(root, *rows):
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root / "pairs.jsonl"


def split_items(suite, data):
    items = list(suite.items(data))
    check_items(items, suite.name)
    asked = [item for item in items if item.expected["relevant"] is not None]
    return asked, [item for item in items if item.expected["relevant"] is None]


def test_five_captions_of_a_picture(tmp_path):
    pictures(tmp_path, "a.jpg", "b.jpg")
    data = lines(
        tmp_path,
        {"image": "a.jpg", "text": ["one", "two"]},
        {"image": "a.jpg", "text": "three"},  # the picture again
        {"image": "b.jpg", "text": "one"},  # another picture's, though it reads the same
        {"image": "b.jpg", "text": "not asked", "split": "train"},
    )
    asked, found = split_items(Retrieval("text", "image"), data)
    assert [item.request["text"] for item in asked] == ["one", "two", "three", "one"]
    assert [item.request["image"] for item in found] == [str(tmp_path / name) for name in ("a.jpg", "b.jpg")]
    first, second = (item.key for item in found)
    assert [item.expected["relevant"] for item in asked] == [[first], [first], [first], [second]]
    assert [item.unit for item in asked] == [first, first, first, second]
    asked, found = split_items(Retrieval("image", "text"), data)
    assert [item.key for item in asked] == [item.unit for item in asked] == [first, second]
    assert [len(item.expected["relevant"]) for item in asked] == [3, 1]
    assert len(found) == 4
    assert len(split_items(Retrieval("text", "image", captions=1), data)[0]) == 3


def test_other_modalities_and_columns(tmp_path):
    pictures(tmp_path, "media/a.wav", "media/b.wav", "media/c.ply")
    table = tmp_path / "clotho.csv"
    table.write_text('file_name,caption_1,caption_2\na.wav,rain,water\nb.wav,"a dog, far",bark\n')
    asked, found = split_items(
        Retrieval("audio", "text", query_column="file_name", media=tmp_path / "media"), table
    )
    assert [Path(item.request["audio"]).name for item in asked] == ["a.wav", "b.wav"]
    assert [item.request["text"] for item in found] == ["rain", "water", "a dog, far", "bark"]
    rows = [{"audio": f"media/{name}.wav", "point": "media/c.ply"} for name in "ab"]
    data = lines(tmp_path, *rows)
    asked, found = split_items(Retrieval("audio", "point"), data)
    assert (len(asked), len(found)) == (2, 1)
    asked, found = split_items(Retrieval("point", "audio"), data)
    assert [len(item.expected["relevant"]) for item in asked] == [2]


def test_coco_captions(tmp_path):
    pictures(tmp_path, "val/1.jpg")
    data = tmp_path / "captions.json"
    notes = [{"image_id": 7, "id": n, "caption": f"caption {n}"} for n in range(7)]
    images = [{"id": 7, "file_name": "1.jpg"}, {"id": 8, "file_name": "without.jpg"}]
    data.write_text(json.dumps({"images": images, "annotations": notes}))
    asked, found = split_items(Retrieval(media=tmp_path / "val"), data)
    assert [item.request["text"] for item in asked] == [f"caption {n}" for n in range(5)]
    assert len(found) == 1
    assert len(split_items(Retrieval(media=tmp_path / "val", captions=0), data)[0]) == 7


def test_karpathys_splits(tmp_path):
    pictures(tmp_path, "val2014/1.jpg", "val2014/2.jpg")
    data = tmp_path / "dataset_coco.json"
    images = [
        {"filename": f"{n}.jpg", "filepath": "val2014", "split": split, "sentences": [{"raw": f"words {n}"}]}
        for n, split in [(1, "test"), (2, "val"), (3, "train")]
    ]
    data.write_text(json.dumps({"images": images, "dataset": "coco"}))
    assert [item.request["text"] for item in split_items(Retrieval(), data)[0]] == ["words 1"]
    assert [item.request["text"] for item in split_items(Retrieval(split="val"), data)[0]] == ["words 2"]
    refused("has no pairs of split 'restval'", Retrieval(split="restval").items, data)
    refused("3.jpg', which is not there", Retrieval(split="").items, data)


def test_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture = {"bytes": b"abc", "path": "a.jpg"}
    data = tmp_path / "test.parquet"
    pq.write_table(pa.table({"image": [picture, picture], "captions": [["a", "b"], ["c"]]}), data)
    asked, found = split_items(Retrieval(), data)
    assert [item.request for item in found] == [{"image": b"abc"}] * 2
    assert [len(item.expected["relevant"]) for item in asked] == [1, 1, 1]
    data.write_bytes(b"PAR1")
    refused("no readable Parquet", Retrieval().items, data)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.jsonl", "", "is empty; get the file again"),
        ("a.jsonl", '{"image": "a.jpg", "text": "x"}\n{"image"', "line 2 is not JSON"),
        ("a.jsonl", "[1]", "a.jsonl': entry 1 is 1; expected an object"),
        ("a.jsonl", '{"picture": "a.jpg", "text": "x"}', "line 1 has no 'image', only picture, text"),
        ("a.jsonl", '{"image": "a.jpg", "words": "x"}', "line 1 has no 'text', only image, words"),
        ("a.jsonl", '{"image": "a.jpg", "text": []}', "line 1 has .. for a text"),
        ("a.jsonl", '{"image": "a.jpg", "text": null}', "line 1 has None for a text"),
        ("a.jsonl", '{"image": "a.jpg", "text": ["x", " "]}', "line 1 has ' ' for a text"),
        ("a.jsonl", '{"image": "a.jpg", "text": 3}', "line 1 has 3 for a text"),
        ("a.jsonl", '{"image": 3, "text": "x"}', "line 1 has 3 for a medium"),
        ("a.jsonl", '{"image": "b.jpg", "text": "x"}', "line 1 names .*b.jpg', which is not there"),
        ("a.csv", "image,text\na.jpg\n", "line 2 has 1 cells; expected 2"),
        ("a.tsv", "image\ttext\n", "has no rows"),
        ("a.json", "[]", "a.json' holds a list; expected an object"),
        ("a.json", "{}", "has no list 'images'; expected COCO captions or Karpathy's"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"images": [{"id": 1}], "annotations": [{"caption": "x"}]}', "entry 1 has no 'image_id'"),
        (
            "a.json",
            '{"images": [{"id": [1]}], "annotations": [{"image_id": 1, "caption": "x"}]}',
            "entry 1: 'id' is .1.; expected",
        ),
        ("a.json", '{"images": [3]}', "a.json': 'images': entry 1 is 3; expected an object"),
        ("a.json", '{"images": [{"filename": "a.jpg"}]}', "entry 1 has no 'sentences'; it has filename"),
        ("a.xlsx", "", "called as no table"),
    ],
)
def test_mangled_tables(tmp_path, name, text, words):
    pictures(tmp_path, "a.jpg")
    (tmp_path / name).write_text(text)
    refused(words, Retrieval().items, tmp_path / name)


def test_what_makes_no_retrieval(tmp_path):
    refused("give two modalities", Retrieval, "image", "image")
    refused("expected 1 or more", Retrieval, captions=-1)
    refused("needs --data: a table of pairs", Retrieval().items, None)
    refused("is a folder", Retrieval().items, tmp_path)
    refused("no file or folder '.*gone.jsonl'", Retrieval().items, tmp_path / "gone.jsonl")
    refused("no file or folder '.*gone.json'", Retrieval().items, tmp_path / "gone.json")


# --- end to end


def test_nano_finds_pictures_by_sound_and_words(tmp_path):
    from imagebind_llm.inference.assistant import Assistant
    from imagebind_llm.model.messages import media_items

    bot = Assistant.from_pretrained("nano", device="cpu")
    sounds = {"dog": "dog.ogg", "bird": "bird.flac"}
    rows = [{"image": f"{n}.jpg", "audio": s, "text": f"a photo of a {n}."} for n, s in sounds.items()]
    data = lines(tmp_path, *rows)
    for side, least in (("audio", 0.5), ("text", 0.75)):
        suite = suite_kind("retrieval").make(query=side, target="image", media=INPUTS)
        items = list(suite.items(data))
        answers = [row.numpy() for row in bot.iter_embed(media_items(item.request)[0] for item in items)]
        samples = suite.judge(items, answers)
        found = suite.metrics(sums_of(samples))
        assert found["r@1"] >= least
        assert found["r@5"] == 1
        assert found["chance_r@1"] == pytest.approx(1 / 2)
        assert 1 <= found["median_rank"] <= 2


def test_it_states_its_facts():
    kind = suite_kind("retrieval")
    assert kind.make().asks == "embeddings"
    assert kind.make().main in Retrieval().metrics({"n": np.float64(1)})
    assert "42.3" in kind.facts.published
    assert all((kind.summary, kind.facts.layout, kind.facts.metric, kind.facts.source, kind.facts.licence))
