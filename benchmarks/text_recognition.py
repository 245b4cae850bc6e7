"""Word error rate of the tool ``ocr`` on printed text that is drawn here.

    python benchmarks/text_recognition.py --items 200 --kept read.jsonl

Each picture has one to three lines of two to five words or numbers, in one of six fonts (that of Pillow, and
five that matplotlib brings), 14 to 48 pixels high, dark on light or light on dark, on a plain or a shaded
background, turned by up to 10 degrees, with noise. The same seed draws the same pictures. Words are compared
without case and marks (:mod:`word_errors`), in the order in which they are read; characters also without
spaces, which the recogniser often leaves out.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from word_errors import characters, distance, error_rate, recognised, words

from imagebind_llm.skills.tools.text_reader import TextReader

FONTS = ("", "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")
WORDS = """
about above after again animal answer apple arrive autumn bakery bread bridge bright bring butter camera
castle change cheese church city clean closed coffee cold corner country daily danger delivery doctor
door early east emergency engine entrance evening exit family ferry fire flight floor flower forest
fresh friend front garden gate glass green ground group hall harbour heavy history hospital hotel house
important inside island journey kitchen lake large left letter library light lunch machine market
meeting middle milk minutes monday morning mountain museum music narrow night north number ocean office
open orange outside paper park people picture platform please police press price private public quick
quiet railway ready river road room safety school season second service shop silver simple south special
spring square station stop street summer supper table ticket today tower train travel tuesday under
upper valley village visit walk warm water weather west white window winter wood work yellow young
""".split()  # noqa: SIM905


def drawn(random: np.random.Generator) -> tuple[Image.Image, str, dict[str, Any]]:
    """A picture, what stands in it, and how it was made."""
    size, name = int(random.integers(14, 49)), FONTS[random.integers(len(FONTS))]
    angle, noise = float(random.uniform(-10, 10)), float(random.uniform(0, 20))
    dark, light = int(random.integers(0, 90)), int(random.integers(165, 256))
    if random.random() < 0.3:
        dark, light = light, dark
    lines = [
        " ".join(_word(random) for _ in range(random.integers(2, 6))) for _ in range(random.integers(1, 4))
    ]
    font = _font(name, size)
    boxes = [font.getbbox(line) for line in lines]
    step = round(1.5 * size)
    width, height = math.ceil(max(box[2] for box in boxes)) + 2 * size, step * len(lines) + 2 * size
    shade = (
        np.linspace(0, random.uniform(-40, 40), width)[None, :].repeat(height, 0)
        if random.random() < 0.5
        else 0
    )
    background = np.clip(np.full((height, width), float(light)) + shade, 0, 255).astype(np.uint8)
    image = Image.fromarray(background)
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        pen.text((size, size + step * number), line, fill=dark, font=font)
    image = image.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=light)
    pixels = np.asarray(image, np.float64) + random.normal(0, noise, (image.height, image.width))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert("RGB")
    return (
        image,
        "\n".join(lines),
        {"size": size, "font": name or "Pillow", "angle": abs(angle), "noise": noise},
    )


def _word(random: np.random.Generator) -> str:
    if random.random() < 0.15:
        return str(random.integers(1, 10_000))
    word = WORDS[random.integers(len(WORDS))]
    return (word, word.capitalize(), word.upper())[random.integers(3)]


def _font(name: str, size: int) -> Any:
    if not name:
        return ImageFont.load_default(size)
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, metavar="FILE.jsonl")
    given = parser.parse_args()
    made = {str(number): drawn(np.random.default_rng([given.seed, number])) for number in range(given.items)}
    reader = TextReader()

    def read(name: str) -> str:
        return "\n".join(line.text for line in reader.read(made[name][0]))

    found = recognised(made, read, given.kept, {"seed": given.seed, "drawing": 1})
    groups = {
        "size below 24": lambda how: how["size"] < 24,
        "size from 24": lambda how: how["size"] >= 24,
        "turned by less than 5 degrees": lambda how: how["angle"] < 5,
        "turned by 5 degrees or more": lambda how: how["angle"] >= 5,
        **{
            f"font {font or 'Pillow'}": (lambda how, font=font: how["font"] == (font or "Pillow"))
            for font in FONTS
        },
    }

    def rates(chosen: list[str]) -> dict[str, Any]:
        pairs = [(made[name][1], found[name]) for name in chosen]
        return {"word_errors": error_rate(pairs), "character_errors": error_rate(pairs, characters)}

    report = rates(list(made))
    report["groups"] = {
        title: rates(chosen)
        for title, belongs in groups.items()
        if (chosen := [name for name in made if belongs(made[name][2])])
    }
    report["wrong"] = [
        [name, made[name][1], found[name]]
        for name in made
        if distance(words(made[name][1]), words(found[name]))
    ]
    print(json.dumps(report, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
