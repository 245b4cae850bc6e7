"""Small valid files of every kind, made on the spot."""

# ruff: noqa: E501
import json
import struct
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from imagebind_llm.common.modality import Modality
from imagebind_llm.media import (
    AudioSettings,
    DepthSettings,
    ImageSettings,
    MediaSettings,
    PointSettings,
    ThermalSettings,
    VideoSettings,
)

SMALL = MediaSettings(
    image=ImageSettings(size=32),
    video=VideoSettings(size=32),
    audio=AudioSettings(mel_bins=64, high_hz=3500.0),
    point=PointSettings(count=512),
    depth=DepthSettings(size=32),
    thermal=ThermalSettings(size=32),
)

SHAPES = {
    Modality.IMAGE: (3, 32, 32),
    Modality.VIDEO: (15, 3, 2, 32, 32),
    Modality.AUDIO: (3, 1, 64, 204),
    Modality.TEXT: (77,),
    Modality.POINT: (512, 3),
    Modality.DEPTH: (1, 32, 32),
    Modality.THERMAL: (1, 32, 32),
    Modality.IMU: (6, 2000),
}


class Sample(NamedTuple):
    modality: Modality
    suffix: str
    data: bytes


def make_samples() -> list[Sample]:
    """About forty valid files: every modality, every container and variant that is read."""
    rng = np.random.default_rng(7)
    return [*_images(rng), *_sounds(rng), *_videos(rng), *_shapes(rng), *_maps(rng), *_recordings(rng)]


def picture(rng: np.random.Generator, height: int = 40, width: int = 56) -> np.ndarray:
    ramp = np.linspace(0, 200, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return (ramp + rng.integers(0, 15, (height, width, 3))).astype(np.uint8)


def saved(image: Image.Image, form: str, **options) -> bytes:
    stream = BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def npy(values: np.ndarray) -> bytes:
    stream = BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


def npz(**values: np.ndarray) -> bytes:
    stream = BytesIO()
    np.savez_compressed(stream, **values)
    return stream.getvalue()


def movie(form: str, codec: str, frames: int = 20, sound: bool = False, size=(64, 48)) -> bytes:
    import av

    stream, rng = BytesIO(), np.random.default_rng(3)
    with av.open(stream, "w", format=form) as container:
        track = container.add_stream(codec, rate=10)
        track.width, track.height = size
        track.pix_fmt = "rgb8" if codec == "gif" else "yuvj420p" if codec == "mjpeg" else "yuv420p"
        voice = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for number in range(frames):
            pixels = np.roll(picture(rng, size[1], size[0]), number, axis=1)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=track.pix_fmt)
            for packet in track.encode(frame):
                container.mux(packet)
        for packet in track.encode(None):
            container.mux(packet)
        if voice is not None:
            wave = (rng.normal(0, 0.1, (1, 32000))).astype(np.float32)
            sound_frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            sound_frame.sample_rate = 16000
            for packet in [*voice.encode(sound_frame), *voice.encode(None)]:
                container.mux(packet)
    return stream.getvalue()


def sound(
    form: str, subtype: str | None = None, rate: int = 8000, channels: int = 1, seconds: float = 1.3
) -> bytes:
    import soundfile

    time = np.arange(int(rate * seconds)) / rate
    wave = np.stack([0.3 * np.sin(2 * np.pi * (300 + 200 * c) * time) for c in range(channels)], axis=1)
    stream = BytesIO()
    soundfile.write(stream, wave, rate, format=form, subtype=subtype)
    return stream.getvalue()


def box() -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 2) for z in (0, 3)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array(quads)


def glb(document: dict, binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<II", len(text), 0x4E4F534A)
        + text
        + struct.pack("<II", len(binary), 0x004E4942)
        + binary
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def box_glb(**changes: object) -> bytes:
    corners, quads = box()
    triangles = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]]).astype("<u2")
    binary = corners.astype("<f4").tobytes() + triangles.tobytes()
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "translation": [1, 2, 3], "rotation": [0, 0.6, 0, 0.8]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": triangles.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 96},
            {"buffer": 0, "byteOffset": 96, "byteLength": triangles.nbytes},
        ],
        "buffers": [{"byteLength": len(binary)}],
    }
    return glb(document | changes, binary)


def _images(rng):
    photo = Image.fromarray(picture(rng))
    grey16 = Image.fromarray(picture(rng)[:, :, 0].astype(np.uint16) * 200)
    forms = [
        (".png", photo, "PNG", {}),
        (".png", photo.convert("RGBA"), "PNG", {}),
        (".png", photo.convert("P"), "PNG", {"transparency": 3}),
        (".png", photo.convert("L"), "PNG", {}),
        (".png", photo.convert("1"), "PNG", {}),
        (".png", grey16, "PNG", {}),
        (".jpg", photo, "JPEG", {}),
        (".jpg", photo.convert("CMYK"), "JPEG", {}),
        (".jpg", photo, "JPEG", {"progressive": True}),
        (".webp", photo, "WEBP", {"lossless": True}),
        (".gif", photo, "GIF", {"save_all": True, "append_images": [photo.rotate(90)]}),
        (".bmp", photo, "BMP", {}),
        (".tif", photo, "TIFF", {"compression": "tiff_lzw"}),
    ]
    return [
        Sample(Modality.IMAGE, suffix, saved(image, form, **options))
        for suffix, image, form, options in forms
    ]


