"""A picture of what the cache found, for people."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from imagebind_llm.cache.visual_cache import Retrieved
from imagebind_llm.common.errors import CacheError

_TILE = 128
_GAP = 6
_FOOT = 16
_INK, _PALE, _PAPER, _FRAME = (20, 20, 20), (110, 110, 110), (255, 255, 255), (200, 200, 200)


def contact_sheet(
    queries: Sequence[str | Image.Image], results: Sequence[Sequence[Retrieved]], tile: int = _TILE
) -> Image.Image:
    """Draw one row for each query: the query, then what :meth:`VisualCache.explain` found, best first.

    Args:
        queries: a label or a picture for each row.
        results: for each query its pictures; a caption is drawn where there is no thumbnail. Below each
            stand its cosine and its share of the blend.
        tile: side of a tile, pixels, 32 … 1024.

    Returns:
        An RGB image. Pillow's built-in font is used, which draws Latin letters only.

    Raises:
        CacheError: nothing to draw, numbers of queries and results that differ, or a tile size out of range.
    """
    if not queries or len(queries) != len(results):
        raise CacheError(
            f"{len(queries)} queries and {len(results)} results, expected as many of both, at least 1"
        )
    if not 32 <= tile <= 1024:
        raise CacheError(f"tile size is {tile}, expected 32 to 1024 pixels")
    columns = 1 + max(len(row) for row in results)
    step_x, step_y = tile + _GAP, tile + _FOOT + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, len(queries) * step_y + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=max(9, tile // 11))
    small = ImageFont.load_default(size=11)
    for i, (query, row) in enumerate(zip(queries, results, strict=True)):
        y = _GAP + i * step_y
        if isinstance(query, str):
            _write(draw, query, _GAP, y, tile, font)
        else:
            _paste(sheet, query, _GAP, y, tile)
        draw.text((_GAP, y + tile + 1), "query", fill=_PALE, font=small)
        for j, item in enumerate(row, start=1):
            x = _GAP + j * step_x
            if item.thumbnail is not None:
                _paste(sheet, item.thumbnail, x, y, tile)
            else:
                _write(draw, item.caption or f"row {item.index}", x, y, tile, font)
            foot = f"{item.similarity:.2f}  {item.share:.0%}"
            draw.text((x, y + tile + 1), foot, fill=_PALE, font=small)
    return sheet


def _paste(sheet: Image.Image, picture: Image.Image, x: int, y: int, tile: int) -> None:
    scale = tile / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    fitted = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    sheet.paste(fitted, (x + (tile - size[0]) // 2, y + (tile - size[1]) // 2))


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    x: int,
    y: int,
    tile: int,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    draw.rectangle((x, y, x + tile - 1, y + tile - 1), outline=_FRAME)
    line_height = max(10, tile // 9)
    width = max(4, int(tile / max(1.0, font.getlength("n"))) - 1)
    for i, line in enumerate(textwrap.wrap(text, width)[: tile // line_height - 1]):
        draw.text((x + 4, y + 3 + i * line_height), line, fill=_INK, font=font)
