"""Word error rate of a Whisper folder on transcribed recordings.

    python benchmarks/speech_recognition.py PARTS/whisper-tiny.en asterisk-en/transcripts.csv --items 60

The table has the columns ``file_name`` and ``transcript``; ``imagebind-llm data fetch asterisk-en`` makes one
(568 recordings, of which 553 are speech with a transcript). Words are compared without case and punctuation;
the rate is the number of words put in, left out or changed for every word of the transcript. ``--items``
takes evenly spread rows.
"""

import argparse
import csv
import json
import re
import time
from pathlib import Path

from imagebind_llm.skills.tools.transcriber import Transcriber


def words(text: str) -> list[str]:
    """Lower case, without marks; an apostrophe belongs to its word."""
    return re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))


def distance(one: list[str], two: list[str]) -> int:
    """Words that have to be put in, left out or changed (Levenshtein)."""
    row = list(range(len(two) + 1))
    for number, left in enumerate(one, start=1):
        before, row[0] = row[0], number
        for place, right in enumerate(two, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (left != right))
    return row[-1]


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--items", type=int)
    given = parser.parse_args()
    with given.table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    count = min(given.items or len(rows), len(rows))
    chosen = [rows[number * len(rows) // count] for number in range(count)]
    heard = Transcriber(given.model)
    errors = total = whole = 0
    wrong = []
    started = time.perf_counter()
    for row in chosen:
        said, truth = heard.transcribe(str(given.table.parent / row["file_name"])), row["transcript"]
        found = distance(words(truth), words(said))
        errors, total, whole = errors + found, total + len(words(truth)), whole + (found == 0)
        if found:
            wrong.append([row["file_name"], truth, said])
    report = {
        "prompts": count,
        "of": len(rows),
        "words": total,
        "word_error_rate": round(errors / total, 4),
        "prompts_without_error": whole,
        "seconds": round(time.perf_counter() - started, 1),
        "wrong": wrong,
    }
    print(json.dumps(report, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
