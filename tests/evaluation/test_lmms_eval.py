"""Our models in lmms-eval: its requests as ours, and the real lmms-eval on local tasks (make test-lmms)."""

import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imagebind_llm import Assistant, UserError
from imagebind_llm.evaluation.lmms import TASKS, naming
from imagebind_llm.evaluation.lmms.requests import cut, messages_of, options_of, question
from imagebind_llm.evaluation.lmms.scoring import likelihoods

PYTHON = os.environ.get("IMAGEBIND_LLM_LMMS", "")
INPUTS = Path(__file__).parents[2] / "examples" / "inputs"
needs_lmms = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON, reason="no environment with lmms-eval (make test-lmms)"),
]


@pytest.fixture(scope="module")
def nano():
    return Assistant.from_pretrained("nano", device="cpu", batch_size=2)


# --- messages


def test_parts_become_parts_of_the_same_modality_in_the_same_order():
    picture = Image.new("RGB", (8, 6))
    raw = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {
            "role": "user",
            "content": [
                {"type": "image", "url": picture},
                {"type": "text", "text": "and"},
                {"type": "image", "url": "b.png"},
                {"type": "video", "url": "c.mp4", "start_time": None},
                {"type": "depth", "url": "d.png"},
                {"type": "text", "text": "?"},
            ],
        },
        {"role": "assistant", "content": "A cat."},
    ]
    system, user, assistant = messages_of(raw)
    assert system == raw[0]
    assert assistant == raw[2]
    assert user["role"] == "user"
    assert user["content"] == [
        {"type": "image", "image": picture},
        {"type": "text", "text": "and"},
        {"type": "image", "image": "b.png"},
        {"type": "video", "video": "c.mp4"},
        {"type": "depth", "depth": "d.png"},
        {"type": "text", "text": "?"},
    ]


def test_the_waveform_of_a_data_set_is_audio_even_where_lmms_eval_says_video():
    sound = {"array": np.zeros(800, np.float32), "sampling_rate": 16_000, "path": "gone.wav"}
    for part in ({"type": "audio", "url": sound}, {"type": "video", "url": sound}):
        ((read,),) = [message["content"] for message in messages_of([{"role": "user", "content": [part]}])]
        assert read["type"] == "audio"
        assert set(read["audio"]) == {"array", "sampling_rate"}
        assert read["audio"]["array"] is sound["array"]


def test_undecoded_media_are_their_bytes_or_else_their_path():
    for source, expected in [
        ({"bytes": b"RIFF", "path": "x.wav"}, b"RIFF"),
        ({"bytes": None, "path": "x.wav"}, "x.wav"),
    ]:
        (message,) = messages_of([{"role": "user", "content": [{"type": "audio", "url": source}]}])
        assert message["content"] == [{"type": "audio", "audio": expected}]


def test_a_data_url_stays_one():
    raw = [{"role": "user", "content": [{"type": "image", "url": "data:image/png;base64,AAAA"}]}]
    assert messages_of(raw)[0]["content"] == [{"type": "image", "url": "data:image/png;base64,AAAA"}]


def test_untyped_media_are_told_apart_by_what_they_are():
    wav = (INPUTS / "frog.wav").read_bytes()
    picture = Image.new("RGB", (4, 4))
    visuals = [
        picture,
        str(INPUTS / "dog.jpg"),
        str(INPUTS / "dog.ogg"),
        str(INPUTS / "ship.mp4"),
        {"array": np.zeros(9), "sampling_rate": 8000},
        {"bytes": wav, "path": None},
        {"type": "imu", "url": "walk.csv"},
    ]
    (message,) = question(visuals, "What?")
    *media, text = message["content"]
    assert text == {"type": "text", "text": "What?"}
    assert [part["type"] for part in media] == ["image", "image", "audio", "video", "audio", "audio", "imu"]
    assert media[0]["image"] is picture
    assert media[5]["audio"] == wav


