"""SVG drawings → PNG pictures, the same on every machine."""

import re
from pathlib import Path

from imagebind_llm.common.errors import require

SIDE = 384
"""Pixels of a picture's longer side."""
_TEXT = re.compile(rb"<(?:svg:)?(?:text|flowRoot)[\s>]")


def require_renderer() -> None:
    """Make sure that drawings can be rendered.

    Raises:
        MissingExtraError: they cannot.
    """
    require("resvg_py", "svg", "rendering SVG drawings")


def has_letters(drawing: Path) -> bool:
    """Whether a drawing holds text, which looks otherwise with the fonts of another machine."""
    return bool(_TEXT.search(drawing.read_bytes()))


def render(drawing: Path, picture: Path) -> bool:
    """Render a drawing with a transparent ground; fonts of this machine are not used.

    Args:
        drawing: the SVG file.
        picture: the PNG file, longer side :data:`SIDE`.

    Returns:
        Whether it could be rendered.
    """
    from io import BytesIO

    import resvg_py
    from PIL import Image

    def rendered(**size: int) -> bytes:
        return resvg_py.svg_to_bytes(
            svg_path=str(drawing), resources_dir=str(drawing.parent), dpi=96.0, skip_system_fonts=True, **size
        )

    try:
        data = rendered(width=SIDE)
        if Image.open(BytesIO(data)).height > SIDE:
            data = rendered(height=SIDE)
    except ValueError:
        return False
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(data)
    return True
