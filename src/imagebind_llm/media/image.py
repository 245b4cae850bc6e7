"""Still images: PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, AVIF, HEIC → ``[3, size, size]`` float32.

Of an animation or a file of several pages the first one is taken. HEIC needs the extra ``heif``.

Pixels are resized with Pillow's bicubic filter (short side first), centre cropped, divided by 255 and
standardised with CLIP's mean and deviation, as ImageBind does. Orientation tags are obeyed. Alpha is
dropped unless the settings say otherwise. The resizing of one-channel maps (depth, thermal) is here too.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError, features
from torch import Tensor

from imagebind_llm.common.errors import MediaError, require
from imagebind_llm.media.arrays import as_array, check_finite
from imagebind_llm.media.base import Limits, MediaSource, is_encoded, name_of, read_source
from imagebind_llm.media.budget import check_time, reserve
from imagebind_llm.media.picture_headers import check_picture, check_tags
from imagebind_llm.media.settings import ImageSettings
from imagebind_llm.media.stills import picture_kind

LONGEST_ASPECT = 16
"""Maps more elongated than this are cut to it around their centre before resizing: a 1 × 20000 image scaled
to a short side of 224 would otherwise need a billion pixels, of which the centre crop keeps a square."""


def central_aspect(height: int, width: int, aspect: int = LONGEST_ASPECT) -> tuple[int, int, int, int]:
    """Top, left, height and width of the central region whose sides differ by at most ``aspect``."""
    new_height, new_width = min(height, width * aspect), min(width, height * aspect)
    return (height - new_height) // 2, (width - new_width) // 2, new_height, new_width


def resize_map(values: Tensor, size: int) -> Tensor:
    """A map ``[H, W]`` as ``[1, size, size]``: short side resized (bilinear, antialiased), centre crop."""
    top, left, height, width = central_aspect(*values.shape)
    values = values[top : top + height, left : left + width]
    short = min(height, width)
    target = (max(size, size * height // short), max(size, size * width // short))
    image = values[None, None]
    if target != (height, width):
        image = torch.nn.functional.interpolate(
            image, size=target, mode="bilinear", align_corners=False, antialias=True
        )
    top, left = round((target[0] - size) / 2), round((target[1] - size) / 2)
    return image[0, :, top : top + size, left : left + size].contiguous()


FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What every Pillow reads; AVIF and HEIC are added for files that are such. Only formats whose decoders are
bounded (Pillow would also start Ghostscript for EPS)."""
_SUBFILE, _REDUCED = 254, 1
"""TIFF's tag NewSubfileType, and its value for "a reduced-resolution version of another image" (TIFF 6.0)."""
_EXPECTED = "PNG, JPEG, WebP, GIF, BMP, TIFF, PPM, AVIF or HEIC"

_BACKGROUNDS = {"white": 255, "black": 0}


def load_image(source: MediaSource, settings: ImageSettings, limits: Limits | None = None) -> torch.Tensor:
    """``[3, size, size]`` of a path, bytes, PIL image, or array ``[H, W]``, ``[H, W, 1|3|4]`` or ``[3, H,
    W]``.

    Raises:
        MediaError: not an image, damaged, or more than ``limits.max_pixels``.
    """
    return image_to_tensor(read_image(source, limits or Limits()), settings, name_of(source))


def read_image(source: MediaSource, limits: Limits) -> Image.Image:
    """Any source as an upright PIL image of any mode, checked against ``limits``.

    Raises:
        MediaError: not an image, damaged, or more than ``limits.max_pixels``.
    """
    name = name_of(source)
    if is_encoded(source):
        return open_image(read_source(source, limits), name, limits)
    if isinstance(source, Image.Image):
        check_pixels(source.size, name, limits)
        _reserve(source, 0, name, limits)
        return loaded(source, name)
    return _from_array(source, name, limits)


def image_to_tensor(image: Image.Image, settings: ImageSettings, name: str = "image") -> torch.Tensor:
    """``[3, size, size]`` float32 of a PIL image of any mode."""
    return normalise_pixels(resized_pixels(image, settings, name), settings.mean, settings.std)


def normalise_pixels(
    pixels: np.ndarray, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> torch.Tensor:
    """RGB bytes ``[H, W, 3]`` as ``[3, H, W]``, divided by 255 and standardised per channel."""
    values = torch.tensor(pixels).permute(2, 0, 1).contiguous().float().div_(255)
    return values.sub_(torch.tensor(mean)[:, None, None]).div_(torch.tensor(std)[:, None, None])


def resized_pixels(image: Image.Image, settings: ImageSettings, name: str = "image") -> np.ndarray:
    """The centre square as bytes ``[size, size, 3]``, before normalisation."""
    try:
        image = _eight_bits(image, settings.alpha)
    except MediaError:
        raise
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, struct.error, …
        raise MediaError(name, f"damaged image data ({error})", "a complete image", "save it anew") from error
    width, height = image.size
    top, left, height, width = central_aspect(height, width)
    if (width, height) != image.size:
        image = image.crop((left, top, left + width, top + height))
    size, short = settings.size, min(width, height)
    target = (int(size * width / short), int(size * height / short))
    if target != image.size:
        image = image.resize(target, Image.Resampling.BICUBIC)
    left, top = round((target[0] - size) / 2), round((target[1] - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)).convert("RGB"))


