"""``imagebind-llm ask --batch`` on many mixed requests, where its time goes, and the same one by one.

The requests are about all kinds of media, mixtures of two and three with weights, dialogs and words alone, in
English and Chinese. Every medium is a file of its own (a copy), so that nothing is known from before.

    python benchmarks/batch.py                           200 requests to the bundled nano model
    python benchmarks/batch.py --model FOLDER --inputs FOLDER --items 500
    python benchmarks/batch.py --smoke                   a model with random weights, twelve requests

Ways: the command itself as a whole process; one process that asks one request after another of a loaded
model; and a new process for each request (a few of them, extrapolated). The stages are measured inside a
process: decoding runs in background threads while the language model answers, so its time is that of the
threads, and what is really waited for is given beside it.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from drawn_media import complete, files_by_modality
from measuring import ROOT, ProcessRun, facts, load_after, print_table, run_process, spread, verdict

from imagebind_llm.common.modality import Modality

TARGET_SECONDS = 30.0
TARGET_ITEMS = 200
TEXTS = ("a photo of a dog", "a handwritten digit seven", "一只青蛙", "the sound of a bird")
QUESTIONS = {
    Modality.IMAGE: ("What is this?", "这是什么？"),
    Modality.VIDEO: ("What happens in the video?", "视频里是什么？"),
    Modality.AUDIO: ("What do you hear?", "你听到了什么？"),
    Modality.TEXT: ("What is it?", "这是什么？"),
    Modality.POINT: ("What shape is this?", "这是什么形状？"),
    Modality.DEPTH: ("What is in front of the camera?", "前面是什么？"),
    Modality.THERMAL: ("What is warm here?", "这是什么？"),
    Modality.IMU: ("What was written?", "写了什么？"),
}
MIXED = ("What do you perceive?", "你感觉到了什么？", "Describe both.", "描述一下。")
WORDS = ("Who are you?", "你是谁？", "What is two plus three?", "二加三等于几？")


class Requests:
    """A file of requests and their media, the same whenever it is made from the same inputs."""

    def __init__(self, media: Mapping[Modality, list[Path]], folder: Path) -> None:
        self._media, self._folder = media, folder
        self._rng = np.random.default_rng(0)
        self._copies = 0
        folder.mkdir()

    def _medium(self, modality: Modality) -> str:
        if modality is Modality.TEXT:
            return f"{self._rng.choice(TEXTS)} {self._rng.integers(1000)}"
        source: Path = self._media[modality][self._rng.integers(len(self._media[modality]))]
        self._copies += 1
        copy = self._folder / f"{self._copies:04d}{source.suffix}"
        shutil.copyfile(source, copy)
        return str(copy)

    def _choice(self, options: tuple[str, ...]) -> str:
        return options[int(self._rng.integers(len(options)))]

    def make(self, count: int) -> list[dict[str, Any]]:
        """Of ten: six about one medium, two mixtures, one dialog, and every other time words alone."""
        kinds = list(Modality)
        made: list[dict[str, Any]] = []
        for number in range(count):
            first = kinds[number % len(kinds)]
            if number % 10 < 6 or number % 20 == 9:
                made.append({"question": self._choice(QUESTIONS[first]), first.value: self._medium(first)})
            elif number % 10 < 8:
                several = self._rng.choice(len(kinds), 2 + number % 2, replace=False)
                mixture: dict[str, Any] = {
                    kinds[n].value: [self._medium(kinds[n]), round(1 / len(several), 3)] for n in several
                }
                made.append({"question": self._choice(MIXED), **mixture})
            elif number % 10 == 8:
                made.append({"messages": self._dialog(kinds[int(self._rng.integers(len(kinds)))])})
            else:
                made.append({"question": self._choice(WORDS)})
        return made

    def _dialog(self, modality: Modality) -> list[dict[str, Any]]:
        name = modality.value
        part: dict[str, Any] = (
            {"type": name, "as_media": True} if modality is Modality.TEXT else {"type": name}
        )
        part |= {name if modality is Modality.TEXT else "path": self._medium(modality)}
        ask, again = self._choice(QUESTIONS[modality]), self._choice(MIXED)
        return [
            {"role": "user", "content": [part, {"type": "text", "text": ask}]},
            {"role": "assistant", "content": [{"type": "text", "text": "I am not sure."}]},
            {"role": "user", "content": [{"type": "text", "text": again}]},
        ]


class Stages:
    """Adds up the time spent in some functions, from any thread."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def watch(self, owner: Any, function: str, stage: str) -> None:
        """Count the calls of ``owner.function`` as ``stage``."""
        inner: Callable[..., Any] = getattr(owner, function)

        def watched(*arguments: Any, **named: Any) -> Any:
            start, cpu_start = time.perf_counter(), time.thread_time()
            try:
                return inner(*arguments, **named)
            finally:
                wall, cpu = time.perf_counter() - start, time.thread_time() - cpu_start
                with self._lock:
                    self.seconds[stage] = self.seconds.get(stage, 0.0) + wall
                    self.cpu_seconds[stage] = self.cpu_seconds.get(stage, 0.0) + cpu

        setattr(owner, function, watched)


