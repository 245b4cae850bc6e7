"""Every benchmark runs from end to end and prints all of its rows. Its numbers are not looked at here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

ROWS = {
    "decode.py": [
        "| context tokens of 0, 1 and 3 media |",
        "| key-value entries of a condition | 0 | 0: met |",
        "| logits with gates at 0 | identical",
        "| nano | 1 | step, 4 rounds |",
        "| nano | 1 | generate, 2 rounds |",
        "| nano | 4 | step, 4 rounds |",
        "| nano | 4 | generate, 2 rounds |",
        "| nano, value | 1 | step, 4 rounds |",
        "| nano, value+updates | 1 | step, 4 rounds |",
        "| nano, value+updates | 4 | generate, 2 rounds |",
    ],
    "encoding.py": [
        "| nano | image |",
        "| nano | sound, three clips |",
        "| nano | sound of 2 s or less |",
        "| nano | film, 15 crops |",
        "| nano | square film |",
    ],
    "against_original.py": [
        "| original | 1 |",
        "| ours | 1 |",
        "| ours | 4 |",
    ],
    "evaluating.py": ["| random, nano's size |"],
    "serving.py": [
        "| one at a time | 1 |",
        "| one at a time | 4 |",
        "| continuous batching | 1 |",
        "| continuous batching | 4 |",
        "greedy answers as Assistant.ask: 6 of 6; seeded ones as when alone: 2 of 2",
    ],
    "soak.py": [
        "| answered | 180 |",
        "| cancelled | 10 |",
        "| refused | 10 |",
        "left inside: nothing",
    ],
    "training.py": [
        "| 1 | packed, precomputed |",
        "| 1 | padded to 96, precomputed |",
        "| 1 | plain: padded to 96, online |",
        "| 2 | packed |",
        "| 2 | plain: padded to 512 |",
        "| stage 1 |",
        "| stage 2 |",
    ],
    "pretraining.py": [
        "| packed, precomputed |",
        "| padded to 96, precomputed |",
        "| plain: padded to 96, online |",
        "| stage 1 |",
    ],
    "condition_tokens.py": [
        "| nano | 1 vector | 1 | step |",
        "| nano | 4 vectors | 1 | step |",
        "| nano | 4 vectors | 1 | prompt |",
        "| nano | 4 vectors | 1 | condition |",
        "| nano | 4 vectors | 1 | training |",
        "| nano | 4 vectors | memory |",
    ],
    "cold_start.py": [
        "| (a) `import torch, transformers` |",
        "| (b) importing `LlamaForCausalLM` and `AutoTokenizer` |",
        "| (c) that, and loading the bare weights |",
        "| `imagebind-llm ask` |",
    ],
    "batch.py": [
        "| `ask --batch`, whole process |",
        "| one process, one after another |",
        "| a process each (from 1) |",
        "| import |",
        "| load the model |",
        "| … decode media (in threads) |",
        "| … encode |",
        "| … language model |",
    ],
}
"""Script → how the rows of its tables begin."""


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.timeout(900)
@pytest.mark.parametrize("script", ROWS)
def test_all_rows_are_there(script: str) -> None:
    printed = run(script, "--smoke")
    lines = printed.splitlines()
    for beginning in ROWS[script]:
        (row,) = [line for line in lines if line.startswith(beginning)]
        assert "nan" not in row.split()
    for fact in ("- command: ", "- commit: ", "- machine: ", "- versions: ", "load average after"):
        assert any(line.startswith(fact) for line in lines), fact


def test_cache_rows_are_there() -> None:
    printed = run("cache.py", "--rows", "300", "--dim", "16", "--queries", "5", "--kinds", "exact")
    assert printed.count("| 300 | exact |") == 2


def test_what_a_folder_holds_is_told_by_name_and_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from drawn_media import complete, draw_media, files_by_modality

    found = files_by_modality(draw_media(tmp_path / "drawn"))
    assert {modality.value for modality in found} == {
        "image", "video", "audio", "point", "depth", "thermal", "imu",
    }  # fmt: skip
    images_only = {modality: files for modality, files in found.items() if modality.value == "image"}
    media, missing = complete(images_only, tmp_path / "more")
    assert set(media) == set(found)
    assert "image" not in missing
    assert len(missing) == 6
