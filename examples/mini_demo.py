"""What ``make mini`` runs: mini is pulled if it is not there, and answers about pictures, sounds and words.

::

    python examples/mini_demo.py
    python examples/mini_demo.py --model FOLDER --no-cache

The first run downloads mini's parts (270 MB) and shows their licences; after that nothing is fetched.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from demo import _line, label, paths

QUESTIONS: list[tuple[dict[str, Any], str]] = [
    ({"image": "bird.jpg"}, "What is this?"),
    ({"image": "car.jpg"}, "What is this?"),
    ({"video": "ship.mp4"}, "What is this?"),
    ({"audio": "dog.ogg"}, "Describe this picture in one sentence."),
    ({"audio": "cat.ogg"}, "What animal makes this sound?"),
    ({"text": "two dogs run through the snow"}, "Describe this picture in one sentence."),
    ({"text": "a man rides a bicycle"}, "What is this?"),
    ({}, "Why is the sky blue? Answer in one sentence."),
]
"""Media (names in ``examples/inputs``; for text the words themselves) and a question about them. They are
chosen for what mini can do; how often it is wrong, its card tells."""
_LONGEST = 48


def main() -> int:
    """Pull if need be, ask everything and print a table."""
    parser = argparse.ArgumentParser(description="Ask mini about pictures, sounds and words.")
    parser.add_argument("--model", type=Path, help="its folder; left out: where pull puts it")
    parser.add_argument("--accept-licence", action="store_true", help="for pull, where nobody can be asked")
    parser.add_argument("--no-cache", action="store_true", help="answer without the visual cache")
    given = parser.parse_args()

    from imagebind_llm import Assistant, UserError
    from imagebind_llm.cli.app import quieten

    quieten()  # what libraries have to say would stand between the answers
    try:
        folder = given.model or pulled(given.accept_licence)
        os.environ["HF_HUB_OFFLINE"] = "1"  # all is in the folder
        start = time.perf_counter()
        bot = Assistant.from_pretrained(folder, cache=not given.no_cache)
        loaded = time.perf_counter()
        _line("INPUT", "QUESTION", "ANSWER")
        for media, question in QUESTIONS:
            answer = bot.ask(question, **paths(media), max_new_tokens=_LONGEST)
            _line(label(media) if media else "nothing", question, answer.text)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    done = time.perf_counter()
    print(
        f"\n{len(QUESTIONS)} answers in {done - loaded:.1f} s, after {loaded - start:.1f} s to load {folder}."
    )
    return 0


def pulled(accepted: bool) -> Path:
    """Mini's folder, pulled if it is not there."""
    from imagebind_llm.checkpoints.parts.pull import part_folder
    from imagebind_llm.cli import main as command

    folder = part_folder("mini")
    if not (folder / "config.json").is_file():
        try:
            command(["pull", "mini", *(["--accept-licence"] if accepted else [])])
        except SystemExit as leaving:
            if leaving.code:
                sys.exit(leaving.code)  # it has said why
    return folder


if __name__ == "__main__":
    sys.exit(main())
