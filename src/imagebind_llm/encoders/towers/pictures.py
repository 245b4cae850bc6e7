"""Pictures for a backbone: resized with Pillow, cut out, standardised, as its image processor would.

Transformers' own image processors may need torchvision; their steps are few and are done here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError, ConfigError, MediaError, short
from imagebind_llm.common.files import read_json
from imagebind_llm.common.settings import Checked
from imagebind_llm.media.base import Limits, name_of
from imagebind_llm.media.image import central_aspect, normalise_pixels, read_image, to_rgb

Filter = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
_FILTERS: tuple[Filter, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's filters; their places are Pillow's numbers, which processor files hold (``resample``)."""


@dataclass(frozen=True)
class PictureInput(Checked):
    """How a picture becomes the backbone's input."""

    height: int
    width: int
    """Pixels of the result."""
    short_side: int | None = None
    """null: the whole picture is resized to ``height`` × ``width``, whatever its shape. A number: its shorter
    side is resized to it, and the centre of ``height`` × ``width`` cut out."""
    filter: Filter = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Of RGB in 0 … 1; subtracted and divided by."""

    _may_be_zero_or_less = ("mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.short_side is not None and self.short_side < max(self.height, self.width):
            raise ConfigError(
                f"PictureInput.short_side is {self.short_side}, less than the {self.height} × {self.width} "
                "pixels to cut out of it; expected at least the larger of them"
            )

    @property
    def size(self) -> int:
        """The shorter side of the result, pixels."""
        return min(self.height, self.width)

    def load(self, source: Any, limits: Limits) -> Tensor:
        """``[3, height, width]`` float32 of any source of a picture.

        Raises:
            MediaError: not an image, damaged, or over a limit.
        """
        image = read_image(source, limits)
        try:
            image = to_rgb(image)
        except MediaError:
            raise
        except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, …
            raise MediaError(
                name_of(source), f"damaged image data ({error})", "a complete image", "save it anew"
            ) from error
        return self.prepare(image)

    def prepare(self, image: Image.Image) -> Tensor:
        """``[3, height, width]`` float32 of an RGB image."""
        kernel = Image.Resampling(_FILTERS.index(self.filter))
        if self.short_side is None:
            image = _resized(image, (self.width, self.height), kernel)
        else:
            top, left, height, width = central_aspect(image.height, image.width)
            if (width, height) != image.size:
                image = image.crop((left, top, left + width, top + height))
            least = min(width, height)
            # the longer side is cut off after the decimal point, as transformers does
            target = (self.short_side * width // least, self.short_side * height // least)
            image = _resized(image, target, kernel)
            left, top = (image.width - self.width) // 2, (image.height - self.height) // 2
            image = image.crop((left, top, left + self.width, top + self.height))
        return normalise_pixels(np.asarray(image), self.mean, self.std)


def _resized(image: Image.Image, size: tuple[int, int], kernel: Image.Resampling) -> Image.Image:
    return image if image.size == size else image.resize(size, kernel)


_SQUARE = ("ViT", "DeiT", "Beit", "Siglip")
_SHORT = ("CLIP", "ChineseCLIP", "Bit", "ConvNext")
"""Beginnings of processors' names: what one number as ``size`` means to them."""
_BYTE = 1 / 255
_CLOSE = 1e-6
_WHOLE_FROM = 384
"""From this side on, ConvNeXt's processor resizes without cutting (ConvNextImageProcessor)."""


