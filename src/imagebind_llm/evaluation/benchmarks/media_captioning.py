"""Captions of sounds (Clotho, AudioCaps), videos (MSR-VTT), 3D objects (Cap3D), scored as those of pictures.

No benchmark here has a question of its own. Sounds and videos are asked in the words that
are usual for pictures; 3D objects in those of PointLLM, "Caption this 3D model in detail.".
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.evaluation.benchmarks.captioning import (
    METRIC,
    Captioned,
    CaptionSuite,
    Spice,
    Split,
)
from imagebind_llm.evaluation.benchmarks.finding import VIDEOS, Media, find_table, with_suffixes
from imagebind_llm.evaluation.benchmarks.questions import Question
from imagebind_llm.evaluation.benchmarks.reading import csv_cells, csv_rows, json_object, json_rows
from imagebind_llm.evaluation.suite import Facts, Suite, SuiteKind

_SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".mp4", ".mkv")
_CLOUDS = (".npy", ".npz", ".ply", ".pcd", ".glb", ".obj", ".off", ".xyz")
_AUDIO_QUESTION = "Generate caption of this audio:"
_VIDEO_QUESTION = "Generate caption of this video:"
_POINT_QUESTION = "Caption this 3D model in detail."

SkipMissing = Annotated[bool, "Leave out media that are not there; clips vanish from YouTube"]


_CLOTHO = "clotho_captions_evaluation.csv, and evaluation/ with the sounds"


def _make_clotho(question: Question = _AUDIO_QUESTION, spice: Spice = False) -> Suite:
    """Describe the sounds of Clotho in a sentence; five captions each."""

    def read(data: Path) -> Iterator[Captioned]:
        table = find_table(data, "clotho_captions_evaluation.csv", "clotho_captions_*.csv")
        part = table.stem.removeprefix("clotho_captions_")
        media = Media(table, part, f"clotho_audio_{part}", "audio")
        captions = [f"caption_{number}" for number in range(1, 6)]
        for row in csv_rows(table, ("file_name", *captions)):
            name = row.text("file_name")
            texts = [row.text(caption, empty=True) for caption in captions]
            yield Captioned(name, media.path(row.where, name), texts)

    return CaptionSuite("clotho", "audio", question, read, _CLOTHO, spice)


_AUDIOCAPS = "test.csv (audiocap_id,youtube_id,start_time,caption), and audio/ with YOUTUBE_ID.wav"


def _make_audiocaps(
    question: Question = _AUDIO_QUESTION, spice: Spice = False, skip_missing: SkipMissing = False
) -> Suite:
    """Describe the sounds of AudioCaps in a sentence; five captions each.

    A clip's file is called by its youtube_id, perhaps with "Y" before it, or with "_" and its start time, or
    by its audiocap_id.
    """

    def read(data: Path) -> Iterator[Captioned]:
        table = find_table(data, "test.csv", "audiocaps_test*.csv", "*.csv")
        media = Media(table, "audio", "test", "wav", "wavs", "audio/test")
        found: dict[str, Captioned | None] = {}
        for row in csv_rows(table, ("audiocap_id", "youtube_id", "start_time", "caption")):
            video = row.text("youtube_id")
            key = f"{video}_{row.text('start_time')}"
            if key not in found:
                names = with_suffixes(_SOUNDS, video, f"Y{video}", key, row.text("audiocap_id"))
                path = media.find(row.where, *names)
                if path is None and not skip_missing:
                    raise UserError(
                        f"{row.where} names the clip {video!r}, of which there is no sound; put it there "
                        f"as '{video}.wav', or add --skip-missing"
                    )
                found[key] = None if path is None else Captioned(key, path)
            clip = found[key]
            if clip is not None:
                clip.references.append(row.text("caption", empty=True))
        yield from (clip for clip in found.values() if clip is not None)

    return CaptionSuite("audiocaps", "audio", question, read, _AUDIOCAPS, spice)


_MSRVTT = "test_videodatainfo.json (or MSRVTT_data.json), and videos/ (or TestVideo/) with VIDEO_ID.mp4"


def _make_msrvtt(
    question: Question = _VIDEO_QUESTION,
    split: Split = "test",
    spice: Spice = False,
    skip_missing: SkipMissing = False,
) -> Suite:
    """Describe the videos of MSR-VTT in a sentence; twenty captions each."""

    def read(data: Path) -> Iterator[Captioned]:
        table = find_table(data, "test_videodatainfo.json", "MSRVTT_data.json", "*videodatainfo*.json")
        return _read_msrvtt(table, split, skip_missing)

    return CaptionSuite("msrvtt-caption", "video", question, read, _MSRVTT, spice)


def _read_msrvtt(table: Path, split: str, skip_missing: bool) -> Iterator[Captioned]:
    content = json_object(table)
    media = Media(table, "videos", "videos/all", "TestVideo", "TrainValVideo", "video", "all")
    found: dict[str, Captioned | None] = {}
    others: set[str] = set()
    for video in content.rows("videos"):
        key = video.text("video_id")
        if video.text("split") != split:
            others.add(key)
            continue
        path = media.find(video.where, *with_suffixes(VIDEOS, key))
        if path is None and not skip_missing:
            raise UserError(
                f"{video.where} is {key!r}, of which there is no file '{key}.mp4'; get it, or add "
                "--skip-missing"
            )
        found[key] = None if path is None else Captioned(key, path)
    if not found:
        raise UserError(f"{content.where} has no videos of the split {short(split)}; give another --split")
    for sentence in content.rows("sentences"):
        key = sentence.text("video_id")
        if key not in found and key not in others:
            raise sentence.refused("video_id", "one of the file's videos")
        one = found.get(key)
        if one is not None:
            one.references.append(sentence.text("caption", empty=True))
    yield from (one for one in found.values() if one is not None)


_CAP3D = (
    'a .jsonl of lines {"point": FILE, "captions": [TEXT, …]}, or Cap3D\'s .csv (uid,caption, no header), '
    "and points/ with the clouds"
)


def _make_cap3d(question: Question = _POINT_QUESTION, spice: Spice = False) -> Suite:
    """Describe 3D objects.

    Of Cap3D's own file, which has captions of 600,000 and more objects, those are asked whose cloud is there
    (UID.npy, UID.ply …).
    """

    def read(data: Path) -> Iterator[Captioned]:
        table = find_table(data, "*.jsonl", "*.csv")
        media = Media(table, "points", "point", "clouds", "pcs")
        return _read_uids(table, media) if table.suffix == ".csv" else _read_clouds(table, media)

    return CaptionSuite("cap3d", "point", question, read, _CAP3D, spice)


def _read_clouds(table: Path, media: Media) -> Iterator[Captioned]:
    for row in json_rows(table):
        name = row.text("point")
        yield Captioned(name, media.path(row.where, name), list(row.texts("captions")))


def _read_uids(table: Path, media: Media) -> Iterator[Captioned]:
    found: dict[str, Captioned] = {}
    absent: set[str] = set()
    for where, row in csv_cells(table):
        if len(row) != 2:
            raise UserError(f"{where} has {len(row)} cells; expected a uid and a caption")
        uid, caption = row
        if uid in absent:
            continue
        if uid not in found:
            path = media.find(where, *with_suffixes(_CLOUDS, uid))
            if path is None:
                absent.add(uid)
                continue
            found[uid] = Captioned(uid, path)
        found[uid].references.append(caption)
    if not found:
        raise UserError(f"{str(table)!r} names {len(absent)} objects, of which no cloud is there (UID.npy …)")
    yield from found.values()


def _kind(
    name: str, summary: str, make: Callable[..., Suite], layout: str, source: str, licence: str
) -> SuiteKind:
    return SuiteKind(
        summary=summary,
        examples=f"imagebind-llm eval {name} --data {name}/ --model nano",
        make=make,
        facts=Facts(layout=layout, metric=METRIC, source=source, licence=licence),
    )


CLOTHO = _kind(
    "clotho",
    "Captions of sounds of Freesound.",
    _make_clotho,
    _CLOTHO,
    "zenodo.org/records/4783391 (Clotho 2.1)",
    "captions: Tampere University's, non-commercial; sounds: Creative Commons, each its own",
)
AUDIOCAPS = _kind(
    "audiocaps",
    "Captions of sounds of AudioSet.",
    _make_audiocaps,
    _AUDIOCAPS,
    "github.com/cdjkim/audiocaps; sounds of YouTube",
    "captions MIT; sounds belong to their authors",
)
MSRVTT = _kind(
    "msrvtt-caption",
    "Captions of videos of MSR-VTT.",
    _make_msrvtt,
    _MSRVTT,
    "Xu, Mei, Yao and Rui 2016 (Microsoft Research)",
    "research use; videos belong to their authors",
)
CAP3D = _kind(
    "cap3d",
    "Captions of 3D objects of Objaverse.",
    _make_cap3d,
    _CAP3D,
    "huggingface.co/datasets/tiange/Cap3D",
    "captions ODC-By 1.0; objects: Creative Commons, each its own",
)
