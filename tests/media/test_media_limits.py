"""What small files may cost: memory and time are bounded by limits that are checked before decoding."""

import gc
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from support.media_samples import SMALL, glb, movie, npy, npz, saved, sound

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.media import Limits, MediaError, guess_modality, load_media
from imagebind_llm.media import budget as budget_module
from imagebind_llm.media.arrays import read_table
from imagebind_llm.media.audio import load_audio
from imagebind_llm.media.budget import check_time, reading, reserve
from imagebind_llm.media.image import map_of, row_blocks
from imagebind_llm.media.meshes import MeshBuilder, read_obj, read_off
from imagebind_llm.media.ply import read_ply

MEBIBYTE = 1024 * 1024


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, bits: int, colour: int, *extra: bytes, bytes_each: int = 1) -> bytes:
    """A whole PNG of zeros, small however large the picture is."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width * bytes_each)) for _ in range(height))
    body = chunk(b"IDAT", rows + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + body + chunk(b"IEND", b"")


def tags(*entries: tuple[int, int, int, int], body: bytes = b"") -> bytes:
    """A little-endian TIFF directory of ``(tag, type, count, value)``."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + bytes(4) + body


def tiff(width, height, *more, body=b"\0" * 4096, strips=(273, 4, 1, 200), sizes=(279, 4, 1, 4096), bits=8):
    first = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 1)]
    return tags(*sorted([*first, (277, 3, 1, 1), strips, sizes, *more]), body=body)


def progressive(scans: int, side: int = 4000) -> bytes:
    """A JPEG whose last scan stands in it many times."""
    data = saved(Image.new("L", (side, side), 9), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def bmp(pixels: bytes) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, 900, 900, 1, 8, 1, len(pixels), 0, 0, 256, 256)
    return b"BM" + struct.pack("<IHHI", 1078 + len(pixels), 0, 0, 1078) + head + bytes(1024) + pixels


BOMB = tags(*((1000 + n, 1, 900_000, 4000) for n in range(300)), body=bytes(910_000))
GIF = b"GIF89a" + struct.pack("<HH", 9000, 9000) + b"\x80\0\0" + bytes(6)
GIF += b"\x21\xf9\4\0\5\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0;"


_PLAIN, _LZMA = (struct.pack("<HHII", 259, 3, 1, compression) for compression in (1, 34925))


def names_of_many(count: int) -> bytes:
    return npz(**{f"a{number}": np.zeros(1) for number in range(count)})


REFUSED = {
    "strips that are missing": ("thermal", tiff(100, 100, (278, 3, 1, 1)), "1 of 100 strips"),
    "strips of no bytes": ("thermal", tiff(9, 9, sizes=(279, 4, 1, 0)), "0 of 1 strips"),
    "more strips than rows": ("image", tiff(9, 9, strips=(273, 4, 500, 200)), "500 values"),
    "a tile of 2 GB": (
        "image",
        tiff(16, 16, (322, 4, 1, 40_000), (323, 4, 1, 50_000), strips=(324, 4, 1, 200), sizes=(325, 4, 1, 9)),
        "max_decoded_bytes",
    ),
    "tags over the same bytes": ("image", tiff(9, 9, *((n, 1, 4000, 200) for n in range(400, 500))), "tags"),
    "EXIF of a PNG": ("image", png(9, 9, 8, 0, chunk(b"eXIf", BOMB)), "300 tags"),
    "EXIF of a JPEG": (
        "image",
        b"\xff\xd8\xff\xe1"
        + struct.pack(">H", 60_008)
        + b"Exif\0\0"
        + tags(*((1000 + n, 1, 40_000, 2000) for n in range(50))).ljust(60_000, b"\0")
        + saved(Image.new("L", (9, 9)), "JPEG")[2:],
        "50 tags",
    ),
    "LZMA in a TIFF": ("image", tiff(9, 9).replace(_PLAIN, _LZMA), "LZMA"),
    "scans of a JPEG": ("image", progressive(100), "scans over 16000000 pixels"),
    "chunks of a PNG": ("image", png(9, 9, 8, 0, chunk(b"abCd", b"") * 100_001), "over 100000 chunks"),
    "text of a PNG": (
        "image",
        png(9, 9, 8, 0, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(9 * MEBIBYTE)))),
        "too large",
    ),
    "profile of a PNG": (
        "image",
        png(9, 9, 8, 0, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(9 * MEBIBYTE)))),
        "too large",
    ),
    "run-length coded BMP": ("image", bmp(b"\1\1" * 2_500_000), "run-length coded BMP"),
    "PPM as text": ("image", b"P3 900 900 255\n" + b"1 " * 2_200_000, "PPM written as text"),
    "PGM of 7 bits": ("image", b"P5 2200 2200 127\n" + bytes(2200 * 2200), "its largest value"),
    "PGM with a long remark": ("image", b"P5\n#" + b"x" * 5000 + b"\n9 9 255\n" + bytes(81), "first 4096"),
    "canvas of a GIF": ("video", GIF, "41943040 pixels"),
    "archive of another compression": ("point", None, "another compression"),
    "archive of many files": ("point", names_of_many(1001), "over 1000 files"),
    "JSON of a GLB": ("point", glb({"asset": "x" * 9_000_000}, b""), "reasonable"),
    "counts of an OFF": ("point", b"OFF\n3 900000000 0\n0 0 0\n", "900000000 faces"),
}  # fmt: skip


