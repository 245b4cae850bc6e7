"""Draw ``docs/any-to-any.png``: what nano was given, what was asked for, and what it made, found or said.

::

    python examples/any_to_any.py         # needs matplotlib and the extras generate, detect
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import io
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from demo import INPUTS, label, paths
from matplotlib import pyplot as plt
from picture import ACCENT, INK, PALE, save, show
from PIL import Image

OUT = Path(__file__).parent.parent / "docs" / "any-to-any.png"
COLUMNS = 3
SCENE = "scene.png"
PANELS: list[tuple[dict[str, Any], str]] = [
    ({"audio": "eight.ogg"}, "Draw what you hear."),
    ({"video": "two.mp4"}, "Draw a picture of this."),
    ({"imu": "seven_imu.csv"}, "Draw a picture of this."),
    ({"audio": "dog.ogg"}, "Turn this sound into a picture."),
    ({"text": "I would love to have a ship."}, "Draw a picture of this."),
    ({"thermal": "three_thermal.png"}, "Make a 3D shape of this."),
    ({"image": SCENE, "audio": "dog.ogg"}, "Where is what you hear?"),
    ({"image": "car.jpg", "audio": "bird.flac"}, "What do you see and hear?"),
    ({"image": "seven.png", "audio": "four.wav"}, "Add the number you see and the number you hear."),
]
"""Media and request of each panel."""


def main() -> int:
    """Ask, and draw what comes back."""
    parser = argparse.ArgumentParser(description="Draw what nano makes, finds and says.")
    parser.add_argument("--model", default="nano", help="nano, a model folder or a hub id")
    parser.add_argument("--out", type=Path, default=OUT, help="PNG file")
    given = parser.parse_args()

    from imagebind_llm import Assistant, UserError
    from imagebind_llm.cli.app import quieten
    from imagebind_llm.skills.tools import CALCULATOR, DETECTOR, GENERATOR, ToolUser

    quieten()
    with tempfile.TemporaryDirectory() as folder:
        scene(Path(folder) / SCENE)
        try:
            user = ToolUser(Assistant.from_pretrained(given.model), [CALCULATOR, GENERATOR, DETECTOR])
            rows = []
            for media, request in PANELS:
                found = {
                    name: Path(folder) / SCENE if medium == SCENE else paths({name: medium})[name]
                    for name, medium in media.items()
                }
                rows.append((media, found, request, user.ask(request, **found)))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        given.out.parent.mkdir(parents=True, exist_ok=True)
        draw(rows, given.out)
    return 0


def scene(path: Path) -> None:
    """A picture of three things."""
    found = Image.new("RGB", (208, 120), (235, 230, 210))
    for place, name in (((12, 40), "seven.png"), ((80, 12), "dog.jpg"), ((144, 56), "ship.jpg")):
        found.paste(Image.open(INPUTS / name).convert("RGB").resize((52, 52)), place)
    found.save(path)


def draw(rows: list[tuple[dict[str, Any], dict[str, Any], str, Any]], out: Path) -> None:
    """Write the sheet: media on the left of an arrow, what came back on the right."""
    lines = -(-len(rows) // COLUMNS)
    figure = plt.figure(figsize=(4.4 * COLUMNS, 2.9 * lines), facecolor="white")
    width, height = 1 / COLUMNS, 1 / lines
    for number, (media, found, request, answer) in enumerate(rows):
        left, bottom = number % COLUMNS * width, 1 - (number // COLUMNS + 1) * height
        base, tall = bottom + 0.32 * height, 0.6 * height
        share = 0.42 * width / len(found)
        for place, (name, source) in enumerate(found.items()):
            show(figure, (left + 0.04 * width + share * place, base, share * 0.92, tall), name, source)
        figure.text(
            left + 0.49 * width, base + tall / 2, "→", color=PALE, fontsize=20, ha="center", va="center"
        )
        box = (left + 0.54 * width, base, 0.42 * width, tall)
        if not made(figure, box, answer):
            words = textwrap.fill(answer.text, 18)
            figure.text(
                box[0], base + tall / 2, words, color=ACCENT, fontsize=14, fontweight="bold", va="center"
            )
        figure.text(left + 0.04 * width, bottom + 0.22 * height, label(media), color=PALE, fontsize=8.5)
        figure.text(left + 0.04 * width, bottom + 0.12 * height, request, color=INK, fontsize=11)
    save(figure, out)


def made(figure: Any, box: tuple[float, float, float, float], answer: Any) -> bool:
    """Draw the first picture or shape of an answer, if there is one."""
    for file in answer.made:
        if file.media_type.startswith("image/"):
            axes = figure.add_axes(box)
            axes.set_axis_off()
            with Image.open(io.BytesIO(file.data)) as picture:
                axes.imshow(np.asarray(picture.convert("RGB")), interpolation="bicubic")
            return True
        if file.name.endswith((".glb", ".ply")):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / file.name
                path.write_bytes(file.data)
                show(figure, box, "point", path).view_init(12, -70)
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
