"""Lines of a batch file, mutated as JSON and as bytes."""

import json
from random import Random
from typing import Any

from support.media_samples import make_samples
from support.tiny_model import write_tiny_model

from fuzz.mutate import dump, mutate_bytes, mutate_json
from fuzz.target import Case, Target
from imagebind_llm import Assistant
from imagebind_llm.cli.batch_lines import answer_lines


class BatchLines(Target):
    """A few lines, of which some are odd: each an answer or an error of its own, good ones unharmed."""

    name = "batch lines"

    def prepare(self) -> None:
        self._bot = Assistant.from_pretrained(write_tiny_model(self.folder / "model"))
        self._files = {}
        for sample in make_samples():
            path = self.folder / f"{sample.modality}{sample.suffix}"
            path.write_bytes(sample.data)
            self._files.setdefault(str(sample.modality), str(path))

    def case(self, rng: Random) -> Case:
        good = dump(
            {"id": "good", "question": "What is this?", "image": self._files["image"], "max_new_tokens": 2}
        )
        labels, lines = [], [good]
        for number in range(rng.randint(1, 3)):
            value: Any = rng.choice(self._requests()) | {"id": number, "max_new_tokens": 2}
            for _ in range(rng.randint(1, 3)):
                label, value = mutate_json(value, rng)
                labels.append(label)
            line = dump(value)
            if rng.random() < 0.3:
                label, line = mutate_bytes(line, rng)
                labels.append(label)
            lines.append(line.replace(b"\n", b" "))
        lines.append(good)
        (self.input / "odd.jsonl").write_bytes(b"\n".join(lines))

        def run() -> None:
            answers = [line.values for line in answer_lines(self._bot, lines, {"max_new_tokens": 3})]
            asked = sum(1 for line in lines if line.strip())
            assert len(answers) == asked, f"{len(answers)} answers to {asked} lines"
            for answer in answers:
                json.dumps(answer, allow_nan=False)
                assert "should not happen" not in str(answer.get("error")), answer["error"]
            assert "answer" in answers[0], f"a good line failed: {answers[0]}"
            assert answers[0]["answer"] == answers[-1]["answer"], "two equal lines, two answers"

        return Case("; ".join(labels), run)

    def _requests(self) -> list[dict[str, Any]]:
        files = self._files
        picture = {"type": "image", "path": files["image"], "weight": 2.0}
        address = {"type": "image_url", "image_url": {"url": f"file://{files['image']}"}}
        sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
        dialog = [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [picture, {"type": "text", "text": "Who?"}]},
            {"role": "assistant", "content": "Me."},
            {"role": "user", "content": [address, "Why?"]},
        ]
        sampled = {"temperature": 0.5, "seed": 3, "top_p": 0.9}
        return [
            {"question": "What is this?", "image": files["image"], **sampled},
            {"question": "And this?", "audio": [files["audio"], 0.5], "text": "a dog", "cache": False},
            {"question": "?", "point": [[files["point"], 1.0], [files["point"], 0.5]], "system": "Be short."},
            {"messages": dialog},
            {"question": "x", "imu": files["imu"], "depth": files["depth"], "thermal": files["thermal"]},
            {"messages": [{"role": "user", "content": [sound]}]},
        ]
