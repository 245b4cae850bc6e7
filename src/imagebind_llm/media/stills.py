"""Still pictures by their first bytes: which are read, and what the others are called when they are refused.

FFmpeg reads many of these as a video of one frame, of HEIC and AVIF one tile of it. They never reach it.
"""

import re

_READ = re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|BM|II[*+]\0|MM\0[*+]|P[1-6]\s|Pf\s|RIFF....WEBP", re.DOTALL)
_OTHERS = {
    "ICO": rb"\0\0[\x01\x02]\0[\x01-\xff]\0",
    "JPEG 2000": rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n....ftyp(?!mjp2)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG XR": rb"II\xbc",
    "Photoshop": rb"8BPS",
    "GIMP": rb"gimp xcf",
    "FITS": rb"SIMPLE  = ",
    "DDS": rb"DDS \x7c",
    "OpenEXR": rb"v/1\x01",
    "Radiance HDR": rb"#\?R(ADIANC|GB)E",
    "QOI": rb"qoif",
    "PCX": rb"\n[\x00-\x05]\x01[\x01\x02\x04\x08]",
    "SGI": rb"\x01\xda[\x00\x01][\x01\x02]",
    "ICNS": rb"icns",
    "DPX": rb"SDPX|XPDS",
    "farbfeld": rb"farbfeld",
    "PFM": rb"PF\s",
    "PAM": rb"P7\s",
    "EPS": rb"%!PS",
    "PDF": rb"%PDF-",
    "SVG": rb"\s*(<\?xml[^>]*>\s*)?(<!DOCTYPE[^>]*>\s*)?<svg\b",
}
"""Picture formats that are known by their first bytes and not read."""
_NOT_READ = {name: re.compile(pattern, re.DOTALL) for name, pattern in _OTHERS.items()}
_HEIF_BRANDS = frozenset(
    {
        b"avif",
        b"avis",
        b"mif1",
        b"mif2",
        b"msf1",
        b"heic",
        b"heix",
        b"heim",
        b"heis",
        b"hevc",
        b"hevx",
        b"hevm",
    }
    | {b"hevs", b"j2ki", b"j2is", b"jpeg", b"jpgs", b"vvic", b"evbi"}
)
"""Major brands of the High Efficiency Image File Format (ISO/IEC 23008-12) and of AVIF."""
_SEQUENCE_BRANDS = frozenset({b"avis", b"msf1", b"hevc", b"hevx", b"hevm", b"hevs", b"j2is", b"jpgs"})


def picture_kind(head: bytes) -> str | None:
    """What kind of picture a file is by its first bytes (some 100), or None if it is no picture.

    ``read`` for PNG, JPEG, WebP, GIF, BMP, TIFF, PPM; ``AVIF``, ``AVIF sequence``, ``HEIF``,
    ``HEIF sequence``; else the name of a format that is not read.
    """
    if _READ.match(head):
        return "read"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        length = int.from_bytes(head[:4], "big")
        brands = {head[place : place + 4] for place in (8, *range(16, min(length, len(head)), 4))}
        family = "AVIF" if brands & {b"avif", b"avis"} else "HEIF"
        return f"{family} sequence" if head[8:12] in _SEQUENCE_BRANDS else family
    return next((name for name, pattern in _NOT_READ.items() if pattern.match(head)), None)


def is_animated_webp(head: bytes) -> bool:
    """Whether a file's first bytes are those of a WebP with several frames (bit 1 of its ``VP8X`` chunk's
    flags)."""
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) > 20 and bool(head[20] & 2)
