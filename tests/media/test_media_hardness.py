"""Bad, odd and hostile files: every one ends in a MediaError or in a finite tensor of the right shape, quickly."""

# ruff: noqa: E501
import os
import resource
import signal
import struct
import sys
import time
import zipfile
import zlib
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from support.media_samples import SHAPES, SMALL, box_glb, glb, make_samples, movie, npy, npz, saved, sound

from imagebind_llm.common.errors import MissingExtraError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media import Limits, MediaError, guess_modality, load_media

SECONDS_EACH = 10.0
MEGABYTES_GROWTH = 700
LIMITS = Limits(
    max_bytes=64 * 1024 * 1024, max_pixels=4_000_000, max_seconds=600, max_points=200_000, max_frames=5_000
)


class TooSlow(BaseException):
    """Not an Exception, so that no reader can swallow it."""


@contextmanager
def alarm():
    def ring(*_):
        raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_EACH)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attempt(modality, source, label, limits=LIMITS, settings=SMALL) -> str:
    """ "error" or "tensor"; anything else fails."""
    started = time.monotonic()
    try:
        with alarm():
            tensor = load_media(modality, source, settings, limits)
    except MediaError as error:
        message, outcome = str(error), "error"
    except (TooSlow, Exception) as error:
        pytest.fail(f"{label}: {type(error).__name__}: {error}")
    else:
        assert tuple(tensor.shape) == SHAPES[Modality(modality)], label
        assert tensor.dtype == (torch.int64 if modality == Modality.TEXT else torch.float32), label
        assert torch.isfinite(tensor.float()).all(), label
        outcome = "tensor"
    if outcome == "error":
        assert "\n" not in message, label
        assert len(message) < 1200, label
    assert time.monotonic() - started < SECONDS_EACH, label
    return outcome


def mutations(data: bytes, rng: np.random.Generator):
    """Torn, flipped, zeroed, doubled and padded versions of a file."""
    for _ in range(4):
        yield "torn", data[: int(rng.integers(0, len(data)))]
    for spread in (min(64, len(data)), min(400, len(data)), len(data), len(data)):
        flipped = bytearray(data)
        for place in rng.integers(0, spread, int(rng.integers(1, 8))):
            flipped[place] ^= 1 << int(rng.integers(0, 8))
        yield f"flipped within {spread}", bytes(flipped)
    for value in (0x00, 0xFF):
        holed = bytearray(data)
        start = int(rng.integers(0, len(data)))
        holed[start : start + 40] = bytes([value]) * len(holed[start : start + 40])
        yield f"{value:02x} at {start}", bytes(holed)
    head = bytearray(data)
    head[4 : min(40, len(head))] = rng.bytes(len(head[4 : min(40, len(head))]))
    yield "random header", bytes(head)
    cut = int(rng.integers(0, len(data)))
    yield "a piece missing", data[:cut] + data[cut + int(rng.integers(1, 50)) :]
    yield "followed by junk", data + rng.bytes(100)


def test_valid_samples_load():
    samples = make_samples()
    assert len(samples) >= 55
    for sample in samples:
        tensor = load_media(sample.modality, sample.data, SMALL, LIMITS)
        assert tuple(tensor.shape) == SHAPES[sample.modality]
        assert torch.isfinite(tensor).all()