def published_pictures(folder: Path) -> PictureInput:
    """As the processor files of a transformers folder say, in the spellings of old and new versions.

    Raises:
        CheckpointError: there are none, they leave something open, or ask for a step that is not known.
    """
    file, values = _processor(folder)
    where = f"{str(file)!r}"
    kind = str(values.get("image_processor_type") or values.get("feature_extractor_type") or "")
    for key, value in values.items():
        if key.startswith("do_") and value and key not in _STEPS:
            raise CheckpointError(f"{where} asks for {key}, which is not known here; give another backbone")
    if not values.get("do_rescale", True) or abs(values.get("rescale_factor", _BYTE) - _BYTE) > _CLOSE:
        raise CheckpointError(f"{where} scales bytes otherwise than by 1/255; give another backbone")
    number = values.get("resample")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(_FILTERS):
        raise CheckpointError(f"{where}: resample is {short(number)}; expected Pillow's number, 0 … 5")
    if not values.get("do_resize", True):
        raise CheckpointError(f"{where} does not resize pictures; give another backbone")
    height, width, least = _sizes(values, kind, where)
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if values.get("do_normalize", True):
        mean, std = (_three(values, name, where) for name in ("image_mean", "image_std"))
    try:
        return PictureInput(height, width, least, _FILTERS[number], mean, std)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from None


_STEPS = ("do_resize", "do_rescale", "do_normalize", "do_center_crop", "do_convert_rgb")


def _processor(folder: Path) -> tuple[Path, dict[str, Any]]:
    whole = folder / "processor_config.json"
    if whole.is_file():
        inner = read_json(whole).get("image_processor")
        if isinstance(inner, dict):
            return whole, inner
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        raise CheckpointError(
            f"{str(folder)!r} has no preprocessor_config.json, so it is not known how its pictures are "
            "prepared; copy that file, too"
        )
    return file, read_json(file)


def _sizes(values: Mapping[str, Any], kind: str, where: str) -> tuple[int, int, int | None]:
    """Height and width of the result, and the shorter side before cutting (None: no cutting)."""
    size = values.get("size")
    cut = bool(values.get("do_center_crop", False))
    if _is_side(size):
        if kind.startswith(_SHORT) or (not kind and cut):
            size = {"shortest_edge": size}
        elif kind.startswith(_SQUARE) or (not kind and not cut):
            size = {"height": size, "width": size}
    keys = {key for key, value in size.items() if value is not None} if isinstance(size, Mapping) else set()
    if not isinstance(size, Mapping) or not all(_is_side(size[key]) for key in keys):
        raise CheckpointError(f"{where}: size is {short(size)}; expected height and width, or shortest_edge")
    share = values.get("crop_pct")
    if keys == {"shortest_edge"} and kind.startswith("ConvNext") and isinstance(share, int | float):
        side = size["shortest_edge"]
        return side, side, int(side / share) if side < _WHOLE_FROM else None
    if share is not None:
        raise CheckpointError(f"{where}: crop_pct of {kind or 'this processor'} is not known here")
    if keys == {"height", "width"}:
        if cut and _crop(values, where) != (size["height"], size["width"]):
            raise CheckpointError(
                f"{where} resizes to {short(dict(size))} and cuts out {short(values.get('crop_size'))}; "
                "expected no cutting, or shortest_edge"
            )
        return size["height"], size["width"], None
    if keys == {"shortest_edge"} and cut:
        return (*_crop(values, where), size["shortest_edge"])
    raise CheckpointError(
        f"{where}: size is {short(dict(size))} {'with' if cut else 'without'} cutting; expected height and "
        "width, or shortest_edge with do_center_crop"
    )


def _crop(values: Mapping[str, Any], where: str) -> tuple[int, int]:
    size = values.get("crop_size")
    found = (size, size)
    if isinstance(size, Mapping):
        found = (size.get("height"), size.get("width"))
    if not all(map(_is_side, found)):
        raise CheckpointError(f"{where}: crop_size is {short(size)}; expected height and width")
    return found  # type: ignore[return-value]


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _three(values: Mapping[str, Any], name: str, where: str) -> tuple[float, float, float]:
    found = values.get(name)
    if isinstance(found, int | float) and not isinstance(found, bool):
        found = [found] * 3
    values_of = found if isinstance(found, list) else []
    if len(values_of) != 3 or not all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in values_of
    ):
        raise CheckpointError(f"{where}: {name} is {short(found)}; expected three numbers")
    return tuple(map(float, values_of))  # type: ignore[return-value]