def inside(file: Path, model: str, one_by_one: bool) -> None:
    """In a process of its own: answer the file's requests and print the stages as JSON."""
    start = time.perf_counter()
    import imagebind_llm.media
    import imagebind_llm.model.modeling
    from imagebind_llm.inference.assistant import Assistant
    from imagebind_llm.inference.driver import Driver
    from imagebind_llm.inference.perception import Perception
    from imagebind_llm.inference.pipeline import Pipeline

    imported = time.perf_counter()
    bot = Assistant.from_pretrained(model, device="cpu")
    loaded = time.perf_counter()
    stages = Stages()
    stages.watch(imagebind_llm.media, "load_media", "decode")
    stages.watch(Perception, "finish", "wait and encode")
    stages.watch(Perception, "encode", "encode")
    stages.watch(Perception, "enhance", "cache")
    stages.watch(Driver, "complete", "language model")
    stages.watch(Pipeline, "prepare_all", "read requests")
    requests = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    asked = time.perf_counter()
    answers = [bot.ask_batch([r])[0] for r in requests] if one_by_one else bot.ask_batch(requests)
    done = time.perf_counter()
    failures = [str(answer) for answer in answers if isinstance(answer, Exception)]
    if failures:
        raise SystemExit(f"{len(failures)} of {len(answers)} requests failed, first: {failures[0]}")
    values = {
        "import": imported - start,
        "load": loaded - imported,
        "answer": done - asked,
        "seconds": stages.seconds,
        "cpu_seconds": stages.cpu_seconds,
        "new_tokens": sum(answer.new_tokens for answer in answers if not isinstance(answer, Exception)),
        "answers": [str(answer) for answer in answers],
    }
    sys.stdout.write(json.dumps(values))


def measure(options: argparse.Namespace, temporary: Path) -> None:
    model = options.model
    inputs: Path | None = options.inputs
    if options.smoke:
        from random_models import write_model

        model, inputs = str(write_model(temporary / "model", new_tokens=4)), None
        options.items, options.rounds, options.processes = 12, 1, 1
    found = files_by_modality(inputs) if inputs is not None and inputs.is_dir() else {}
    media, drawn = complete(found, temporary / "drawn")
    requests = Requests(media, temporary / "media").make(options.items)
    file = temporary / "requests.jsonl"
    file.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in requests), encoding="utf-8")

    command = [sys.executable, "-m", "imagebind_llm", "ask", "--model", model, "--device", "cpu", "--batch"]
    whole = [run_process([*command, str(file)]) for _ in range(options.rounds)]
    me = [sys.executable, __file__, "--model", model, "--inside", str(file)]
    batched = [run_process(me) for _ in range(options.rounds)]
    looped = [run_process([*me, "--one-by-one"]) for _ in range(options.rounds)]
    picked = np.linspace(0, len(requests) - 1, options.processes).astype(int)
    alone = []
    for number in picked:
        single = temporary / f"single-{number}.jsonl"
        single.write_text(json.dumps(requests[number], ensure_ascii=False) + "\n", encoding="utf-8")
        alone.append(run_process([*command, str(single)]))
    _report(options, drawn, whole, batched, looped, alone)


