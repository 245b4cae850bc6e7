"""The right frames at the right times: every frame carries its number as bars that survive compression."""

import struct
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
from support.media_samples import SMALL

from imagebind_llm.media import Limits, MediaError, VideoSettings, load_media
from imagebind_llm.media.video import VideoReader, load_video

WIDTH, HEIGHT, BARS = 96, 64, 8
OPEN_GOP = {"x264-params": "keyint=30:open-gop=1:bframes=3"}
INTRA_REFRESH = {"x264-params": "keyint=30:intra-refresh=1"}
LONG_GOP = {"g": "250", "sc_threshold": "0"}


def barcode(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture whose vertical bars are the bits of ``number``."""
    bits = np.array([40 + 170 * (number >> bit & 1) for bit in range(BARS)], np.uint8)
    return np.broadcast_to(bits.repeat(width // BARS)[None, :, None], (height, width, 3)).copy()


def number_of(pixels: np.ndarray) -> int:
    columns = pixels.astype(float).mean(axis=(0, 2)).reshape(BARS, -1)[:, 3:-3].mean(axis=1)
    return sum(int(level > 125) << bit for bit, level in enumerate(columns))


def encoded(
    form, codec, options=None, frames=70, rate=25, pix="yuv420p", size=(WIDTH, HEIGHT), all_keys=False
):
    stream = BytesIO()
    with av.open(stream, "w", format=form) as container:
        track = container.add_stream(codec, rate=rate, options=options or {})
        track.width, track.height = size
        track.pix_fmt = pix
        for number in [*range(frames), None]:
            frame = None
            if number is not None:
                frame = av.VideoFrame.from_ndarray(barcode(number, *size), format="rgb24").reformat(
                    format=pix
                )
            for packet in track.encode(frame):
                if all_keys:
                    packet.is_keyframe = True
                container.mux(packet)
    return stream.getvalue()


def wrong_frames(data: bytes, frames: int = 70) -> list[tuple[int, int]]:
    """Frames asked for one at a time, in no order, that turned out to be others."""
    wrong = []
    with VideoReader(BytesIO(data), "movie", Limits()) as video:
        assert len(video.times) == frames
        for asked in np.random.default_rng(1).permutation(frames)[:25]:
            for number, pixels in video.frames([int(asked)]):
                if number_of(pixels) != number:
                    wrong.append((number, number_of(pixels)))
    return wrong


@pytest.mark.parametrize(
    ("form", "codec", "options", "pix"),
    [
        ("mp4", "libx264", OPEN_GOP, "yuv444p"),
        ("mpegts", "libx264", OPEN_GOP, "yuv444p"),
        ("mpegts", "libx264", INTRA_REFRESH, "yuv444p"),
        ("matroska", "libx264", INTRA_REFRESH, "yuv420p"),
        ("mpegts", "mpeg4", {"g": "15", "bf": "2"}, "yuv420p"),
        ("vob", "mpeg4", {"g": "15", "bf": "2"}, "yuv420p"),
        ("mpeg", "mpeg2video", {"g": "15", "bf": "2"}, "yuv420p"),
        ("avi", "libx264", {"g": "30"}, "yuv420p"),  # AVI has no time stamps, and B-frames move
        ("avi", "libx264", {"g": "30"}, "yuv444p"),
        ("avi", "mpeg4", {"g": "15"}, "yuv420p"),
        ("h264", "libx264", {"g": "30"}, "yuv420p"),
        ("mpeg1video", "mpeg1video", {"bf": "2"}, "yuv420p"),
    ],
)
def test_a_frame_after_a_seek_is_the_one_asked_for(form, codec, options, pix):
    assert wrong_frames(encoded(form, codec, options, pix=pix)) == []


@pytest.mark.parametrize(("codec", "pix"), [("mpeg4", "yuv420p"), ("libx264", "yuv444p")])
def test_key_frames_that_are_none_are_found_out(codec, pix):
    data = encoded("mp4", codec, LONG_GOP, pix=pix, all_keys=True)
    assert wrong_frames(data) == []


def test_a_stream_cut_before_its_first_key_frame_begins_with_an_undamaged_one():
    data = encoded("mpegts", "libx264", OPEN_GOP, pix="yuv444p")[188 * 20 :]
    with VideoReader(BytesIO(data), "movie", Limits()) as video:
        (_, first), (_, last) = video.frames([0, len(video.times) - 1])
    assert number_of(last) == 69
    start = number_of(first)
    np.testing.assert_allclose(first.astype(int), barcode(start), atol=30)


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [
        ("h264", "libx264", 10),
        ("h264", "libx264", 50),
        ("mpeg2video", "mpeg2video", 30),
        ("mpeg1video", "mpeg1video", 24),
        ("m4v", "mpeg4", 10),
        ("mjpeg", "mjpeg", 25),  # says nothing of its rate
        ("mpeg", "mpeg2video", 25),
        ("mpegts", "libx264", 25),
        ("avi", "libx264", 10),
    ],
)
def test_times_and_length_are_those_of_the_rate(form, codec, rate):
    data = encoded(form, codec, frames=40, rate=rate, pix="yuvj420p" if codec == "mjpeg" else "yuv420p")
    with VideoReader(BytesIO(data), "movie", Limits()) as video:
        np.testing.assert_allclose([float(time) for time in video.times], np.arange(40) / rate, atol=1e-3)
        assert float(video.duration) == pytest.approx(40 / rate, abs=2e-3)


def test_a_damaged_frame_is_passed_over(monkeypatch):
    data = encoded("mp4", "mpeg4", {"g": "5"}, frames=20)
    decode = av.packet.Packet.decode

    class Damaged:
        """A packet whose frame 7 the decoder calls damaged."""

        def __init__(self, packet):
            self._packet = packet

        def __getattr__(self, name):
            return getattr(self._packet, name)

        def decode(self):
            return [Frame(frame) for frame in decode(self._packet)]

    class Frame:
        def __init__(self, frame):
            self._frame = frame

        def __getattr__(self, name):
            return getattr(self._frame, name)

        @property
        def is_corrupt(self):
            return number_of(self._frame.to_ndarray(format="rgb24")) == 7

    from imagebind_llm.media import detect, video

    def packets(container, stream, name, key=None):
        class Container:
            def demux(self, track):
                return map(Damaged, container.demux(track))

        return detect.decoded(Container(), stream, name, key)

    monkeypatch.setattr(video, "decoded", packets)
    with VideoReader(BytesIO(data), "movie", Limits()) as reader:
        assert [number_of(pixels) for _, pixels in reader.frames([6, 7, 12])] == [6, 8, 12]


def two_sizes() -> bytes:
    """A transport stream: 20 frames of 96 × 64, then 20 of 64 × 128."""
    wide = encoded("mpegts", "mpeg2video", {"g": "10"}, 20)
    stream = BytesIO()
    with av.open(stream, "w", format="mpegts") as container:
        track = container.add_stream("mpeg2video", rate=25, options={"g": "10"})
        track.width, track.height, track.pix_fmt = 64, 128, "yuv420p"
        for number in [*range(20), None]:
            frame = None
            if number is not None:
                frame = av.VideoFrame.from_ndarray(barcode(200, 64, 128), format="rgb24").reformat(
                    format="yuv420p"
                )
                frame.pts = number + 21
                frame.time_base = Fraction(1, 25)
            for packet in track.encode(frame):
                container.mux(packet)
    return wide + stream.getvalue()


def test_frames_that_change_size_are_each_brought_to_the_size():
    data = two_sizes()
    with VideoReader(BytesIO(data), "movie", Limits()) as video:
        shapes = [pixels.shape for _, pixels in video.frames([0, 17, 22, len(video.times) - 1])]
    assert shapes == [(64, 96, 3)] * 2 + [(128, 64, 3)] * 2
    settings = VideoSettings(size=64, clips=2, clip_seconds=0.6)
    tensor = load_video(data, settings)
    assert tensor.shape == (6, 3, 2, 64, 64)
    red = (tensor[:, 0] * settings.std[0] + settings.mean[0]).numpy() * 255  # [clips · crops, frames, 64, 64]
    for crop, frame in ((0, 0), (0, 1), (2, 1)):  # the second clip: all bars of the tall frames in each crop
        assert number_of(red[3 + crop, frame][:, :, None]) == 200
    wide = barcode(0)  # the first frame of the first clip, its left, middle and right 64 columns
    np.testing.assert_allclose(red[0, 0], wide[:, :64, 0], atol=8)
    assert load_media("video", data, SMALL).shape == (15, 3, 2, 32, 32)


MATRICES = {  # a b c d, and what they make of a picture
    "none": ((1, 0, 0, 1), lambda p: p),
    "mirrored": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda p: p[::-1]),
    "180": ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
    "90 clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "90 counterclockwise": ((0, -1, 1, 0), lambda p: np.rot90(p)),
    "transposed": ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
    "transverse": ((0, -1, -1, 0), lambda p: p.transpose(1, 0, 2)[::-1, ::-1]),
}


def with_matrix(data: bytes, matrix: tuple[float, ...]) -> bytes:
    """An MP4 whose track header (ISO/IEC 14496-12, ``tkhd`` of version 0) holds another matrix."""
    place = data.index(b"tkhd") + 44
    a, b, c, d = (round(65536 * value) for value in matrix)
    return data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :]


@pytest.mark.parametrize("kind", list(MATRICES))
def test_turned_and_mirrored_videos_are_shown_upright(kind):
    matrix, shown = MATRICES[kind]
    data = with_matrix(encoded("mp4", "mpeg4", frames=5), matrix)
    with VideoReader(BytesIO(data), "movie", Limits()) as video:
        pixels = next(video.frames([3]))[1]
    expected = shown(barcode(3))
    assert pixels.shape == expected.shape
    np.testing.assert_allclose(pixels.astype(int), expected, atol=25)


def test_a_video_turned_by_another_angle_is_refused():
    data = with_matrix(encoded("mp4", "mpeg4", frames=5), (0.7071, 0.7071, -0.7071, 0.7071))
    with pytest.raises(MediaError, match="no quarter turn"):
        load_video(data, SMALL.video)