def test_no_media_and_one_medium_without_a_list_are_read_too():
    assert question(None, "What?") == [{"role": "user", "content": [{"type": "text", "text": "What?"}]}]
    picture = Image.new("RGB", (4, 4))
    assert question(picture, "What?")[0]["content"][0] == {"type": "image", "image": picture}


def test_a_stretch_of_a_video_is_refused_in_either_form():
    whole = {"type": "video", "path": "a.mp4", "video_start": 2.0, "video_end": 5.0}
    with pytest.raises(UserError, match=r"video_start=2\.0, video_end=5\.0"):
        question([whole], "What?")
    part = {"type": "video", "url": "a.mp4", "start_time": 0.0, "end_time": 4.5}
    with pytest.raises(UserError, match=r"start_time=0\.0, end_time=4\.5"):
        messages_of([{"role": "user", "content": [part]}])


@pytest.mark.parametrize("visual", [7, {"colour": "red"}, np.zeros((4, 4, 3))])
def test_what_is_no_medium_is_refused(visual):
    with pytest.raises(UserError, match="a medium is"):
        question([visual], "What?")


# --- generation settings


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"temperature": 0.0}),
        (
            {"max_new_tokens": 16, "temperature": 0, "top_p": 0, "num_beams": 1, "do_sample": False},
            {"temperature": 0.0, "max_new_tokens": 16},
        ),
        ({"do_sample": False, "temperature": 0.7}, {"temperature": 0.0}),
        ({"temperature": 0.7, "top_p": 0.9}, {"temperature": 0.7, "top_p": 0.9}),
        ({"do_sample": True}, {"temperature": 1.0, "top_p": 1.0}),
        ({"do_sample": True, "temperature": 0.2, "top_p": None}, {"temperature": 0.2, "top_p": 1.0}),
        ({"until": ["\n\n"], "top_p": None}, {"temperature": 0.0}),
    ],
)
def test_generation_settings_mean_what_they_say(settings, expected):
    assert options_of(settings) == expected


def test_beam_search_is_refused():
    with pytest.raises(UserError, match="num_beams 3"):
        options_of({"num_beams": 3})


def test_a_setting_that_is_not_applied_is_named_once(caplog):
    with caplog.at_level(logging.WARNING):
        options_of({"penalty_of_the_test": 2})
        options_of({"penalty_of_the_test": 2})
    assert [record.message for record in caplog.records] == [
        "the task's generation setting penalty_of_the_test=2 is not applied"
    ]


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (None, "a b\n\nc. d"),
        (["\n\n"], "a b"),
        ("c", "a b\n\n"),
        (["d", "b", ""], "a "),
        (["x"], "a b\n\nc. d"),
    ],
)
def test_answers_end_before_the_first_stop(until, expected):
    assert cut("a b\n\nc. d", until) == expected


# --- likelihoods


def dialog_about(name, words):
    return [{"role": "user", "content": [{"type": "image", "image": str(INPUTS / name)}, words]}]


def test_the_loss_is_that_of_training_on_the_same_dialog(nano):
    asked = dialog_about("dog.jpg", "What is this?")
    answers = ["a cat", "a ship"]
    for answer, found in zip(answers, likelihoods(nano, asked, answers), strict=True):
        inputs = nano.processor.apply_chat_template(
            [*asked, {"role": "assistant", "content": answer}], return_labels=True
        )
        with torch.inference_mode():
            loss = nano.model(**inputs).loss
        assert found.loss == pytest.approx(float(loss), abs=1e-4)


@pytest.mark.parametrize("name", ["dog.jpg", "ship.jpg", "seven.png"])
def test_greedy_is_the_answer_that_asking_gives_and_no_other(nano, name):
    asked = dialog_about(name, "What is this?")
    said = nano.ask(messages=asked).text
    assert [one.greedy for one in likelihoods(nano, asked, [said, said + " x", "zebra"])] == [
        True,
        False,
        False,
    ]


