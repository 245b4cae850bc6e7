"""Word error rate of a Whisper folder on transcribed recordings.

    python benchmarks/speech_recognition.py PARTS/whisper-tiny.en asterisk-en/transcripts.csv

The table has the columns ``file_name`` and ``transcript``; ``imagebind-llm data fetch asterisk-en`` makes one
(568 recordings, of which 553 are speech with a transcript). Words are compared without case and punctuation;
the rate is the number of words put in, left out or changed for every word of the transcript. ``--items``
takes evenly spread rows. With ``--kept`` a run that was stopped goes on where it was.
"""

import argparse
import csv
import json
from pathlib import Path

from word_errors import distance, error_rate, recognised, words

from imagebind_llm.common.files import sha256
from imagebind_llm.skills.tools.transcriber import Transcriber


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--items", type=int)
    parser.add_argument("--kept", type=Path, metavar="FILE.jsonl")
    given = parser.parse_args()
    with given.table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    count = min(given.items or len(rows), len(rows))
    truths = {
        row["file_name"]: row["transcript"]
        for row in (rows[number * len(rows) // count] for number in range(count))
    }
    heard = Transcriber(given.model)
    of = {"model": sha256(given.model / "model.safetensors"), "table": sha256(given.table)}
    found = recognised(truths, lambda name: heard.transcribe(str(given.table.parent / name)), given.kept, of)
    report = {
        "transcribed": len(rows),
        "word_errors": error_rate((truth, found[name]) for name, truth in truths.items()),
        "wrong": [
            [name, truth, found[name]]
            for name, truth in truths.items()
            if distance(words(truth), words(found[name]))
        ],
    }
    print(json.dumps(report, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