def _report(
    options: argparse.Namespace,
    drawn: list[str],
    whole: list[ProcessRun],
    batched: list[ProcessRun],
    looped: list[ProcessRun],
    alone: list[ProcessRun],
) -> None:
    inner, loop = ([json.loads(run.output) for run in runs] for runs in (batched, looped))
    said = [json.loads(line)["answer"] for line in whole[0].output.splitlines()]
    same = sum(a == b for a, b in zip(said, loop[0]["answers"], strict=True))
    count = len(said)
    print(
        facts(
            f"model {'random' if options.smoke else options.model}, {count} requests, "
            f"{inner[0]['new_tokens']} answer tokens, {options.rounds} rounds of each; "
            f"drawn for lack of an example: {', '.join(drawn) or 'nothing'}",
            f"answers together that are word for word those one by one: {same} of {count}",
        )
    )
    base = np.array([run.seconds for run in whole])
    rows = []
    for name, runs, scale in (
        ("`ask --batch`, whole process", whole, 1.0),
        ("one process, one after another", looped, 1.0),
        (f"a process each (from {len(alone)})", alone, float(count)),
    ):
        wall = scale * np.array([run.seconds for run in runs])
        work = scale * np.array([run.cpu_seconds for run in runs])
        judged = (
            verdict(float(np.median(wall)), TARGET_SECONDS, at_most=True)
            if runs is whole and count == TARGET_ITEMS
            else "–"
        )
        rows.append([name, spread(wall), spread(work), f"{np.median(wall) / np.median(base):.2f}", judged])
    print_table(("way", "seconds", "CPU seconds", "ratio of medians", "target"), rows)

    def stage(runs: list[dict[str, Any]], *keys: str) -> str:
        return spread([float(_deep(run, keys)) for run in runs])

    parts = (("import", "import"), ("load the model", "load"), ("answer, in all", "answer"))
    rows = [[name, stage(inner, key), stage(loop, key), "–", "–"] for name, key in parts]
    for name, key in (
        ("… read and check requests", "read requests"),
        ("… decode media (in threads)", "decode"),
        ("… wait for media", "wait for media"),
        ("… encode", "encode"),
        ("… cache", "cache"),
        ("… language model", "language model"),
    ):
        cpu = ["–"] * 2 if key == "wait for media" else [stage(r, "cpu_seconds", key) for r in (inner, loop)]
        rows.append([name, stage(inner, "seconds", key), stage(loop, "seconds", key), *cpu])
    print_table(("stage", "s together", "s one by one", "CPU s together", "CPU s one by one"), rows)
    ratio = np.median([r["answer"] for r in loop]) / np.median([r["answer"] for r in inner])
    print(f"Answering together is {ratio:.2f} times as fast as one by one, without import and load.")
    print(load_after())


def _deep(run: dict[str, Any], keys: tuple[str, ...]) -> float:
    if keys[-1] == "wait for media":
        return float(run["seconds"].get("wait and encode", 0.0) - run["seconds"].get("encode", 0.0))
    value: Any = run
    for key in keys:
        value = value.get(key, 0.0)
    return float(value)


def main() -> None:
    parser = argparse.ArgumentParser(description="Many requests together, and one by one.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--inputs", type=Path, default=ROOT / "examples" / "inputs", help="media to copy")
    parser.add_argument("--items", type=int, default=TARGET_ITEMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=8, help="requests asked in a process of their own")
    parser.add_argument("--smoke", action="store_true", help="a model with random weights, few requests")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one-by-one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.inside, options.model, options.one_by_one)
        return
    with tempfile.TemporaryDirectory(prefix="batch-") as name:
        measure(options, Path(name))


if __name__ == "__main__":
    main()
