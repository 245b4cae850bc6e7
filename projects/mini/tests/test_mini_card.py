"""Mini's card: every row of the results stands in it, weak ones too, and a changed digit is found."""

import json
import re

import pytest
import yaml

from imagebind_llm.checkpoints.registry import read_registry
from mini_lab import card
from mini_lab.measures.captions import METRICS
from mini_lab.measures.parts import PARTS
from mini_lab.measures.photographs import ENCODER, SPOKEN
from mini_lab.measures.sounds import SHARE
from mini_lab.measures.tables import goal, table


def row(name, columns, value, n=40, **more):
    found = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return {"name": name, "n": n, "units": n, "metrics": {column: dict(found) for column in columns}, **more}


def made(title, *tables, **more):
    return {"title": title, "notes": [f"What {title} is."], "tables": list(tables), "goals": [], **more}


@pytest.fixture
def results():
    """Results in the form of the measurement, with numbers that can be told apart."""
    greedy = row("mini, greedy", METRICS, 0.1234)
    bins = [{"n": 4, "confidence": 0.5, "right": 0.25, "low": 0.1, "high": 0.6}]
    calibration = {"n": 40, "confidence": 0.5, "right": 0.4, "separation": 0.71, "bins": bins}
    calibration["error"] = {"value": 0.0987, "low": 0.05, "high": 0.2}
    named = table(
        "The spoken answer", SPOKEN, [row("mini, cache off", SPOKEN, 0.3111, note="1 was not read")]
    )
    heard = table("The spoken answer", SHARE, [row("asked for an animal, cache on", SHARE, 0.0567, 116)])
    parts = {
        "captions": made(
            "Captions",
            table("Flickr8k", METRICS, [greedy, row("mini, no picture", METRICS, 0.0112)]),
            goals=[goal("BLEU-4", 0.19, greedy, "BLEU-4")],
        ),
        "photographs": made(
            "Photographs", table("Encoder", ENCODER, [row("encoder", ENCODER, 0.7222)]), named
        ),
        "retrieval": made("Retrieval", table("R", {"r@1": "share"}, [row("text → image", ["r@1"], 0.0444)])),
        "sounds": made(
            "Sounds",
            table("Encoder", {"right": "share"}, [row("nearest", ["right"], 0.9)]),
            heard,
            calibration={"sounds, cache on": calibration},
        ),
        "furniture": made("Furniture"),
        "text": made("Text", table("Perplexity", {"ratio": "points"}, [row("plain", ["ratio"], 1.0777)])),
        "cost": made("Time", table("One", {"load, s": "points"}, [row("image, int8", ["load, s"], 3.25, 5)])),
    }
    assert list(parts) == list(PARTS)
    model = {
        "name": "mini",
        "stage": "finetune",
        "parameters": {"total": 135_000_000, "bind": 5_000_000},
        "fingerprints": {"encoder": "e" * 16, "language_model": "f" * 16},
        "weights_sha256": "a" * 64,
        "cache": {},
        "cache_pictures": 6000,
        "embedding_dim": 1280,
    }
    return {
        "schema": 1,
        "task": "mini",
        "model": model,
        "settings": {"limit": None, "caption_question": "What?", "decoding": "greedy"},
        "environment": {"versions": {"torch": "2.11"}, "commit": "c" * 40},
        "commits": ["c" * 40],
        "parts": parts,
        "seconds": dict.fromkeys(parts, 1.0),
    }


@pytest.fixture
def file(results, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path / "results.json"


def run(*arguments):
    return card.main([str(argument) for argument in arguments])


def test_every_number_is_there_with_n_and_interval(results):
    text = card.model_card(results)
    for name, part in results["parts"].items():
        for one in part["tables"]:
            for found in one["rows"]:
                line = next(line for line in text.splitlines() if line.startswith(f"| {found['name']} | "))
                assert f"| {found['n']} |" in line, name
                value = next(iter(found["metrics"].values()))["value"]
                unit = next(iter(one["columns"].values()))
                assert (f"{100 * value:.1f} (" if unit == "share" else f"{value:.4g} (") in line, name
    assert "| BLEU-4 | 40 | ≥ 19 | 12.3 (11.3–13.3) | no |" in text
    assert "| sounds, cache on | 40 | 50.0 | 40.0 | 9.9 (5.0–20.0) | 0.710 |" in text
    assert "mini, cache off: 1 was not read." in text
    assert "What Furniture is." in text


def test_front_matter_says_research_only(results):
    matter = yaml.safe_load(card.model_card(results).split("---\n")[1])
    assert (matter["license"], matter["license_name"]) == ("other", "research-only")
    entries = matter["model-index"][0]["results"]
    assert [len(entry["metrics"]) for entry in entries] == [7, 7, 3, 2]
    assert entries[0]["metrics"][0]["value"] == 12.34


def test_parts_stand_there_with_licence_and_sha256(results):
    text, known = card.model_card(results), read_registry()
    for name in card.MINI_PARTS.values():
        line = next(line for line in text.splitlines() if f"`{name}`" in line and line.startswith("|"))
        assert known[name].licence in line
        assert known[name].package.package.sha256 in line
    assert set(card.MINI_PARTS.values()) == set(known["mini"].bundle.parts.values())


def test_a_changed_digit_is_found(file, tmp_path, capsys):
    place = tmp_path / "MODEL_CARD.md"
    assert run("--results", file, "--out", place, "--check") == 2
    assert "write it first" in capsys.readouterr().err
    assert run("--results", file, "--out", place) == 0
    assert run("--results", file, "--out", place, "--check") == 0
    capsys.readouterr()
    text = place.read_text()
    place.write_text(text.replace("12.3 (11.3", "12.4 (11.3", 1))
    assert run("--results", file, "--out", place, "--check") == 1
    said = capsys.readouterr().err
    assert re.search(r"line \d+ is .*12\.4 \(11\.3.*; the results give .*12\.3 \(11\.3", said)
    place.write_text(text + "more\n")
    assert run("--results", file, "--out", place, "--check") == 1


def test_results_that_lack_a_part_give_no_card(results, tmp_path, capsys):
    del results["parts"]["text"]
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert run("--results", tmp_path / "results.json", "--out", tmp_path / "card.md") == 2
    assert "the results lack text" in capsys.readouterr().err
    assert not (tmp_path / "card.md").exists()


def test_a_quick_look_is_said_to_be_one(results):
    results["settings"]["limit"] = 20
    text = card.model_card(results)
    assert "At most 20 items" in text
    assert "--out runs/mini/results --items 20" in text
