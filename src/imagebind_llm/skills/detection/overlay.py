"""A picture with its boxes drawn in: numbers, labels and scores, a colour for each prompt."""

from PIL import Image, ImageDraw, ImageFont

from imagebind_llm.skills.detection.results import Detections

COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Okabe and Ito's colours, which people with any colour vision can tell apart."""
_LEAST_SIDE = 480
"""Pixels of the longer side of an overlay: smaller pictures are magnified, so that labels can be read."""


def overlay(detections: Detections) -> Image.Image:
    """An RGB picture with the boxes; small ones are magnified by a whole factor."""
    factor = max(1, _LEAST_SIDE // max(detections.picture.size))
    size = (detections.picture.width * factor, detections.picture.height * factor)
    picture = detections.picture.resize(size, Image.Resampling.NEAREST) if factor > 1 else None
    drawn = picture or detections.picture.copy()
    draw = ImageDraw.Draw(drawn)
    line = max(2, max(size) // 300)
    font = ImageFont.load_default(max(12, max(size) // 48))
    shown = {one.prompt: one.label for one in detections if _drawable(one.label, font)}
    for one in reversed(detections.found):  # the best on top
        colour = COLOURS[one.prompt % len(COLOURS)]
        x0, y0, x1, y1 = (value * factor for value in one.box)
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=line)
        label = shown.get(one.prompt, f"prompt {one.prompt + 1}")
        _sign(draw, f"{one.number} {label} {one.score:.2f}", (x0, y0, y1), colour, font, size)
    return drawn


def _sign(
    draw: ImageDraw.ImageDraw,
    words: str,
    place: tuple[float, float, float],
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Words on a coloured ground above a box; below or inside it where there is no room."""
    left, top, bottom = place
    box = draw.textbbox((0, 0), words, font=font)
    width, height = box[2] + 6, box[3] + 4
    x = min(max(0.0, left), max(0.0, size[0] - width))
    y = top - height if top >= height else bottom if bottom + height <= size[1] else top
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    draw.text((x + 3, y + 1), words, fill=(0, 0, 0), font=font)


def _drawable(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> bool:
    """Whether Pillow's own font has all signs of these words (it has no Chinese). A box whose label it cannot
    draw is signed with the number of its prompt, from 1, in the order in which prompts were given."""
    return all(_has(font, sign) for sign in set(words))


_NO_SIGN = "\U0010ffff"
"""A code point that no font has a glyph for; what is drawn instead is what a missing glyph looks like."""


def _has(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, sign: str) -> bool:
    try:
        drawn, missing = font.getmask(sign), font.getmask(_NO_SIGN)
    except UnicodeEncodeError:  # a bitmap font (of Pillow without FreeType) has Latin-1 only
        return sign.isascii()
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)