def to_rgb(image: Image.Image, alpha: str = "drop") -> Image.Image:
    """Any mode as 8-bit RGB: 16-bit and float greys are scaled, not clipped. CIELAB becomes sRGB."""
    image = _eight_bits(image, alpha)
    return image.convert("RGB") if image.mode != "RGB" else image


def _eight_bits(image: Image.Image, alpha: str) -> Image.Image:
    """As :func:`to_rgb`, but greys stay one channel, which takes a quarter of the memory."""
    if image.mode == "LAB":
        return _from_lab(image)
    if image.mode == "La":  # premultiplied; Pillow converts it to nothing else
        image = image.convert("LA")
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_grey_bytes(image))
    if alpha != "drop" and (image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info):
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (_BACKGROUNDS[alpha],) * 3 + (255,))
        image = Image.alpha_composite(ground, rgba)
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    return image.convert(mode) if image.mode != mode else image


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        raise ValueError("CIELAB that does not convert")
    return converted


def _grey_bytes(image: Image.Image) -> np.ndarray:
    """A grey image of more than 8 bits as bytes ``[H, W]``."""
    low, high = np.inf, -np.inf
    for _, block in row_blocks(image):
        check_finite(block, "image", "pixel")
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    base, top = 0.0, 65535.0 if image.mode.startswith("I") else 1.0
    if low < 0 or high > top:  # no agreed range: stretch what is there
        base, top = low, max(high - low, 1e-12)
    grey = np.empty((image.height, image.width), np.uint8)
    for rows, block in row_blocks(image):
        grey[rows] = (block.astype(np.float64) - base) * (255.0 / top) + 0.5
    return grey


_BLOCK_PIXELS = 1 << 20