def test_mutated_and_mislabelled_files(tmp_path):
    samples, rng = make_samples(), np.random.default_rng(20)
    for sample in samples:  # what stays loaded afterwards is not growth
        load_media(sample.modality, sample.data, SMALL, LIMITS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {"error": 0, "tensor": 0}
    for number, sample in enumerate(samples):
        for kind, data in mutations(sample.data, rng):
            label = f"{sample.modality} sample {number}{sample.suffix} {kind}"
            path = tmp_path / f"odd{sample.suffix}"
            path.write_bytes(data)
            outcomes[attempt(sample.modality, path, label)] += 1
        # right content, wrong sense or wrong suffix
        other = samples[int(rng.integers(0, len(samples)))]
        outcomes[attempt(sample.modality, other.data, f"{other.suffix} as {sample.modality}")] += 1
        path = tmp_path / f"odd{other.suffix}"
        path.write_bytes(sample.data)
        outcomes[attempt(sample.modality, path, f"{sample.suffix} named {other.suffix}")] += 1
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\n{sum(outcomes.values())} odd files: {outcomes}, peak memory grew by {growth:.0f} MB")
    assert sum(outcomes.values()) >= 500
    assert outcomes["error"] >= 100
    assert outcomes["tensor"] >= 100
    assert growth < MEGABYTES_GROWTH


def png_of(width: int, height: int) -> bytes:
    """A PNG header of any size with hardly any data."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def npy_header(shape, kind="<f4", body=b"\0" * 64) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def zip_bomb() -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", npy_header((100_000_000, 3)) + b"\0" * (100 * 1024 * 1024))
    return stream.getvalue()


def wav_header(rate=16000, channels=1, declared=64, bits=16, body=b"\0" * 64) -> bytes:
    block = channels * bits // 8
    form = struct.pack(
        "<HHIIHH", 1, channels, rate & 0xFFFFFFFF, (rate * block) & 0xFFFFFFFF, block & 0xFFFF, bits
    )
    return (
        b"RIFF"
        + struct.pack("<I", declared + 36)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", declared)
        + body
    )


PLY = "ply\nformat {} 1.0\nelement vertex {}\nproperty {}\nproperty float y\nproperty float z\nend_header\n"
NAN6 = np.full((300, 6), np.nan)

REFUSED = [
    ("image", png_of(20_000, 20_000), "400000000 pixels"),
    ("image", png_of(0, 10), None),
    ("image", png_of(2**31 - 1, 2**31 - 1), None),
    ("image", b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0;", None),
    ("image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
    ("image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
    ("image", np.zeros((0, 4, 3), np.uint8), "(0, 4, 3)"),
    ("image", np.zeros((5, 4, 7), np.uint8), "(5, 4, 7)"),
    ("image", np.full((4, 4), np.nan), "NaN"),
    ("image", np.full((4, 4, 3), 300), "300"),
    ("image", np.zeros((3000, 3000, 3), np.uint8), "3000 × 3000"),
    ("image", np.array([["a"]]), "real numbers"),
    ("image", None, None),
    ("image", 7, None),
    ("depth", png_of(20_000, 20_000), "400000000 pixels"),
    ("depth", png_of(2_000, 9_000), "2000 × 9000"),
    ("depth", npy_header((100_000, 100_000)), "(100000, 100000)"),
    ("depth", npy_header((2**62, 2**62)), None),
    ("depth", npy_header((-3, 4)), None),
    ("depth", npy_header((4, 4), "|O"), "object"),
    ("depth", npy_header((4, 4), "<c8"), "complex"),
    ("depth", npy(np.zeros((40, 40))), "no valid pixel"),
    ("depth", npy(np.full((9, 9), np.nan)), "no valid pixel"),
    ("depth", npy(np.zeros((0, 9))), "(0, 9)"),
    ("depth", npy(np.zeros(9)), "(9,)"),
    ("depth", npy(np.ones((5, 6, 7))), "(5, 6, 7)"),
    ("depth", npz(a=np.ones((4, 4)), b=np.ones((4, 4))), "archive of 2"),
    ("depth", saved(Image.new("L", (9, 9), 50), "PNG"), "mode L"),
    ("depth", saved(Image.new("RGB", (9, 9)), "PNG"), "mode RGB"),
    ("depth", npy(np.ones((3000, 3000), np.float32)), "3000 × 3000"),
    ("thermal", npy(np.full((9, 9), np.inf)), "NaN or infinite"),
    ("thermal", npy(np.array([[None, {}]], object)), "object"),
    ("point", npy(np.full((9, 3), np.inf)), "no point"),
    ("point", npy(np.zeros((9, 2))), "(9, 2)"),
    ("point", npy(np.array([{"x": 1}], object)), "object"),
    ("point", npy(np.zeros((300_000, 3), np.float32)), "300000"),
    ("point", zip_bomb(), "unpacks to"),
    ("point", PLY.format("ascii", 10**15, "float x").encode(), "1000000000000000"),
    ("point", PLY.format("ascii", -5, "float x").encode(), "-5"),
    ("point", PLY.format("binary_little_endian", 150_000, "float x").encode() + b"\0" * 12, "12 bytes"),
    ("point", PLY.format("binary_little_endian", 1, "list uint float x").encode() + b"\xff" * 40, None),
    ("point", PLY.format("binary_little_endian", 0, "float x").encode(), None),
    ("point", b"\0" * 80 + struct.pack("<I", 2**32 - 1) + b"\0" * 50, None),
    ("point", b"OFF\n999999999 1 0\n0 0 0\n", "999999999"),
    ("point", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 99\n", "vertex 99"),
    ("point", b"OFF\n", None),
    ("point", b"v 1 2\n", None),
    ("point", b"v 1 2 3\nf 1 2 5\n", "vertex"),
    ("point", b"v nan nan nan\n", "no point"),
    ("point", b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 99999999\nHEIGHT 99999999\nDATA binary\n", None),
    ("point", b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 3\nDATA binary_compressed\n\0\0\0", "binary_compressed"),
    ("point", b"1 2 3\n4 5\n", "line 2"),
    ("point", b"a b c\nd e f\n", None),
    ("point", box_glb(nodes=[{"children": [0]}]), "cycle"),
    ("point", box_glb(nodes=[{"children": [1] * 3000}, {"mesh": 0, "children": [2] * 3000}, {"mesh": 0}]), None),
    ("point", box_glb(accessors=[{"componentType": 5126, "count": 10**12, "type": "VEC3"}]), "sparse"),
    ("point", box_glb(accessors=[{"bufferView": 0, "componentType": 5126, "count": 10**9, "type": "VEC3"}]), None),
    ("point", box_glb(nodes=[{"mesh": 9}]), "damaged glb"),
    ("point", glb({"buffers": [{"uri": "file:///etc/passwd"}]}, b""), "without meshes"),
    ("audio", wav_header(declared=0, body=b""), None),
    ("audio", wav_header(body=b""), None),
    ("audio", wav_header(rate=0, body=b"\0" * 64000), None),
    ("audio", wav_header(rate=2**31, body=b"\0" * 64000), None),
    ("audio", wav_header(declared=2**32 - 40, body=b"\0" * 20), None),
    ("audio", wav_header(channels=0), None),
    ("audio", sound("WAV", seconds=0.01), "0.010 s"),
    ("audio", sound("WAV", rate=1000, seconds=700), "700 s"),
    ("audio", np.full((1, 16000), np.nan, np.float32), "NaN"),
    ("audio", np.zeros((16000, 2), np.float32), "(16000, 2)"),
    ("audio", movie("mp4", "mpeg4", 8), "no audio track"),
    ("audio", b"#EXTM3U\n#EXTINF:3,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "FFmpeg"),
    ("video", sound("WAV"), "no video track"),
    ("video", b"ffconcat version 1.0\nfile /etc/passwd\n", "FFmpeg"),
    ("video", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n", "FFmpeg"),
    ("video", movie("mp4", "mpeg4", 3, size=(2400, 1800)), "2400 × 1800"),
    ("video", np.zeros((4, 9, 9, 4), np.uint8), "(4, 9, 9, 4)"),
    ("video", np.zeros((0, 9, 9, 3), np.uint8), "(0, 9, 9, 3)"),
    ("video", np.zeros((4, 9, 9, 3), np.float32), "float32"),
    ("imu", b"1,2,3,4,5\n" * 9, "(9, 5)"),
    ("imu", b"a,b,c,d,e,f\n", "no row"),
    ("imu", b"a,b,c,d,e,f\n1,2,3,4,5,6\n1,2,q,4,5,6\n", "line 3"),
    ("imu", b"1,2,3,4,5,x\n1,2,3,4,5,6\n", "line 1"),
    ("imu", npy(NAN6), "NaN"),
    ("imu", npy(np.tile([2.0, 0, 0, 0, 0, 0, 0], (9, 1))), "do not rise"),
    ("imu", npy(np.arange(700.0).reshape(100, 7) * 1000), "seconds"),
    ("imu", npy(np.full((9, 6), 1e300)), "1e+300"),
    ("imu", npy(np.zeros((0, 6))), "(0, 6)"),
    ("text", "x" * 200_000, "200000 characters"),
    ("text", b"\xff\xfe", "UTF-8"),
    ("text", 5, "int"),
    ("text", "", "without words"),
    ("text", " &nbsp;\n", "without words"),
    *((modality.value, b"", "0 bytes") for modality in Modality if modality != Modality.TEXT),
    *((modality.value, b"\0" * 5000, None) for modality in Modality if modality != Modality.TEXT),
    *((modality.value, "no/such/file.bin", "cannot be opened") for modality in Modality if modality != Modality.TEXT),
    *((modality.value, "https://example.org/a", "download") for modality in Modality if modality != Modality.TEXT),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    modality, source, words = REFUSED[number]
    assert attempt(modality, source, f"{modality} {number}") == "error"
    if words:
        with pytest.raises(MediaError, match="expected") as caught:
            load_media(modality, source, SMALL, LIMITS)
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("modality", "source", "module", "package"),
    [
        ("video", movie("mp4", "mpeg4", 2), "av", "av"),
        ("audio", sound("WAV"), "soundfile", "soundfile"),
        ("text", "a dog", "tokenizers", "tokenizers"),
        ("text", "a dog", "ftfy", "ftfy"),
    ],
)
def test_a_missing_library_is_named_with_its_remedy(monkeypatch, modality, source, module, package):
    from imagebind_llm.media.clip_vocabulary import clip_tokenizer

    clip_tokenizer.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as raised:
        load_media(modality, source, SMALL, LIMITS)
    assert str(raised.value) == (
        f"reading {modality} needs the package {package!r}, which is not installed; run: pip install {package}"
    )


def test_more_pixels_than_pillow_opens_says_what_to_raise(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(png_of(20_000, 20_000))
    for refused in (lambda: load_media("image", path, SMALL, LIMITS), lambda: guess_modality(path)):
        with pytest.raises(MediaError, match="400000000 pixels") as raised:
            refused()
        assert "raise Limits.max_pixels and PIL.Image.MAX_IMAGE_PIXELS" in raised.value.remedy


ACCEPTED = [
    ("image", saved(Image.new("RGB", (1, 1), (9, 9, 9)), "PNG")),
    ("image", saved(Image.new("RGB", (1, 30_000)), "PNG")),
    ("image", saved(Image.new("L", (30_000, 1)), "PNG")),
    ("image", saved(Image.new("F", (9, 9), 7.5), "TIFF")),
    ("image", saved(Image.new("LA", (9, 9), (7, 0)), "PNG")),
    ("image", np.ones((9, 9, 1))),
    ("image", torch.zeros(3, 9, 9)),
    ("image", np.zeros((5, 5), bool)),
    ("depth", saved(Image.fromarray(np.full((1, 1), 900, np.uint16)), "PNG")),
    ("depth", npy(np.array([[0.0, np.nan], [np.inf, 2.0]]))),
    ("depth", npy(np.full((1, 9000), 1e-300))),
    ("depth", npy(np.full((9, 9), 1e300))),
    ("depth", np.asfortranarray(np.ones((9, 9)))),
    ("thermal", npy(np.full((1, 1), 300.0))),
    ("thermal", npy(np.array([[-1.7e308, 1.7e308]]))),
    ("thermal", npy(np.ones((9, 9), np.float16))),
    ("point", npy(np.zeros((9, 3)))),
    ("point", npy(np.array([[1.7e308, -1.7e308, 0], [np.nan, 0, 0], [-1.7e308, 0, 1]]))),
    ("point", npy(np.ones((1, 9), np.int64))),
    ("point", b"v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n"),
    ("point", b"v 1e308 0 0\nv -1e308 0 0\nv 0 1e308 0\nf 1 2 3\n"),
    ("point", b"x,y,z\n1,2,3\n"),
    ("audio", sound("WAV", seconds=0.03)),
    ("audio", np.zeros(16000, np.float32)),
    ("audio", np.full((2, 16000), 1e30, np.float32)),
    ("audio", np.full((1, 9000), -32768, np.int16)),
    ("audio", sound("WAV", rate=191_999, seconds=0.2)),
    ("audio", sound("WAV", channels=40, rate=2000)),
    ("video", movie("mp4", "mpeg4", 1)),
    ("video", movie("matroska", "mpeg4", 30, size=(1000, 16))),
    ("video", np.zeros((1, 1, 1, 3), np.uint8)),
    ("video", np.zeros((3, 200, 2, 3), np.uint8)),
    ("imu", b"1 2 3 4 5 6\n"),
    ("imu", b"\xef\xbb\xbftime;a;b;c;d;e;f\n0;1;2;3;4;5;6\n0.01;1;2;3;4;5;6\n"),
    ("imu", np.zeros((9000, 6))),
    ("imu", np.zeros((6, 9000), np.float16)),
    ("text", "\ud800 half &#xD800; \0 <|endoftext|>" + "🚀" * 999),
    ("text", "a" * 100_000),
    ("text", "&amp;" * 20_000),
    ("text", b"bytes"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ACCEPTED)))
def test_odd_but_sound(number):
    modality, source = ACCEPTED[number]
    assert attempt(modality, source, f"{modality} {number}") == "tensor"


@pytest.mark.parametrize("modality", [m for m in Modality if m != Modality.TEXT])
def test_paths_that_are_no_files(tmp_path, modality):
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path, "a directory"),
        (tmp_path / "pipe", "a pipe"),
        ("/dev/zero", "device"),
        ("a\0b", ""),
    ):
        assert attempt(modality, path, str(path)) == "error"
        with pytest.raises(MediaError, match=words):
            load_media(modality, path, SMALL, LIMITS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(saved(Image.new("RGB", (9, 9)), "PNG"))
    path.chmod(0)
    with pytest.raises(MediaError, match="Permission denied"):
        load_media("image", path, SMALL)


def test_permission_error_is_a_media_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "secret.png"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(MediaError, match="Permission denied"):
        load_media("image", path, SMALL)


def test_size_limit_is_checked_before_reading(tmp_path):
    path = tmp_path / "large.npy"
    with path.open("wb") as stream:
        stream.truncate(LIMITS.max_bytes + 1)  # sparse: takes no disk
    for modality in Modality:
        if modality != Modality.TEXT:
            with pytest.raises(MediaError, match="max_bytes"):
                load_media(modality, path, SMALL, LIMITS)