def _sounds(rng):
    files = [
        (".wav", sound("WAV", "PCM_16")),
        (".wav", sound("WAV", "PCM_24", rate=44100, channels=2)),
        (".wav", sound("WAV", "FLOAT", rate=16000)),
        (".wav", sound("WAV", "PCM_U8", rate=11025)),
        (".flac", sound("FLAC", rate=22050, channels=3)),
        (".ogg", sound("OGG", "VORBIS", rate=48000)),
        (".mp3", sound("MP3", rate=16000)),
        (".m4a", movie("mp4", "mpeg4", 12, sound=True)),
        (".mkv", movie("matroska", "mpeg4", 12, sound=True)),
    ]
    return [Sample(Modality.AUDIO, *file) for file in files]


def _videos(rng):
    files = [
        (".mp4", movie("mp4", "mpeg4")),
        (".mp4", movie("mp4", "libx264", 35)),
        (".mkv", movie("matroska", "mpeg4", sound=True)),
        (".avi", movie("avi", "mpeg4")),
        (".avi", movie("avi", "mjpeg", 8)),
        (".webm", movie("webm", "libvpx", 12)),
        (".ts", movie("mpegts", "mpeg2video", 12)),
        (".gif", movie("gif", "gif", 6)),
    ]
    return [Sample(Modality.VIDEO, *file) for file in files]


def _shapes(rng):
    cloud = rng.normal(size=(700, 3)).astype(np.float32)
    corners, quads = box()
    rows = "\n".join(" ".join(f"{value:.5f}" for value in row) for row in cloud)
    header = "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n{}end_header\n"
    faces = "element face 6\nproperty list uchar int vertex_indices\n"
    little = b"".join(struct.pack("<B4i", 4, *quad) for quad in quads)
    pcd = "# .PCD v.7\nVERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 700\nHEIGHT 1\nPOINTS 700\nDATA {}\n"
    obj = "".join("v {} {} {}\n".format(*corner) for corner in corners)
    obj += "".join("f {}/1 {}/2 {} {}\n".format(*(quad + 1)) for quad in quads)
    off = "OFF\n8 6 0\n" + "".join("{} {} {}\n".format(*corner) for corner in corners)
    off += "".join("4 {} {} {} {}\n".format(*quad) for quad in quads)
    triangle = np.zeros(12, [("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])
    triangle["v"] = corners[np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])]
    stl = "solid box\n" + "".join(
        "facet normal 0 0 1\nouter loop\n"
        + "".join("vertex {} {} {}\n".format(*corner) for corner in item)
        + "endloop\nendfacet\n"
        for item in triangle["v"]
    )
    files = [
        (".ply", header.format("ascii", 700, "").encode() + rows.encode()),
        (".ply", header.format("binary_little_endian", 700, "").encode() + cloud.tobytes()),
        (".ply", header.format("binary_big_endian", 700, "").encode() + cloud.astype(">f4").tobytes()),
        (".ply", header.format("binary_little_endian", 8, faces).encode() + corners.tobytes() + little),
        (".obj", obj.encode()),
        (".off", off.encode()),
        (".stl", b"\0" * 80 + struct.pack("<I", 12) + triangle.tobytes()),
        (".stl", stl.encode()),
        (".glb", box_glb()),
        (".xyz", rows.encode()),
        (".pts", b"700\n" + rows.encode()),
        (".pcd", pcd.format("ascii").encode() + rows.encode()),
        (".pcd", pcd.format("binary").encode() + cloud.tobytes()),
        (".npy", npy(cloud)),
        (".npz", npz(points=cloud)),
    ]
    return [Sample(Modality.POINT, *file) for file in files]


def _maps(rng):
    metres = np.linspace(0.5, 6, 50 * 44).reshape(44, 50)
    millimetres = Image.fromarray((metres * 1000).astype(np.uint16))
    return [
        Sample(Modality.DEPTH, ".png", saved(millimetres, "PNG")),
        Sample(Modality.DEPTH, ".tif", saved(millimetres, "TIFF")),
        Sample(Modality.DEPTH, ".npy", npy(metres.astype(np.float32))),
        Sample(Modality.DEPTH, ".npz", npz(depth=metres)),
        Sample(Modality.THERMAL, ".png", saved(Image.fromarray(picture(rng)[:, :, 0]), "PNG")),
        Sample(Modality.THERMAL, ".png", saved(millimetres, "PNG")),
        Sample(Modality.THERMAL, ".jpg", saved(Image.fromarray(picture(rng)), "JPEG")),
        Sample(Modality.THERMAL, ".npy", npy(20 + metres)),
    ]


def _recordings(rng):
    readings = rng.normal(size=(500, 6))
    timed = np.concatenate([np.arange(500)[:, None] / 100, readings], axis=1)

    def csv(table, header=""):
        return (header + "\n".join(",".join(f"{value:.5f}" for value in row) for row in table)).encode()

    return [
        Sample(Modality.IMU, ".csv", csv(readings)),
        Sample(Modality.IMU, ".csv", csv(timed, "time,ax,ay,az,gx,gy,gz\n")),
        Sample(Modality.IMU, ".csv", csv(readings.T)),
        Sample(Modality.IMU, ".npy", npy(readings)),
        Sample(Modality.IMU, ".npz", npz(imu=timed)),
    ]
