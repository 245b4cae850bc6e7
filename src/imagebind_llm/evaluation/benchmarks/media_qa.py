"""Questions about sounds, videos and 3D scenes, and questions of one's own about any medium.

Clotho-AQA (Lipping et al. 2022), MSVD-QA and MSRVTT-QA (Xu et al. 2017), ActivityNet-QA (Yu et al. 2019),
ScanQA (Azuma et al. 2022). All are scored by the same words, as their papers do (ScanQA calls it EM@1).
Scores that a language model gives are not made here.

The suite ``qa`` has a layout of this package: JSON lines, each with a question, its answer or a list of
answers that are all right, and one or more media. Questions are asked as they stand. So a question about an
object, as PointLLM asks it, is ``{"point": "chair.npy", "question": "What is this?", "answer": "chair"}``.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.evaluation.answers import exact_match, plain
from imagebind_llm.evaluation.benchmarks.finding import VIDEOS, Media, find_file, with_suffixes
from imagebind_llm.evaluation.benchmarks.questions import AnsweredSplit, Questions, Split, asked, same_words
from imagebind_llm.evaluation.benchmarks.reading import Row, by_id, csv_rows, json_rows, text_lines
from imagebind_llm.evaluation.suite import Facts, Item, Suite, SuiteKind


def _clotho(split: str, folder: Path) -> Iterator[Item]:
    media = Media(folder, "audio_files")
    columns = ("file_name", "QuestionText", "answer", "confidence")
    answered: dict[tuple[str, str], list[Row]] = {}
    for row in csv_rows(find_file(folder, f"clotho_aqa_{split}.csv"), columns):
        answered.setdefault((row.text("file_name"), row.text("QuestionText").strip()), []).append(row)
    for (sound, question), rows in answered.items():
        answers = [plain(row.text("answer")) for row in rows]
        yield Item(
            key=f"{sound}: {question}",
            request=asked(question, "audio", media.path(rows[0].where, sound)),
            expected=answers,
            group="yes or no" if set(answers) <= {"yes", "no"} else "single word",
            unit=sound,
        )


def _as_most_say(answer: str, answers: Any) -> float:
    """Whether ``answer`` is one of the most frequent of the annotators' answers."""
    counts = Counter(answers)
    return float(counts[plain(answer)] == max(counts.values()))


def _as_all_say(answer: str, answers: Any) -> float | None:
    return None if len(set(answers)) > 1 else float(plain(answer) == answers[0])


def _video_items(
    rows: Sequence[Row], videos: Mapping[str, Sequence[str]] | None, media: Media
) -> Iterator[Item]:
    """Items of MSVD-QA and MSRVTT-QA. ``videos``: id → names without suffix; None: MSRVTT's."""
    for key, row in by_id(rows, "id").items():
        number = row.id("video_id")
        stems = [f"video{number}"] if videos is None else [*videos.get(number, ()), f"vid{number}"]
        question = row.text("question")
        yield Item(
            key=key,
            request=asked(question, "video", media.path(row.where, *with_suffixes(VIDEOS, *stems))),
            expected=[row.text("answer")],
            group=question.split()[0].lower(),
            unit=number,
        )


def _msvd(split: str, folder: Path) -> Iterator[Item]:
    file = find_file(folder, f"{split}_qa.json")
    names: dict[str, list[str]] = {}
    if (mapping := file.with_name("youtube_mapping.txt")).is_file():
        for where, line in text_lines(mapping):
            name, _, short_name = line.strip().partition(" ")
            if not short_name.strip().startswith("vid"):
                raise UserError(f"{where} is no name of a video, a space and 'vid…'; get the file again")
            names.setdefault(short_name.strip().removeprefix("vid"), []).append(name)
    media = Media(folder, "YouTubeClips", "videos", "video")
    yield from _video_items(json_rows(file), names, media)


def _msrvtt(split: str, folder: Path) -> Iterator[Item]:
    media = Media(folder, "videos", "video", "TestVideo", "TrainValVideo", "videos/all")
    yield from _video_items(json_rows(find_file(folder, f"{split}_qa.json")), None, media)


_ACTIVITYNET_TYPES = (
    *("motion", "spatial relation", "temporal relation"),
    *("yes or no", "color", "object", "location", "number", "other"),
)


def _activitynet(split: str, folder: Path) -> Iterator[Item]:
    answered = by_id(json_rows(find_file(folder, f"{split}_a.json")), "question_id")
    media = Media(folder, "videos", "all_test", "v1-2/test", "v1-3/test")
    for key, row in by_id(json_rows(find_file(folder, f"{split}_q.json")), "question_id").items():
        if key not in answered:
            raise row.refused("question_id", "one that the answers have, too")
        found, video = answered[key], row.text("video_name")
        kind = found.whole("type")
        if not 0 <= kind < len(_ACTIVITYNET_TYPES):
            raise found.refused("type", f"0 to {len(_ACTIVITYNET_TYPES) - 1}")
        path = media.path(row.where, *with_suffixes(VIDEOS, f"v_{video}", video))
        yield Item(
            key=key,
            request=asked(row.text("question").strip() + "?", "video", path),
            expected=[found.id("answer")],
            group=_ACTIVITYNET_TYPES[kind],
            unit=video,
        )


def _scanqa(split: str, folder: Path) -> Iterator[Item]:
    media = Media(folder, "scans", "scannet")
    for key, row in by_id(json_rows(find_file(folder, f"ScanQA_v1.0_{split}.json")), "question_id").items():
        scene = row.text("scene_id")
        yield Item(
            key=key,
            request=asked(
                row.text("question"),
                "point",
                media.path(
                    row.where, f"{scene}/{scene}_vh_clean_2.ply", f"{scene}_vh_clean_2.ply", f"{scene}.npy"
                ),
            ),
            expected=row.texts("answers"),
            unit=scene,
        )


