"""Captions of sounds (Clotho, AudioCaps), videos (MSR-VTT), 3D objects (Cap3D), scored as those of pictures.

No benchmark here has a question of its own. Sounds and videos are asked in the words that
are usual for pictures; 3D objects in those of PointLLM, "Caption this 3D model in detail.".
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.evaluation.benchmarks import local_files as files
from imagebind_llm.evaluation.benchmarks.captioning import (
    METRIC,
    Captioned,
    CaptionSuite,
    Question,
    Spice,
    Split,
)
from imagebind_llm.evaluation.suite import Facts, Suite, SuiteKind

_SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".mp4", ".mkv")
_VIDEOS = (".mp4", ".webm", ".mkv", ".avi", ".mov")
_CLOUDS = (".npy", ".npz", ".ply", ".pcd", ".glb", ".obj", ".off", ".xyz")
_AUDIO_QUESTION = "Generate caption of this audio:"
_VIDEO_QUESTION = "Generate caption of this video:"
_POINT_QUESTION = "Caption this 3D model in detail."

SkipMissing = Annotated[bool, "Leave out media that are not there; clips vanish from YouTube"]


_CLOTHO = "clotho_captions_evaluation.csv, and evaluation/ with the sounds"


def _make_clotho(question: Question = _AUDIO_QUESTION, spice: Spice = False) -> Suite:
    """Describe the sounds of Clotho in a sentence; five captions each."""

    def read(data: Path) -> Iterator[Captioned]:
        table = files.table_in(data, ("clotho_captions_evaluation.csv", "clotho_captions_*.csv"), "clotho")
        part = table.stem.removeprefix("clotho_captions_")
        media = files.MediaFiles(table, part, f"clotho_audio_{part}", "audio")
        captions = [f"caption_{number}" for number in range(1, 6)]
        for _, row in files.rows_in(table, "file_name", *captions):
            yield Captioned(row["file_name"], media[row["file_name"]], [row[name] for name in captions])

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
        table = files.table_in(data, ("test.csv", "audiocaps_test*.csv", "*.csv"), "audiocaps")
        media = files.MediaFiles(table, "audio", "test", "wav", "wavs", "audio/test")
        found: dict[str, Captioned | None] = {}
        for where, row in files.rows_in(table, "audiocap_id", "youtube_id", "start_time", "caption"):
            video, start = row["youtube_id"], row["start_time"]
            key = f"{video}_{start}"
            if key not in found:
                path = _first(media, [video, f"Y{video}", key, row["audiocap_id"]], _SOUNDS)
                if path is None and not skip_missing:
                    raise UserError(
                        f"{where} names the clip {video!r}, of which there is no sound; put it there "
                        f"as '{video}.wav', or add --skip-missing"
                    )
                found[key] = None if path is None else Captioned(key, path)
            clip = found[key]
            if clip is not None:
                clip.references.append(row["caption"])
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
        table = files.table_in(
            data, ("test_videodatainfo.json", "MSRVTT_data.json", "*videodatainfo*.json"), "msrvtt-caption"
        )
        return _read_msrvtt(table, split, skip_missing)

    return CaptionSuite("msrvtt-caption", "video", question, read, _MSRVTT, spice)


def _read_msrvtt(table: Path, split: str, skip_missing: bool) -> Iterator[Captioned]:
    where, content = repr(str(table)), files.json_in(table)
    media = files.MediaFiles(table, "videos", "videos/all", "TestVideo", "TrainValVideo", "video", "all")
    found: dict[str, Captioned | None] = {}
    others: set[str] = set()
    for number, video in enumerate(files.field(content, "videos", list, where), start=1):
        here = f"{where}: video {number}"
        key = files.field(video, "video_id", str, here)
        if files.field(video, "split", str, here) != split:
            others.add(key)
            continue
        path = _first(media, [key], _VIDEOS)
        if path is None and not skip_missing:
            raise UserError(f"{here} is {key!r}, of which there is no file '{key}.mp4'; add --skip-missing")
        found[key] = None if path is None else Captioned(key, path)
    if not found:
        raise UserError(f"{where} has no videos of the split {short(split)}")
    for number, sentence in enumerate(files.field(content, "sentences", list, where), start=1):
        here = f"{where}: sentence {number}"
        key = files.field(sentence, "video_id", str, here)
        if key not in found and key not in others:
            raise UserError(f"{here} is of the video {short(key)}, which is not in the file's videos")
        one = found.get(key)
        if one is not None:
            one.references.append(files.field(sentence, "caption", str, here))
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
        table = files.table_in(data, ("*.jsonl", "*.csv"), "cap3d")
        media = files.MediaFiles(table, "points", "point", "clouds", "pcs")
        return _read_uids(table, media) if table.suffix == ".csv" else _read_clouds(table, media)

    return CaptionSuite("cap3d", "point", question, read, _CAP3D, spice)


def _read_clouds(table: Path, media: files.MediaFiles) -> Iterator[Captioned]:
    for where, line in files.lines_in(table):
        try:
            entry = parse_json(line)
        except ValueError as error:
            raise UserError(f"{where} is not JSON ({error})") from None
        name = files.field(entry, "point", str, where)
        captions = files.field(entry, "captions", list, where)
        if not all(isinstance(caption, str) for caption in captions):
            raise UserError(f"{where} has {short(captions)} as 'captions'; expected a list of texts")
        yield Captioned(name, media[name], captions)


def _read_uids(table: Path, media: files.MediaFiles) -> Iterator[Captioned]:
    found: dict[str, Captioned] = {}
    absent: set[str] = set()
    for where, row in files.csv_in(table):
        if len(row) != 2:
            raise UserError(f"{where} has {len(row)} fields; expected a uid and a caption")
        uid, caption = row
        if uid in absent:
            continue
        if uid not in found:
            path = _first(media, [uid], _CLOUDS)
            if path is None:
                absent.add(uid)
                continue
            found[uid] = Captioned(uid, path)
        found[uid].references.append(caption)
    if not found:
        raise UserError(f"{str(table)!r} names {len(absent)} objects, of which no cloud is there (UID.npy …)")
    yield from found.values()


def _first(media: files.MediaFiles, stems: list[str], suffixes: tuple[str, ...]) -> str | None:
    return media.find(*(f"{stem}{suffix}" for stem in stems for suffix in suffixes))


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
    "Captions of sounds of Freesound",
    _make_clotho,
    _CLOTHO,
    "zenodo.org/records/4783391 (Clotho 2.1)",
    "captions: Tampere University's, non-commercial; sounds: Creative Commons, each its own",
)
AUDIOCAPS = _kind(
    "audiocaps",
    "Captions of sounds of AudioSet",
    _make_audiocaps,
    _AUDIOCAPS,
    "github.com/cdjkim/audiocaps; sounds of YouTube",
    "captions MIT; sounds belong to their authors",
)
MSRVTT = _kind(
    "msrvtt-caption",
    "Captions of videos of MSR-VTT",
    _make_msrvtt,
    _MSRVTT,
    "Xu, Mei, Yao and Rui 2016 (Microsoft Research)",
    "research use; videos belong to their authors",
)
CAP3D = _kind(
    "cap3d",
    "Captions of 3D objects of Objaverse",
    _make_cap3d,
    _CAP3D,
    "huggingface.co/datasets/tiange/Cap3D",
    "captions ODC-By 1.0; objects: Creative Commons, each its own",
)