def _other_compression() -> bytes:
    import zipfile

    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("points.npy", npy(np.zeros((9, 3))))
    return stream.getvalue()


@pytest.mark.parametrize("what", REFUSED)
def test_costly_files_are_refused_before_decoding(what, tmp_path):
    modality, data, words = REFUSED[what]
    data = _other_compression() if data is None else data
    assert len(data) < 10 * MEBIBYTE
    path = tmp_path / "costly.bin"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(MediaError) as raised:
            load_media(modality, source, SMALL)
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)


def test_pictures_at_the_edge_of_those_checks_are_read():
    tall = saved(Image.effect_noise((60, 900), 90), "TIFF", compression="tiff_lzw")
    tiled = saved(Image.effect_noise((60, 90), 90), "TIFF")
    assert load_media("image", tall, SMALL).isfinite().all()
    assert load_media("image", tiled, SMALL).isfinite().all()
    ten = saved(Image.effect_noise((300, 300), 90).convert("RGB"), "JPEG", progressive=True)
    assert ten.count(b"\xff\xda") >= 10
    assert load_media("image", ten, SMALL).isfinite().all()
    exif = Image.Exif()
    exif[274] = 6
    turned = Image.new("RGB", (40, 40), (255, 0, 0))
    turned.paste((0, 0, 255), (0, 0, 40, 20))  # blue on top becomes blue on the right
    pixels = load_media("image", saved(turned, "PNG", exif=exif), SMALL)
    assert pixels[2, 16, 28] > pixels[2, 16, 3]
    assert load_media("image", b"P5 9 9 4095\n" + bytes(162), SMALL).isfinite().all()
    assert load_media("image", bmp((b"\xff\1" * 3 + b"\x87\1\0\0") * 900 + b"\0\1"), SMALL).isfinite().all()


MEMORY = """
import resource, threading
import numpy as np, torch
from support.media_samples import SMALL
from test_media_limits import LARGE
from imagebind_llm.media import Limits, load_media
import imagebind_llm.media.image

torch.nn.functional.interpolate(torch.zeros(1, 1, 9, 9), size=(4, 4), mode="bilinear", antialias=True)
sources = {what: make() for what, (_, make, _, _, _, _) in LARGE.items()}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for what, (modality, _, expected, count, limit, most) in LARGE.items():
    found = []
    limits = Limits(max_decoded_bytes=limit)
    read = lambda: found.append(load_media(modality, sources[what], SMALL, limits))
    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(what, grown, flush=True)
    assert grown < most, what
    assert len(found) == count, what
    for tensor in found:
        np.testing.assert_allclose(tensor.numpy()[0, 9, 9], expected, atol=1e-4)
"""

