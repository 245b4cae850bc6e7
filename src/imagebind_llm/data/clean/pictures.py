"""What a picture looks like, as numbers. Pure functions of RGB pixels."""

import hashlib
import io
from functools import cache

import numpy as np
from PIL import Image

HASH_BITS = 64
_HASH_SIDE = 32
_HASH_LOW = 8
"""Sizes of the usual DCT hash: grey 32 × 32, of which the 8 × 8 lowest frequencies are kept."""

SIGNATURE_SIDE = 16
SIGNATURE_BYTES = SIGNATURE_SIDE * SIGNATURE_SIDE * 3


def content_hash(image: Image.Image) -> bytes:
    """16 bytes of SHA-256 over size and RGB pixels: the same for a PNG and a BMP of one picture."""
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.digest()[:16]


def contrast(image: Image.Image) -> float:
    """Largest standard deviation of a colour channel, 0 (one colour) to 127.5. Colours that differ can be
    equally light, so grey levels would not show them; of a grey picture it is that of the grey levels."""
    counts = np.asarray(image.histogram(), dtype=np.float64).reshape(-1, 256)
    shares = counts / counts.sum(1, keepdims=True)
    levels = np.arange(256)
    means = shares @ levels
    variances = (shares * (levels - means[:, None]) ** 2).sum(1)
    return float(np.sqrt(variances.max()))


def perceptual_hash(image: Image.Image) -> int:
    """64 bits: which of the 64 lowest frequencies of the cosine transform are above their median.

    Hardly moved by scaling, compression, brightness and contrast. Small drawings of the same kind (digits)
    also share many bits, so a near hash is a hint that :func:`signature` must confirm.
    """
    grey = image.convert("L").resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.LANCZOS)
    basis = _cosines()
    low = (basis @ np.asarray(grey, dtype=np.float64) @ basis.T).ravel()
    bits = low > np.median(low[1:])  # without the mean, which says nothing but brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def signature(image: Image.Image) -> bytes:
    """The picture at 16 × 16, RGB bytes."""
    reducing = max(1, min(image.width, image.height) // (4 * SIGNATURE_SIDE))
    small = image.reduce(reducing) if reducing > 1 else image  # a box filter, in two quick steps
    return small.resize((SIGNATURE_SIDE, SIGNATURE_SIDE), Image.Resampling.BOX).tobytes()


def correlations(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Likeness of a signature ``uint8 [768]`` to others ``uint8 [n, 768]``: ``float32 [n]``, -1 to 1.

    Pearson's correlation of the pixels around the mean of each channel, of the picture or of its mirror
    image, whichever is larger. Brightness, tint and contrast do not change it. 0 without contrast.
    """
    square = one.reshape(1, SIGNATURE_SIDE, SIGNATURE_SIDE, 3)
    both = _patterns(np.concatenate([square, square[:, :, ::-1]]))
    rows = _patterns(others)
    lengths = np.sqrt((rows * rows).sum(1)) * np.sqrt((both[0] * both[0]).sum())
    products = (rows @ both.T).max(1)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 1e-3)


def thumbnail(image: Image.Image, side: int) -> bytes:
    """JPEG bytes, the longer side at most ``side`` pixels; smaller pictures keep their size."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _patterns(signatures: np.ndarray) -> np.ndarray:
    """float32 ``[n, 768]``, the mean of each channel taken off."""
    values = signatures.reshape(-1, SIGNATURE_SIDE * SIGNATURE_SIDE, 3).astype(np.float32)
    values -= values.mean(1, keepdims=True)
    return values.reshape(-1, SIGNATURE_BYTES)


@cache
def _cosines() -> np.ndarray:
    """``[8, 32]``: the lowest rows of the type-II cosine transform."""
    frequency = np.arange(_HASH_LOW)[:, None]
    place = np.arange(_HASH_SIDE)[None]
    return np.cos(np.pi * (2 * place + 1) * frequency / (2 * _HASH_SIDE))