def test_earlier_answers_are_not_scored(nano):
    asked = [
        *dialog_about("dog.jpg", "What is this?"),
        {"role": "assistant", "content": "xylophone quartz"},
        {"role": "user", "content": "Are you sure?"},
    ]
    (found,) = likelihoods(nano, asked, ["yes"])
    inputs = nano.processor.apply_chat_template(
        [*asked, {"role": "assistant", "content": "yes"}], return_labels=True
    )
    last = len(nano.processor.tokenizer.encode("yes", add_special_tokens=False)) + 1  # and the end token
    places = (inputs["labels"][0] != -100).nonzero().flatten()
    assert len(places) > last
    inputs["labels"][0, places[:-last]] = -100
    with torch.inference_mode():
        loss = nano.model(**inputs).loss
    assert found.loss == pytest.approx(float(loss), abs=1e-4)


def test_a_dialog_longer_than_the_context_is_refused(nano):
    with pytest.raises(UserError, match="context"):
        likelihoods(nano, dialog_about("dog.jpg", "word " * 400), ["yes"])


# --- the tasks of this package


def rows(*pairs):
    from datasets import Dataset

    return Dataset.from_dict(
        {"media": [str(path) for path, _ in pairs], "answer": [name for _, name in pairs]}
    )


def test_the_classes_are_all_answers_of_the_data():
    data = naming.with_choices(rows((INPUTS / "dog.ogg", "dog"), (INPUTS / "cat.ogg", "sea_waves")))
    assert data["choices"] == [["dog", "sea_waves"]] * 2
    assert naming.asked(data[0], {"question": "What?"}) == "What? Answer with one of these: dog, sea waves."
    assert naming.medium(data[0], {"modality": "audio"}) == [
        {"type": "audio", "url": str(INPUTS / "dog.ogg")}
    ]


@pytest.mark.parametrize(
    ("said", "exact", "named"),
    [
        ("sea waves", 1, 1),
        ("Sea waves.", 1, 1),
        ("The sea waves", 1, 1),
        ("You hear sea waves and wind", 0, 1),
        ("waves", 0, 0),
        ("sea waves or a dog", 0, 0),
        ("undersea waves", 0, 0),
        ("", 0, 0),
    ],
)
def test_an_answer_is_right_when_it_names_the_class_and_no_other(said, exact, named):
    doc = {"answer": "sea_waves", "choices": ["dog", "sea_waves", "waves"]}
    assert naming.scores(doc, [said]) == {"exact_match": exact, "named": named}


def test_missing_media_and_columns_are_named_before_anything_is_asked():
    with pytest.raises(UserError, match=r"line 2: there is no file .*gone\.wav"):
        naming.with_choices(rows((INPUTS / "dog.ogg", "dog"), ("gone.wav", "cat")))
    with pytest.raises(UserError, match="line 1: the answer is '_'"):
        naming.with_choices(rows((INPUTS / "dog.ogg", "_")))
    with pytest.raises(UserError, match=r"no 'answer' \(found media\)"):
        naming.with_choices(rows((INPUTS / "dog.ogg", "dog")).remove_columns("answer"))


