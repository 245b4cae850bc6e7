"""What ``make demo`` runs: real questions about every kind of media, answered by nano on this machine.

::

    python examples/demo.py
    python examples/demo.py --model my-model --no-cache
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import sys
import time
import unicodedata
from pathlib import Path
from typing import Any

INPUTS = Path(__file__).parent / "inputs"

QUESTIONS: list[tuple[dict[str, Any], str]] = [
    ({"image": "seven.png"}, "What digit is this?"),
    ({"image": "three.jpg"}, "Is it odd or even?"),
    ({"image": "airplane.jpg"}, "Describe this picture."),
    ({"image": "ship.jpg"}, "Can it fly?"),
    ({"audio": "four.wav"}, "Which number do you hear?"),
    ({"audio": "dog.ogg"}, "What animal makes this sound?"),
    ({"video": "two.mp4"}, "What is written in the video?"),
    ({"point": "airplane.glb"}, "What shape is this?"),
    ({"depth": "eight_depth.png"}, "What do you see in the depth map?"),
    ({"thermal": "three_thermal.png"}, "What is in this thermal image?"),
    ({"imu": "seven_imu.csv"}, "Which digit did I write?"),
    ({"text": "a photo of a ship"}, "What is it?"),
    ({"image": "car.jpg", "audio": "bird.flac"}, "What do you see and hear?"),
    ({"image": [("seven.png", 0.5), ("two.jpg", 0.5)]}, "What are the two digits?"),
    ({"image": "horse.jpg"}, "这是什么？"),
    ({"audio": "cat.ogg"}, "这是什么动物的声音？"),
    ({"image": "noise.png"}, "What is in this image?"),
    ({"audio": "white_noise.wav"}, "What do you hear?"),
]
"""Media (names in ``examples/inputs``; for text the words themselves) and a question about them."""

DIALOG: list[tuple[dict[str, Any], str]] = [
    ({"image": "three.jpg"}, "Which digit do you see?"),
    ({}, "What comes after it?"),
    ({"audio": "nine.flac"}, "And what do you hear now?"),
    ({}, "Is it odd or even?"),
]
"""Turns of one chat; a turn without media goes on about the last ones."""


def main() -> int:
    """Ask everything and print a table."""
    parser = argparse.ArgumentParser(description="Ask nano about every kind of media.")
    parser.add_argument("--model", default="nano", help="nano, a model folder or a hub id")
    parser.add_argument("--no-cache", action="store_true", help="answer without the visual cache")
    given = parser.parse_args()

    from imagebind_llm import Assistant, UserError
    from imagebind_llm.cli.app import quieten

    quieten()  # what libraries have to say would stand between the answers
    options = {"cache": False} if given.no_cache else {}
    start = time.perf_counter()
    try:
        bot = Assistant.from_pretrained(given.model)
        loaded = time.perf_counter()
        _line("INPUT", "QUESTION", "ANSWER")
        for media, question in QUESTIONS:
            answer = bot.ask(question, **paths(media), **options)
            _line(label(media), question, answer.text)
        print("\nA dialog:")
        chat = bot.chat(**options)
        for media, question in DIALOG:
            _line(label(media) if media else "", question, chat.send(question, **paths(media)).text)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    done = time.perf_counter()
    count = len(QUESTIONS) + len(DIALOG)
    print(f"\n{count} answers in {done - loaded:.1f} s, after {loaded - start:.1f} s to load the model.")
    return 0


def paths(media: dict[str, Any]) -> dict[str, Any]:
    """Media with the full paths of their files."""

    def full(value: Any) -> Any:
        if isinstance(value, list):
            return [full(item) for item in value]
        if isinstance(value, tuple):
            return full(value[0]), value[1]
        return INPUTS / value

    return {name: value if name == "text" else full(value) for name, value in media.items()}


def label(media: dict[str, Any]) -> str:
    """Media in a few words."""
    named = []
    for name, value in media.items():
        for item in value if isinstance(value, list) else [value]:
            source = item[0] if isinstance(item, tuple) else item
            named.append(f'text "{source}"' if name == "text" else f"{name} {source}")
    return " + ".join(named)


def _line(*cells: str) -> None:
    widths = (36, 36, 0)
    padded = (cell + " " * max(width - _width(cell), 0) for cell, width in zip(cells, widths, strict=True))
    print("  ".join(padded).rstrip(), flush=True)


def _width(text: str) -> int:
    """Columns in a terminal; Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


if __name__ == "__main__":
    sys.exit(main())