def row_blocks(values: np.ndarray | Image.Image) -> Iterator[tuple[slice, np.ndarray]]:
    """A map ``[H, W]``, or an image, some rows at a time, so that what is computed from it stays small."""
    width, height = values.size if isinstance(values, Image.Image) else values.shape[::-1]
    step = max(1, _BLOCK_PIXELS // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        if isinstance(values, Image.Image):
            yield rows, np.asarray(values.crop((0, top, width, rows.stop)))
        else:
            yield rows, values[rows]


MAP_BYTES = 4
"""Of each pixel of a map that :func:`map_of` makes."""


def map_of(values: np.ndarray | Image.Image, convert: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """A map ``[H, W]`` float32 of ``convert`` applied to each block of rows."""
    width, height = values.size if isinstance(values, Image.Image) else (values.shape[1], values.shape[0])
    result = np.empty((height, width), np.float32)
    for rows, block in row_blocks(values):
        check_time()
        result[rows] = convert(block)
    return torch.from_numpy(result)


def open_image(data: bytes, name: str, limits: Limits, as_map: bool = False) -> Image.Image:
    """Decode the first frame, upright.

    Args:
        data: the file.
        name: how errors call it.
        limits: checked on headers, before anything is decoded.
        as_map: its pixels will become one channel of floats.

    Raises:
        MediaError: not an image of a known format, damaged, or over a limit.
    """
    further = check_picture(data, name, limits)
    image = read_header(BytesIO(data), name, limits)
    further += _CANVASES.get(image.format or "", 0) * image.width * image.height
    _check_exif(image, name)
    _reserve(image, further, name, limits, as_map)
    return loaded(image, name)


def read_header(stream: BinaryIO, name: str, limits: Limits) -> Image.Image:
    """An image of which only the header has been read.

    Raises:
        MediaError: not an image of a known format, or too large.
    """
    stream.seek(0)
    formats = _formats(picture_kind(stream.read(256)), name)
    stream.seek(0)
    try:
        image: Image.Image = Image.open(stream, formats=formats)
    except UnidentifiedImageError as error:
        raise MediaError(name, "not a readable image, or a damaged one", _EXPECTED, "convert it") from error
    except Image.DecompressionBombError as error:  # Pillow has a limit of its own
        raise MediaError(
            name,
            str(error),
            f"at most {limits.max_pixels} pixels",
            "make it smaller, or raise Limits.max_pixels and PIL.Image.MAX_IMAGE_PIXELS",
        ) from error
    except Exception as error:
        raise MediaError(name, f"not a readable image ({error})", _EXPECTED, "convert it") from error
    check_pixels(image.size, name, limits)
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_SUBFILE, 0) == _REDUCED:
        raise MediaError(
            name,
            "a TIFF that begins with a thumbnail, as the raw files of cameras do",
            "the picture first",
            "convert it to PNG or JPEG",
        )
    return image


def _formats(kind: str | None, name: str) -> tuple[str, ...]:
    """The Pillow formats to try for a file whose first bytes are those of ``kind``.

    Raises:
        MediaError: a format that is not read.
        MissingExtraError: HEIC without ``pillow-heif``.
    """
    if kind in (None, "read"):
        return FORMATS
    if kind in ("AVIF", "AVIF sequence"):
        if not features.check("avif"):
            raise MediaError(
                name, "an AVIF picture", "a Pillow that reads it (11.3 or newer)", "pip install -U pillow"
            )
        return ("AVIF",)
    if kind == "HEIF":
        require("pillow_heif", "heif", "reading HEIC").register_heif_opener(thumbnails=False)
        return ("HEIF",)
    raise MediaError(name, f"not a readable image (the format {kind})", _EXPECTED, "convert it to PNG")


_CANVASES = {"WEBP": 12, "AVIF": 12, "HEIF": 12}
"""Bytes a pixel that the libraries of these formats take besides Pillow's image."""
_TURNED = 274
"""The EXIF tag of the orientation (1: upright)."""


def _check_exif(image: Image.Image, name: str) -> None:
    exif = image.info.get("exif")
    if isinstance(exif, bytes):
        check_tags(exif.removeprefix(b"Exif\0\0"), name)


def _reserve(image: Image.Image, further: int, name: str, limits: Limits, as_map: bool = False) -> None:
    """Make room for an image, a turned copy of it, and what is made of it: RGB, or a map of floats."""
    mode = image.mode
    each = {"1": 1, "L": 1, "P": 1}.get(mode, 2 if mode.startswith("I;16") else 4)
    grey = each < 4 or mode in ("I", "F")
    made = (4 if grey else 5) if as_map else 0 if mode == "RGB" else 4
    if "exif" in image.info or image.format == "TIFF":  # else Pillow would decode a PNG to look for it
        each *= 2 if _is_turned(image) else 1
    reserve(image.width * image.height * (each + made) + further, name, limits)


def loaded(image: Image.Image, name: str) -> Image.Image:
    """The image decoded, and turned as its orientation tag says.

    Raises:
        MediaError: its data are damaged.
    """
    kind = image.format or "image"
    try:
        image.load()
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, struct.error, …
        raise MediaError(
            name, f"damaged {kind} data ({error})", "a complete image", "copy or save it anew"
        ) from error
    with suppress(Exception):  # a damaged orientation tag is no reason to refuse good pixels
        if _is_turned(image):  # else it would be copied all the same
            image = ImageOps.exif_transpose(image)
    return image


def _is_turned(image: Image.Image) -> bool:
    with suppress(Exception):
        return bool(image.getexif().get(_TURNED, 1) != 1)
    return False


def check_pixels(size: tuple[int, int], name: str, limits: Limits) -> None:
    """Refuse images without pixels or with too many."""
    if min(size) < 1 or size[0] * size[1] > limits.max_pixels:
        raise MediaError(
            name,
            f"{size[0]} × {size[1]} pixels",
            f"1 to {limits.max_pixels} in all",
            "make it smaller or raise Limits.max_pixels",
        )


def _from_array(source: object, name: str, limits: Limits) -> Image.Image:
    values = as_array(source, name)
    if values.ndim == 3 and values.shape[0] in (1, 3, 4) and values.shape[2] not in (1, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or 0 in values.shape or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise MediaError(
            name, f"an array of shape {values.shape}", "[H, W], [H, W, 3] or [3, H, W]", "reshape it"
        )
    check_pixels((values.shape[1], values.shape[0]), name, limits)
    reserve(2 * values.size + 4 * values.shape[0] * values.shape[1], name, limits)
    if values.dtype.kind == "f":
        check_finite(values, name, "pixel")
        if values.min() < 0 or values.max() > 1:
            raise MediaError(
                name,
                f"floats in {values.min():.4g}..{values.max():.4g}",
                "floats in 0..1",
                _mapping(float(values.min()), float(values.max())),
            )
        values = _bytes_of(values)
    elif values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    elif values.dtype != np.uint8:
        if values.min() < 0 or values.max() > 255:
            raise MediaError(
                name, f"integers in {values.min()}..{values.max()}", "0..255", "scale them to bytes"
            )
        values = values.astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(values))


def _mapping(low: float, high: float) -> str:
    """What brings floats of this range into 0..1."""
    if low >= 0:
        return "divide by 255" if high <= 255 else "divide by the largest"
    if low >= -1 and high <= 1:
        return "map -1..1 with x * 0.5 + 0.5"
    return "undo the normalisation with x * std + mean"


def _bytes_of(values: np.ndarray) -> np.ndarray:
    """Floats in 0..1 as bytes."""
    pixels = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), step := max(1, _BLOCK_PIXELS // values.shape[1])):
        rows = slice(top, top + step)
        pixels[rows] = values[rows] * 255 + 0.5
    return pixels
