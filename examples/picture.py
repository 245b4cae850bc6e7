"""Draw ``docs/demo.png``: what nano was given, what it was asked, and what it answered.

::

    python examples/picture.py            # needs matplotlib: pip install -e ".[train]"

``examples/any_to_any.py`` draws what it makes and finds.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import io
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from demo import label, paths
from matplotlib import font_manager
from PIL import Image

OUT = Path(__file__).parent.parent / "docs" / "demo.png"
COLUMNS = 4
INK, PALE, ACCENT = "#1d2433", "#6b7384", "#0b6e4f"
_CHINESE = (
    "Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Source Han Sans SC",
    "Microsoft YaHei", "PingFang SC",
)  # fmt: skip

PANELS: list[tuple[dict[str, Any], str]] = [
    ({"image": "seven.png"}, "What digit is this?"),
    ({"image": "airplane.jpg"}, "Describe this picture."),
    ({"video": "two.mp4"}, "What is written in the video?"),
    ({"audio": "four.wav"}, "Which number do you hear?"),
    ({"audio": "dog.ogg"}, "What animal makes this sound?"),
    ({"point": "airplane.glb"}, "What shape is this?"),
    ({"depth": "eight_depth.png"}, "What do you see in the depth map?"),
    ({"thermal": "three_thermal.png"}, "What is in this thermal image?"),
    ({"imu": "seven_imu.csv"}, "Which digit did I write?"),
    ({"image": "car.jpg", "audio": "bird.flac"}, "What do you see and hear?"),
    ({"image": "horse.jpg"}, "这是什么？"),
    ({"image": "noise.png"}, "What is in this image?"),
]
"""Media and question of each panel. A Chinese question is asked in English where no font can show it."""

_IN_ENGLISH = {"这是什么？": "What do you see?"}


def main() -> int:
    """Ask, and draw the answers."""
    parser = argparse.ArgumentParser(description="Draw a picture of real questions and answers.")
    parser.add_argument("--model", default="nano", help="nano, a model folder or a hub id")
    parser.add_argument("--out", type=Path, default=OUT, help="PNG file")
    given = parser.parse_args()

    from imagebind_llm import Assistant, UserError
    from imagebind_llm.cli.app import quieten

    quieten()  # what libraries have to say would stand between the answers
    installed = {font.name for font in font_manager.fontManager.ttflist}
    chinese = [name for name in _CHINESE if name in installed]
    mpl.rcParams["font.family"] = ["DejaVu Sans", *chinese]
    try:
        bot = Assistant.from_pretrained(given.model)
        rows = []
        for media, question in PANELS:
            asked = question if chinese else _IN_ENGLISH.get(question, question)
            rows.append((media, asked, bot.ask(asked, **paths(media)).text))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    given.out.parent.mkdir(parents=True, exist_ok=True)
    _draw(rows, given.out)
    return 0


def _draw(rows: list[tuple[dict[str, Any], str, str]], out: Path) -> None:
    lines = -(-len(rows) // COLUMNS)
    figure = plt.figure(figsize=(3.0 * COLUMNS, 3.55 * lines), facecolor="white")
    for number, (media, question, answer) in enumerate(rows):
        left = number % COLUMNS / COLUMNS
        bottom = 1 - (number // COLUMNS + 1) / lines
        width, height = 1 / COLUMNS, 1 / lines
        for place, (name, source) in enumerate(paths(media).items()):
            share = 1 / len(media)
            box = (left + width * (0.06 + 0.9 * share * place), bottom + 0.38 * height,
                   width * (0.88 * share - 0.02), 0.56 * height)  # fmt: skip
            show(figure, box, name, source)
        figure.text(left + 0.06 * width, bottom + 0.325 * height, label(media), color=PALE, fontsize=8.5)
        figure.text(left + 0.06 * width, bottom + 0.25 * height, question, color=INK, fontsize=11)
        figure.text(left + 0.06 * width, bottom + 0.21 * height, textwrap.fill(answer, 29), color=ACCENT,
                    fontsize=12, fontweight="bold", va="top")  # fmt: skip
    save(figure, out)


def show(figure: Any, box: tuple[float, float, float, float], name: str, source: Any) -> Any:
    """Draw a medium into ``box`` (left, bottom, width, height); returns the axes."""
    axes = figure.add_axes(box, projection="3d" if name == "point" else None)
    axes.set_axis_off()
    PICTURES[name](axes, source)
    if name not in ("audio", "imu", "point"):
        axes.set_aspect("equal")
    return axes


def save(figure: Any, out: Path) -> None:
    """Write the figure as a PNG file of 256 colours: enough, in a third of the bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    plt.close(figure)
    with Image.open(drawn) as whole:
        whole.convert("RGB").quantize(256).save(out, optimize=True)


def _image(axes: Any, path: Path) -> None:
    axes.imshow(plt.imread(path), cmap="gray")


def _video(axes: Any, path: Path) -> None:
    import av

    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, 4).astype(int)]
    edged = [np.pad(frame, ((3, 3), (3, 3), (0, 0)), constant_values=255) for frame in chosen]
    axes.imshow(np.concatenate([np.concatenate(edged[:2], 1), np.concatenate(edged[2:], 1)]))


def _audio(axes: Any, path: Path) -> None:
    import soundfile

    wave, rate = soundfile.read(path, always_2d=True)
    wave = wave.mean(1)
    axes.specgram(wave, NFFT=512, Fs=rate, noverlap=448, cmap="magma", vmin=-130)
    axes.set_ylim(0, min(4000, rate / 2))
    seconds = np.arange(len(wave)) / rate
    inset = axes.inset_axes((0, 0.78, 1, 0.22))
    inset.plot(seconds, wave, color="white", linewidth=0.4)
    inset.set_xlim(0, seconds[-1])
    inset.set_axis_off()


def _point(axes: Any, path: Path) -> None:
    from imagebind_llm.media import PointSettings
    from imagebind_llm.media.point import load_point

    x, y, z = load_point(path, PointSettings(count=2500)).numpy().T
    axes.scatter(x, z, y, s=1.6, c=y, cmap="viridis", linewidths=0)
    reach = 0.62
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
    axes.view_init(28, -125)


def _depth(axes: Any, path: Path) -> None:
    axes.imshow(plt.imread(path), cmap="viridis_r")


def _thermal(axes: Any, path: Path) -> None:
    axes.imshow(plt.imread(path), cmap="inferno")


def _imu(axes: Any, path: Path) -> None:
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    for row, column in enumerate((1, 2, 3, 4, 5, 6)):
        values = table[:, column] - table[:, column].mean()
        axes.plot(table[:, 0], values / (np.abs(values).max() + 1e-9) * 0.48 - row, linewidth=0.9)


def _text(axes: Any, words: str) -> None:
    shown = textwrap.fill(f"“{words}”", 18)
    axes.text(0.5, 0.5, shown, ha="center", va="center", fontsize=12, style="italic")


PICTURES: dict[str, Callable[[Any, Any], None]] = {
    "image": _image,
    "video": _video,
    "audio": _audio,
    "text": _text,
    "point": _point,
    "depth": _depth,
    "thermal": _thermal,
    "imu": _imu,
}
"""How a medium is drawn into axes, by modality."""

if __name__ == "__main__":
    sys.exit(main())