def _own(file: str, folder: Path) -> Iterator[Item]:
    media = Media(folder)
    modalities = [modality.value for modality in Modality if modality is not Modality.TEXT]
    for number, row in enumerate(json_rows(find_file(folder, file)), start=1):
        given = {name: media.path(row.where, row.text(name)) for name in modalities if name in row.values}
        if not given:
            raise UserError(f"{row.where} has no medium; expected one of {', '.join(modalities)}")
        answer = row.values.get("answer")
        yield Item(
            key=row.id("id") if "id" in row.values else str(number),
            request={"question": row.text("question"), **given},
            expected=row.texts("answer") if isinstance(answer, list) else [row.text("answer")],
            group="+".join(given),
            unit=" ".join(given.values()),
        )


def _contained(answer: str, references: Any) -> float:
    """Whether one of the right answers stands in ``answer``, as whole words."""
    said = plain(answer)
    return float(any(re.search(rf"(?<!\w){re.escape(plain(one))}(?!\w)", said) for one in references))


def make_clotho_aqa(split: Split = "test") -> Suite:
    """Ask the questions of Clotho-AQA about sounds; three people answered each."""
    scores = {"accuracy": _as_most_say, "unanimous": _as_all_say}
    return Questions("clotho-aqa", partial(_clotho, split), scores, lambda answer, _: plain(answer))


def make_msvd_qa(split: Split = "test") -> Suite:
    """Ask the questions of MSVD-QA about short videos."""
    return same_words("msvd-qa", partial(_msvd, split))


def make_msrvtt_qa(split: Split = "test") -> Suite:
    """Ask the questions of MSRVTT-QA about short videos."""
    return same_words("msrvtt-qa", partial(_msrvtt, split))


def make_activitynet_qa(split: Split = "test") -> Suite:
    """Ask the questions of ActivityNet-QA about long videos."""
    return same_words("activitynet-qa", partial(_activitynet, split))


def make_scanqa(split: AnsweredSplit = "val") -> Suite:
    """Ask the questions of ScanQA about 3D scans of rooms."""
    return same_words("scanqa", partial(_scanqa, split))


def make_qa(file: Annotated[str, "File of JSON lines in the folder."] = "questions.jsonl") -> Suite:
    """Ask questions of your own: a question, its answer, and media of any kind a line."""
    scores = {"accuracy": exact_match, "contained": _contained}
    return Questions("qa", partial(_own, file), scores, lambda answer, _: plain(answer))


CLOTHO_AQA = SuiteKind(
    summary="Questions about sounds.",
    examples="  imagebind-llm eval clotho-aqa --data clotho-aqa\n",
    make=make_clotho_aqa,
    facts=Facts(
        layout="clotho_aqa_test.csv (file_name, QuestionText, answer, confidence), sounds in audio_files/",
        metric="accuracy: what most of three people say; unanimous: questions on which they agree",
        source="zenodo.org/records/6473207",
        licence="see its LICENSE.txt; sounds of Freesound, each with its own",
    ),
)
MSVD_QA = SuiteKind(
    summary="Questions about short videos (MSVD).",
    examples="  imagebind-llm eval msvd-qa --data msvd-qa\n",
    make=make_msvd_qa,
    facts=Facts(
        layout="test_qa.json, youtube_mapping.txt, videos in YouTubeClips/",
        metric="accuracy: the same words; by first word of the question",
        source="github.com/xudejing/video-question-answering",
        licence="see the release; videos by their owners",
    ),
)
MSRVTT_QA = SuiteKind(
    summary="Questions about short videos (MSR-VTT).",
    examples="  imagebind-llm eval msrvtt-qa --data msrvtt-qa\n",
    make=make_msrvtt_qa,
    facts=Facts(
        layout="test_qa.json, videos in videos/, named videoID.mp4",
        metric="accuracy: the same words; by first word of the question",
        source="github.com/xudejing/video-question-answering",
        licence="see the release; videos by their owners",
    ),
)
ACTIVITYNET_QA = SuiteKind(
    summary="Questions about long videos.",
    examples="  imagebind-llm eval activitynet-qa --data activitynet-qa\n",
    make=make_activitynet_qa,
    facts=Facts(
        layout="test_q.json, test_a.json, videos in videos/, named v_NAME.mp4",
        metric="accuracy: the same words; by type of question",
        source="github.com/MILVLG/activitynet-qa",
        licence="Apache-2.0; videos by their owners",
    ),
)
SCANQA = SuiteKind(
    summary="Questions about 3D scans of rooms.",
    examples="  imagebind-llm eval scanqa --data scanqa\n",
    make=make_scanqa,
    facts=Facts(
        layout="ScanQA_v1.0_val.json, scans in scans/SCENE/SCENE_vh_clean_2.ply",
        metric="accuracy: the same words as one of the answers (EM@1)",
        source="github.com/ATR-DBI/ScanQA; scans of ScanNet",
        licence="CC BY-NC-SA 3.0; scans by ScanNet's terms",
    ),
)
QA = SuiteKind(
    summary="Questions of your own about any media.",
    examples="  imagebind-llm eval qa --data folder\n\n\b\nA line of folder/questions.jsonl:\n"
    '  {"point": "chair.npy", "question": "What is this?", "answer": ["chair", "a chair"]}\n',
    make=make_qa,
    facts=Facts(
        layout="questions.jsonl: question, answer, and files by modality (image, video, audio, point, depth, "
        "thermal, imu)",
        metric="accuracy: the same words as one of the answers; contained: one of them is in it; by modality",
        source="your own; the layout is this package's",
        licence="your own",
    ),
)
