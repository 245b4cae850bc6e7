"""SVG drawings → PNG pictures, the same on every machine."""

import re
from pathlib import Path
from types import ModuleType

from imagebind_llm.common.errors import require

SIDE = 384
"""Pixels of a picture's longer side."""
_DPI = 96
"""What CSS takes an inch for; drawings may say how large they are in millimetres or points."""
_TEXT = re.compile(rb"<(?:svg:)?(?:text|flowRoot)[\s>]")


def require_renderer() -> ModuleType:
    """The library that renders drawings.

    Raises:
        MissingExtraError: it is not installed.
    """
    return require("resvg_py", "svg", "rendering SVG drawings")


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

    from PIL import Image

    renderer = require_renderer()

    def rendered(**size: int) -> bytes:
        png: bytes = renderer.svg_to_bytes(svg_path=str(drawing), dpi=_DPI, skip_system_fonts=True, **size)
        return png

    try:
        data = rendered(width=SIDE)
        if Image.open(BytesIO(data)).height > SIDE:
            data = rendered(height=SIDE)
    except ValueError:
        return False
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(data)
    return True