LARGE = {
    "16-bit pixels": (
        "image",
        lambda: png(4000, 4000, 16, 0, bytes_each=2),
        (0 - 0.48145466) / 0.26862954,
        1,
        100_000_000,
        120,  # MB above the readers: pixels, and bytes of them
    ),
    "unpacked bytes": (
        "thermal",
        lambda: npz(thermal=np.full((4000, 4000), 51, np.uint8)),
        0.2,
        1,
        81_000_000,
        130,  # what is unpacked, and 4 bytes a pixel
    ),
    "several at once": (
        "depth",
        lambda: npz(depth=np.full((3000, 3000), 2.0)),
        (0.075 * 518.857901 / 2 / 75 - 0.0418) / 0.0295,
        4,
        220_000_000,
        330,  # 108 MB each, of which two fit at once
    ),
}
"""Small files of large media: what they become, how many at once, the limit, and the memory that may take."""


def test_memory_is_what_the_limits_say():
    here = os.path.dirname(__file__)
    paths = os.pathsep.join([here, os.path.dirname(here), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", MEMORY],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_decoded_bytes_are_limited_for_files_and_arrays_alike():
    limits = Limits(max_decoded_bytes=10_000)
    grey = np.full((60, 60), 900, np.uint16)
    for modality, source in (
        ("image", saved(Image.new("RGB", (60, 60)), "PNG")),
        ("image", Image.new("RGB", (60, 60))),
        ("image", np.zeros((60, 60, 3), np.uint8)),
        ("depth", saved(Image.fromarray(grey), "PNG")),
        ("depth", grey),
        ("thermal", npy(grey)),
        ("thermal", torch.ones(60, 60)),
        ("point", npz(points=np.zeros((900, 3)))),
        ("point", np.zeros((900, 3))),
        ("point", b"1 2 3\n" * 900),
        ("imu", np.zeros((900, 6))),
        ("imu", b"1,2,3,4,5,6\n" * 900),
        ("video", movie("mp4", "mpeg4", 3)),
    ):
        with pytest.raises(MediaError, match="max_decoded_bytes"):
            load_media(modality, source, SMALL, limits)


def test_lengths_are_limited_for_files_and_arrays_alike():
    limits = Limits(max_seconds=2, max_points=50)
    wave = np.zeros(33_000, np.float32)
    for modality, source, words in (
        ("audio", sound("WAV", seconds=2.5), "max_seconds"),
        ("audio", wave, "max_seconds"),
        ("audio", np.stack([wave, wave]), "max_seconds"),
        ("audio", {"array": wave, "sampling_rate": 16_000}, "max_seconds"),
        ("point", np.zeros((51, 3)), "max_points"),
        ("point", torch.zeros(51, 6), "max_points"),
        ("point", npy(np.zeros((51, 3))), "max_points"),
        ("imu", np.zeros((9, 6)), "max_points"),
    ):
        with pytest.raises(MediaError, match=words):
            load_media(modality, source, SMALL, limits)
    assert load_media("audio", wave[:32_000], SMALL, limits).shape == (3, 1, 64, 204)
    assert load_media("point", np.zeros((50, 3)), SMALL, limits).shape == (512, 3)


@pytest.mark.parametrize(
    ("modality", "source"),
    [
        ("point", b"1 2 3\n4 5 6 #\n" * 30_000),
        ("point", b"OFF\n3 1 0\n" + b"0 0 0\n" * 3 + b"3 0 1 2\n"),
        ("depth", np.ones((2000, 2000))),
        ("audio", sound("FLAC", seconds=3)),
        ("audio", movie("mp4", "mpeg4", 12, sound=True)),
        ("video", movie("mp4", "mpeg4", 12)),
        ("video", movie("gif", "gif", 6)),
        ("point", npz(points=np.zeros((200_000, 3)))),
    ],
)
def test_computing_time_is_limited(modality, source):
    with pytest.raises(MediaError, match="max_decode_seconds"):
        load_media(modality, source, SMALL, Limits(max_decode_seconds=1e-9))


def _check_time_for_ever():
    while True:
        check_time()


def test_time_is_computing_time_and_grows_with_the_file():
    limits = Limits(max_decode_seconds=0.2)
    with reading("here", limits):
        time.sleep(0.3)
        check_time()
    with reading("here", limits), pytest.raises(MediaError, match=r"here: not decoded after 0\.2 s"):
        _check_time_for_ever()
    with reading("here", limits):
        budget_module.allow_for(64 * MEBIBYTE)
        start = time.thread_time()
        while time.thread_time() < start + 0.3:
            check_time()


def test_media_wait_for_memory_and_give_it_back():
    limits = Limits(max_decoded_bytes=100)
    seen: list[str] = []
    first_holds, done = threading.Event(), threading.Event()

    def first():
        with reading("first", limits):
            reserve(60, "first", limits)
            seen.append("first")
            first_holds.set()
            done.wait(10)
            reserve(90, "first", limits)  # more than before: what was held is given back meanwhile
            seen.append("more")

    def second():
        first_holds.wait(10)
        with reading("second", limits):
            reserve(50, "second", limits)
            seen.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    first_holds.wait(10)
    time.sleep(0.05)
    assert seen == ["first"]
    done.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(seen) == ["first", "more", "second"]
    with reading("third", limits):  # errors give it back too
        with pytest.raises(MediaError, match="101 bytes"):
            reserve(101, "third", limits)
        reserve(100, "third", limits)
    assert budget_module._memory._used == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_does_not_wait_for_its_parent():
    limits = Limits(max_decoded_bytes=100)
    with reading("parent", limits):
        reserve(100, "parent", limits)
        child = os.fork()
        if not child:
            found = []

            def work():
                with reading("child", limits):
                    reserve(100, "child", limits)
                    found.append(1)

            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            thread.join(10)
            os._exit(0 if found else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_long_recordings_are_not_decoded_whole(tmp_path):
    import soundfile

    rate, channels, seconds = 8000, 8, 200
    wave = np.zeros((rate * seconds, channels), np.int16)
    rng = np.random.default_rng(1)
    wave[-rate * 2 :] = rng.integers(-9000, 9000, (rate * 2, channels))
    path = tmp_path / "long.flac"
    soundfile.write(path, wave, rate, subtype="PCM_16")
    assert path.stat().st_size < MEBIBYTE
    start = time.thread_time()
    ours = load_media("audio", path, SMALL)
    spent = time.thread_time() - start
    whole = load_audio(
        {"array": wave.T.astype(np.float32) / 32768, "sampling_rate": rate}, SMALL.audio, Limits()
    )
    torch.testing.assert_close(ours, whole, atol=1e-5, rtol=1e-5)
    assert (ours[2] - ours[0]).abs().max() > 1  # the noise at the end was found
    assert spent < 5


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_torn_recording_still_ends_where_it_is_torn(subtype):
    data = sound("WAV", subtype, rate=8000, seconds=40)
    torn = data[: len(data) * 19 // 20 // 4 * 4]
    whole = sound("WAV", subtype, rate=8000, seconds=38)
    gap = (load_media("audio", torn, SMALL) - load_media("audio", whole, SMALL)).abs().mean()
    assert gap < 0.05


def test_tables_in_blocks_are_those_line_by_line():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(60_000, 4)) * 10.0 ** rng.integers(-12, 12, (60_000, 4))
    lines = [" ".join(map(repr, row)) for row in values.tolist()]
    lines[7] = lines[7].replace(" ", "\t") + "\r"
    lines[20_000] = "# a remark\n\n  // another\n" + lines[20_000].replace(" ", " , ")
    lines[50_000] = lines[50_000].replace(" ", ";")
    data = ("x y z w\n" + "\n".join(lines)).encode()
    assert len(data) > 3 * MEBIBYTE
    np.testing.assert_array_equal(read_table(data, "table", Limits()), values)
    for place, line, words in (
        (40_000, "1 2 3", "line 40005 with 3 numbers; expected 4"),  # a header and three lines of remarks
        (40_000, "1 2 3 4 5", "line 40005 with 5 numbers; expected 4"),
        (40_000, "1 2\n3 4", "line 40005 with 2 numbers; expected 4"),
        (40_000, "1 2 x 4", "line 40005: 'x' is no number"),
    ):
        bad = ("x y z w\n" + "\n".join([*lines[:place], line, *lines[place + 1 :]])).encode()
        with pytest.raises(MediaError, match=words):
            read_table(bad, "table", Limits())
    with pytest.raises(MediaError, match="more than 30000 rows"):
        read_table(data, "table", Limits(max_points=30_000))


def _mesh_by_line(vertices, polygons):
    mesh = MeshBuilder("mesh", Limits())
    for row in vertices:
        mesh.vertex([repr(value).encode() for value in row])
    for polygon in polygons:
        mesh.polygon(polygon)
    return mesh.build()


def test_meshes_in_blocks_are_those_line_by_line():
    rng = np.random.default_rng(5)
    vertices = rng.normal(size=(30_000, 3)).tolist()
    polygons = [rng.integers(0, 30_000, rng.integers(3, 6)).tolist() for _ in range(40_000)]
    wanted = _mesh_by_line(vertices, polygons)
    points = [" ".join(map(repr, row)) for row in vertices]
    faces = [f"{len(polygon)} " + " ".join(map(str, polygon)) for polygon in polygons]
    slashes = ["f " + " ".join(f"{corner + 1}/7/{corner}" for corner in polygon) for polygon in polygons]
    slashes[9] = "f " + " ".join(str(corner - len(vertices)) for corner in polygons[9])  # counted backwards
    head = (
        "ply\nformat {} 1.0\nelement vertex 30000\nproperty double x\nproperty double y\nproperty double z\n"
        "element face 40000\nproperty list uchar int vertex_indices\nend_header\n"
    )
    binary = np.array(vertices, "<f8").tobytes() + b"".join(
        struct.pack(f"<B{len(polygon)}i", len(polygon), *polygon) for polygon in polygons
    )
    files = [
        (read_obj, "\n".join(["# obj", *(f"v {point}" for point in points), "vn 0 0 1", *slashes])),
        (read_off, "\n".join(["OFF", "30000 40000 0", "# rows", *points, *faces])),
        (read_off, "\n".join(["OFF30000 40000 0", *points, *(f"{face} 255 0 0" for face in faces)])),
        (read_ply, head.format("ascii") + "\n".join([*points, *faces])),
        (read_ply, head.format("binary_little_endian").encode() + binary),
    ]
    for read, text in files:
        found = read(text if isinstance(text, bytes) else text.encode(), "mesh", Limits())
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])


def test_maps_in_blocks_are_those_in_one():
    rng = np.random.default_rng(6)
    grey = rng.integers(0, 60_000, (1500, 1400), dtype=np.uint16)
    for source in (grey, Image.fromarray(grey)):
        assert len(list(row_blocks(source))) == 3
        np.testing.assert_array_equal(
            map_of(source, lambda block: block / 7).numpy(), (grey / 7).astype("f4")
        )
    for modality in ("depth", "thermal"):
        ours = load_media(modality, saved(Image.fromarray(grey), "PNG"), SMALL)
        torch.testing.assert_close(ours, load_media(modality, grey, SMALL))


def test_what_a_file_is_is_told_within_the_limits(tmp_path):
    path = tmp_path / "costly.tif"
    path.write_bytes(REFUSED["tags over the same bytes"][1])
    with pytest.raises(MediaError, match="tags"):
        guess_modality(path)


@pytest.mark.parametrize("field", ["max_decoded_bytes", "max_decode_seconds"])
def test_limits_are_positive(field):
    with pytest.raises(ConfigError, match=field):
        Limits(**{field: 0})


def test_nothing_is_held_after_all_this():
    gc.collect()
    assert budget_module._memory._used == 0
