"""How long the first answer takes, from an empty process: ``imagebind-llm ask`` against a plain script.

The plain script is what is hard to do without: ``import torch, transformers``, load the same language model
with ``from_pretrained`` and the other tensors of the folder with safetensors. It opens no picture, builds no
encoder and answers nothing. Both are whole processes and take turns.

    python benchmarks/cold_start.py                      the bundled nano model, two minutes
    python benchmarks/cold_start.py --model FOLDER --image PICTURE --rounds 20
    python benchmarks/cold_start.py --smoke              a model with random weights, one round
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawn_media import draw_media
from measuring import ProcessRun, facts, load_after, print_table, run_process, spread, verdict
from random_models import write_model
from safetensors.torch import save_file

from imagebind_llm.common.locate import locate_folder
from imagebind_llm.inference.loading import load_model

TARGET = 1.5
QUESTION = "What is this?"
IMPORTS = "import torch, transformers"
PLAIN = """
import torch, transformers
from safetensors.torch import load_file
model = transformers.AutoModelForCausalLM.from_pretrained({language!r}, dtype=torch.float32)
rest = load_file({rest!r})
"""


def split_model(folder: Path, out: Path) -> tuple[Path, Path]:
    """The same weights as a plain language model folder and one file of all other tensors."""
    from transformers import AutoModelForCausalLM

    model: Any = load_model(folder, torch.device("cpu"), torch.float32)
    plain = AutoModelForCausalLM.from_config(model.config.text_config)
    state = model.state_dict()
    names = set(plain.state_dict())
    prefix = "language_model."
    plain.load_state_dict({name: state[prefix + name] for name in names})
    stored = model.config.dtype if isinstance(model.config.dtype, torch.dtype) else torch.float32
    plain.to(stored).save_pretrained(out / "language")
    rest = {
        name: tensor.clone() if not tensor.is_floating_point() else tensor.to(stored).clone()
        for name, tensor in state.items()
        if name.removeprefix(prefix) not in names
    }
    save_file(rest, out / "rest.safetensors")
    return out / "language", out / "rest.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description="The time from an empty process to the first answer.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--image", type=Path, help="a picture (default: a drawn one)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--smoke", action="store_true", help="a model with random weights, one round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cold-start-") as name:
        temporary = Path(name)
        model = options.model
        if options.smoke:
            options.rounds, model = 1, str(write_model(temporary / "model", new_tokens=4))
        image = options.image or draw_media(temporary / "media") / "picture.jpg"
        language, rest = split_model(locate_folder(model), temporary)
        ask = [sys.executable, "-m", "imagebind_llm", "ask", QUESTION, "--image", str(image)]
        ask += ["--model", model, "--device", "cpu"]
        ways = {
            "`import torch, transformers` alone": [sys.executable, "-c", IMPORTS],
            "plain: import and load": [
                sys.executable, "-c", PLAIN.format(language=str(language), rest=str(rest)),
            ],
            "`imagebind-llm ask`": ask,
        }  # fmt: skip
        answer = json.loads(run_process([*ask, "--json"]).output)
        for way in () if options.smoke else ways:  # a first time, so that the files are in memory for all
            run_process(ways[way])
        size = sum(file.stat().st_size for file in (*language.iterdir(), rest)) / 1e6
        print(
            facts(
                f"model {options.model if not options.smoke else 'random'}, {size:.0f} MB; whole processes, "
                f"{options.rounds} rounds in turns, files warm; answer of {answer['new_tokens']} tokens, of "
                f"which {answer['seconds']:.2f} s from opening the picture to the last token"
            )
        )
        runs: dict[str, list[ProcessRun]] = {way: [] for way in ways}
        for number in range(options.rounds):
            for way in list(ways)[:: 1 if number % 2 == 0 else -1]:
                runs[way].append(run_process(ways[way]))
    base = list(ways)[1]
    plain_wall = np.array([run.seconds for run in runs[base]])
    plain_cpu = np.array([run.cpu_seconds for run in runs[base]])
    rows = []
    for way, found in runs.items():
        wall, cpu = np.array([r.seconds for r in found]), np.array([r.cpu_seconds for r in found])
        ratio = float(np.median(wall) / np.median(plain_wall))
        rows.append(
            [way, spread(wall), spread(cpu), f"{ratio:.2f}", spread(wall / plain_wall),
             f"{np.median(cpu) / np.median(plain_cpu):.2f}",
             verdict(ratio, TARGET, at_most=True) if "ask" in way else "–"]
        )  # fmt: skip
    print_table(
        (
            "process",
            "seconds",
            "CPU seconds",
            "ratio of medians",
            "ratio, paired",
            "CPU-time ratio",
            "target",
        ),
        rows,
    )
    print(load_after())


if __name__ == "__main__":
    main()