def test_the_folder_of_tasks_is_printed():
    done = subprocess.run(
        [sys.executable, "-m", "imagebind_llm.evaluation.lmms"], capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == TASKS
    assert sorted(path.stem for path in TASKS.glob("*.yaml")) == [
        "esc50",
        "imu",
        "llvip",
        "modelnet40",
        "nyu_depth",
    ]


# --- the real lmms-eval


PICTURES = ("cat", "dog", "ship", "truck", "horse", "frog")
TASK = {
    "test_split": "test",
    "doc_to_target": "answer",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
HELPERS = """
def picture(doc):
    return [doc["image"].convert("RGB")]


def text(doc):
    return doc["question"]


def sound(doc):
    return [doc["audio"]]


def both(doc):
    return [{"role": "user", "content": [
        {"type": "image", "url": doc["image"].convert("RGB")},
        {"type": "text", "text": "Here are two things."},
        {"type": "image", "url": doc["other"].convert("RGB")},
        {"type": "text", "text": doc["question"]},
    ]}]


def rounds(doc, round_idx=None, previous_output=None, **more):
    if round_idx is None:
        return doc["question"]
    if round_idx == 2:
        return None, None, True, previous_output, None
    return picture(doc), f"You said {previous_output[-1]}. Is it alive?", False, previous_output, None


def right(doc, results):
    said = results[0]
    said = said if isinstance(said, str) else said[0]
    return {"acc": float(said.strip().lower().startswith(doc["answer"]))}
"""


def write_task(folder, name, columns, features=None, **settings):
    """A task and its data, as a parquet file beside it."""
    from datasets import Dataset

    data = Dataset.from_dict(columns)
    for column, feature in (features or {}).items():
        data = data.cast_column(column, feature)
    data.to_parquet(folder / f"{name}.parquet")
    config = {
        **TASK,
        "task": name,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": f"{name}.parquet"}},
        **settings,
    }
    lines = json.dumps(config, indent=1)
    for call in ("picture", "text", "sound", "both", "rounds", "right"):
        lines = lines.replace(f'"!{call}"', f"!function helpers.{call}")
    (folder / f"{name}.yaml").write_text(lines)


def stored(name):
    return {"bytes": (INPUTS / f"{name}.jpg").read_bytes(), "path": f"{name}.jpg"}


def decoded(name):
    return Image.open(INPUTS / f"{name}.jpg").convert("RGB")


def waveform(path):
    with wave.open(str(path)) as sound:
        values = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        return (values.reshape(-1, sound.getnchannels())[:, 0] / 32768).astype(
            np.float32
        ), sound.getframerate()


def run(folder, tasks, *more, include=None):
    """The results and the samples of each task, from the command line of lmms-eval."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    options = {
        "--model": "imagebind_llm",
        "--model_args": "pretrained=nano,device=cpu",
        "--batch_size": "2",
        "--tasks": ",".join(tasks),
        "--include_path": str(include or folder / "tasks"),
        "--output_path": str(out),
    }
    done = subprocess.run(
        [PYTHON, "-m", "lmms_eval", *itertools.chain(*options.items()), "--log_samples", *more],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(folder / "hub"),
        },
        capture_output=True,
        text=True,
    )
    found = list(out.rglob("*_results.json"))
    assert len(found) == 1, done.stdout[-3000:] + done.stderr[-3000:]
    results = json.loads(found[0].read_text())
    samples = {}
    for task in tasks:
        (path,) = out.rglob(f"*_samples_{task}.jsonl")
        samples[task] = [json.loads(line) for line in path.read_text().splitlines()]
        samples[task].sort(key=lambda sample: sample["doc_id"])
    return results["results"], samples


@pytest.fixture
def work(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "helpers.py").write_text(HELPERS)
    return tmp_path


def said(samples):
    return [sample["filtered_resps"] for sample in samples]


class TestLmmsEval:
    """lmms-eval's command line, offline, against asking nano here."""

    pytestmark = needs_lmms

    def test_chat_tasks_get_the_answers_that_asking_gives(self, work, nano):
        from datasets import Image as Picture

        tasks = work / "tasks"
        pairs = [(name, word) for name in PICTURES for word in ("cat", "dog")]
        yes_no = {
            "image": [stored(name) for name, _ in pairs],
            "question": [f"Is this a {word}?" for _, word in pairs],
            "answer": ["yes" if name == word else "no" for name, word in pairs],
        }
        chat = {"output_type": "generate_until", "doc_to_text": "!text", "process_results": "!right"}
        greedy = {"generation_kwargs": {"max_new_tokens": 8, "temperature": 0, "top_p": 1.0, "num_beams": 1}}
        write_task(tasks, "yes_no", yes_no, {"image": Picture()}, doc_to_visual="!picture", **chat, **greedy)
        two = {
            "image": [stored(name) for name in PICTURES],
            "other": [stored(name) for name in reversed(PICTURES)],
            "question": ["What do you see?"] * len(PICTURES),
            "answer": list(PICTURES),
        }
        write_task(
            tasks,
            "two",
            two,
            {"image": Picture(), "other": Picture()},
            doc_to_messages="!both",
            **chat,
            **greedy,
        )
        sounds = ["dog.ogg", "cat.ogg", "frog.wav", "bird.flac"]
        hear = {
            "audio": [str(INPUTS / name) for name in sounds],
            "question": ["What do you hear?"] * 4,
            "answer": ["dog", "cat", "frog", "bird"],
        }
        write_task(tasks, "hear", hear, doc_to_visual="!sound", **chat, **greedy)
        values, rate = waveform(INPUTS / "frog.wav")
        array = {
            "audio": [{"array": values.tolist(), "sampling_rate": rate}],
            "question": ["What do you hear?"],
            "answer": ["frog"],
        }
        write_task(tasks, "array", array, doc_to_visual="!sound", **chat, **greedy)
        dialogs = {
            "image": [stored(name) for name in PICTURES[:3]],
            "question": ["What is this?"] * 3,
            "answer": list(PICTURES[:3]),
        }
        write_task(
            tasks,
            "dialogs",
            dialogs,
            {"image": Picture()},
            output_type="generate_until_multi_round",
            doc_to_visual="!picture",
            doc_to_text="!rounds",
            process_results="!right",
            **greedy,
        )

        results, samples = run(work, ["yes_no", "two", "hear", "array", "dialogs"])

        expected = {
            "yes_no": [
                nano.ask(words, image=decoded(name), max_new_tokens=8).text
                for (name, _), words in zip(pairs, yes_no["question"], strict=True)
            ],
            "two": [
                nano.ask(
                    "Here are two things.\nWhat do you see?",
                    image=[decoded(one), decoded(other)],
                    max_new_tokens=8,
                ).text
                for one, other in zip(PICTURES, reversed(PICTURES), strict=True)
            ],
            "hear": [
                nano.ask("What do you hear?", audio=INPUTS / name, max_new_tokens=8).text for name in sounds
            ],
            "array": [
                nano.ask(
                    "What do you hear?", audio={"array": values, "sampling_rate": rate}, max_new_tokens=8
                ).text
            ],
        }
        for task, answers in expected.items():
            assert said(samples[task]) == answers, task
        right = [
            word.strip().lower().startswith(answer)
            for word, answer in zip(expected["yes_no"], yes_no["answer"], strict=True)
        ]
        assert results["yes_no"]["acc,none"] == pytest.approx(sum(right) / len(right))
        assert sum(right) > len(right) / 2  # nano knows most of these
        assert len(set(expected["hear"])) > 1
        for sample, name in zip(samples["dialogs"], PICTURES, strict=False):
            first = nano.ask("What is this?", image=decoded(name), max_new_tokens=8).text
            second = nano.ask(f"You said {first}. Is it alive?", image=decoded(name), max_new_tokens=8).text
            assert sample["filtered_resps"] == [first, second]
        counts = samples["yes_no"][0]["token_counts"][0]
        assert counts["input_tokens"] > 5
        assert counts["output_tokens"] > 0

    def test_choices_are_compared_by_their_losses(self, work, nano):
        from datasets import Image as Picture

        columns = {
            "image": [stored(name) for name in PICTURES],
            "question": ["What is this?"] * len(PICTURES),
            "answer": [f"a {name}" for name in PICTURES],
        }
        choices = [f"a {name}" for name in PICTURES]
        write_task(
            work / "tasks",
            "choose",
            columns,
            {"image": Picture()},
            output_type="multiple_choice",
            doc_to_visual="!picture",
            doc_to_text="!text",
            doc_to_choice=choices,
        )
        write_task(
            work / "tasks",
            "plain",
            columns,
            {"image": Picture()},
            output_type="generate_until",
            doc_to_visual="!picture",
            doc_to_text="!text",
            process_results="!right",
        )
        results, samples = run(work, ["choose", "plain"], "--force_simple")
        right = []
        for sample, name in zip(samples["choose"], PICTURES, strict=True):
            asked = question([decoded(name)], "What is this?")
            found = likelihoods(nano, asked, choices)
            assert [float(loss) for loss, _ in sample["filtered_resps"]] == pytest.approx(
                [one.loss for one in found], abs=1e-4
            )
            assert [greedy for _, greedy in sample["filtered_resps"]] == [str(one.greedy) for one in found]
            best = min(range(len(choices)), key=lambda number: found[number].loss)
            right.append(choices[best] == f"a {name}")
        assert results["choose"]["acc,none"] == pytest.approx(sum(right) / len(right))
        assert sum(right) > len(right) / 2  # nano knows these
        assert said(samples["plain"]) == [
            nano.ask("What is this?", image=decoded(name)).text for name in PICTURES
        ]

    def test_the_tasks_of_this_package_run(self, work, nano):
        data = {
            "esc50": ("audio", {"dog.ogg": "dog", "cat.ogg": "cat", "frog.wav": "frog"}),
            "nyu_depth": ("depth", {"eight_depth.png": "eight"}),
            "llvip": ("thermal", {"three_thermal.png": "three"}),
            "modelnet40": ("point", {"airplane.glb": "airplane", "three.ply": "three", "ship.obj": "ship"}),
            "imu": ("imu", {"seven_imu.csv": "seven"}),
        }
        for task, (_, files) in data.items():
            lines = [
                json.dumps({"media": str(INPUTS / name), "answer": word}) for name, word in files.items()
            ]
            (work / f"{task}.jsonl").write_text("\n".join(lines))
        results, samples = run(work, [f"imagebind_{task}" for task in data], include=TASKS)
        for task, (modality, files) in data.items():
            doc = {"choices": sorted(set(files.values()))}
            words = samples[f"imagebind_{task}"][0]["input"]
            assert words.endswith(f"Answer with one of these: {', '.join(doc['choices'])}.")
            answers = [nano.ask(words, **{modality: INPUTS / name}, max_new_tokens=16).text for name in files]
            assert said(samples[f"imagebind_{task}"]) == answers
            for metric in ("exact_match", "named"):
                scores = [
                    naming.scores({**doc, "answer": word}, [answer])[metric]
                    for word, answer in zip(files.values(), answers, strict=True)
                ]
                assert results[f"imagebind_{task}"][f"{metric},none"] == pytest.approx(
                    sum(scores) / len(scores)
                )

    def test_a_column_of_sounds_that_datasets_decodes(self, work, nano):
        from datasets import Audio

        loads = subprocess.run([PYTHON, "-c", "import torchcodec.decoders"], capture_output=True, text=True)
        if loads.returncode:
            pytest.skip("torchcodec does not load: it needs FFmpeg's libraries")
        names = ["dog.ogg", "cat.ogg", "frog.wav"]
        columns = {
            "audio": [{"bytes": (INPUTS / name).read_bytes(), "path": name} for name in names],
            "question": ["What do you hear?"] * 3,
            "answer": ["dog", "cat", "frog"],
        }
        settings = {
            "output_type": "generate_until",
            "doc_to_visual": "!sound",
            "doc_to_text": "!text",
            "process_results": "!right",
        }
        write_task(work / "tasks", "column", columns, {"audio": Audio()}, **settings)
        expected = [nano.ask("What do you hear?", audio=INPUTS / name).text for name in names]
        for more in ([], ["--force_simple"]):
            _, samples = run(work, ["column"], *more)
            assert said(samples["column"]) == expected
