"""How long the first answer takes, from an empty process: ``imagebind-llm ask`` against three bases.

* ``import torch, transformers``: hardly more than torch, as transformers imports its modules when they are
  first used. Nothing can be done with it yet, so no target is measured against it.
* ``from transformers import LlamaForCausalLM, AutoTokenizer``, and torch: what any program imports that runs
  a language model. This is the base of the target.
* that, and the weights: the same language model with ``from_pretrained``, the other tensors of the folder
  with safetensors. It opens no picture, builds no encoder and answers nothing.

All are whole processes and take turns. The verdict is on CPU time (user and system), the least of all rounds:
it changes little when other programs share the machine.

    python benchmarks/cold_start.py                      the bundled nano model, three minutes
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

TARGET = 1.15
"""Most that the CPU time of ``ask`` may be of that of each base in ``JUDGED``."""
JUDGED = ("classes", "weights")
QUESTION = "What is this?"
IMPORTS = "import torch, transformers"
CLASSES = "import torch\nfrom transformers import LlamaForCausalLM, AutoTokenizer"
WEIGHTS = """
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
from safetensors.torch import load_file
model = AutoModelForCausalLM.from_pretrained({language!r}, dtype=torch.float32)
rest = load_file({rest!r})
"""
NAMES = {
    "imports": "(a) `import torch, transformers`",
    "classes": "(b) importing `LlamaForCausalLM` and `AutoTokenizer`",
    "weights": "(c) that, and loading the bare weights",
    "ask": "`imagebind-llm ask`",
}


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
        python = [sys.executable, "-c"]
        ways = {
            "imports": [*python, IMPORTS],
            "classes": [*python, CLASSES],
            "weights": [*python, WEIGHTS.format(language=str(language), rest=str(rest))],
            "ask": ask,
        }
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
    wall = {way: np.array([run.seconds for run in found]) for way, found in runs.items()}
    cpu = {way: np.array([run.cpu_seconds for run in found]) for way, found in runs.items()}
    rows = []
    for way, name in NAMES.items():
        ratio = float(cpu["ask"].min() / cpu[way].min())
        compared = [f"{ratio:.2f}", f"{np.median(wall['ask']) / np.median(wall[way]):.2f}"]
        aim = verdict(ratio, TARGET, at_most=True) if way in JUDGED else "–"
        own = ["–", "–"] if way == "ask" else compared
        rows.append([name, spread(wall[way]), spread(cpu[way]), f"{cpu[way].min():.2f}", *own, aim])
    print_table(
        (
            "process",
            "seconds",
            "CPU seconds",
            "least CPU seconds",
            "`ask` : this, least CPU time",
            "`ask` : this, median seconds",
            "target",
        ),
        rows,
    )
    print(load_after())


if __name__ == "__main__":
    main()
