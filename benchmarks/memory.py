"""Peak memory of a process that loads a model and answers one question, for each way of loading it.

    python benchmarks/memory.py [--size mid|1b] [--choices float32,int8,…]

Each choice runs in a process of its own; the peak is the operating system's (``VmHWM``), so it counts
pages of memory-mapped weight files too while they are resident. A random Llama is written to a temporary
folder and deleted afterwards.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHOICES: dict[str, dict[str, Any]] = {
    "imports only": {},
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"dtype": "bfloat16", "quantization": "int8"},
    "int8-weights": {"dtype": "bfloat16", "quantization": "int8-weights"},
    "offload": {"dtype": "bfloat16", "device_map": "auto"},
}
SIZES = {
    "mid": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12},
    "1b": {"hidden_size": 2048, "intermediate_size": 5504, "num_hidden_layers": 20},
}
_OFFLOAD_CPU = "200MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="1b", help="of the random Llama")
    parser.add_argument("--choices", default=",".join(CHOICES), help="of the ways to load it")
    parser.add_argument("--nano", action="store_true", help="also measure nano")
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "OPTIONS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _one(*arguments.one)
        return
    import measuring

    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        folder = Path(name)
        numbers = _write(folder / "model", SIZES[arguments.size])
        size = sum(file.stat().st_size for file in (folder / "model").glob("*.safetensors"))
        print(
            measuring.facts(
                f"random Llama, {numbers / 1e6:.0f} M numbers, {size / 2**20:.0f} MiB in bfloat16"
            )
        )
        print(
            "| model | choice | peak memory MiB | to load s | to answer 8 tokens s |\n|---|---|---|---|---|"
        )
        models = {"random Llama": str(folder / "model"), **({"nano": "nano"} if arguments.nano else {})}
        for label, model in models.items():
            for choice in arguments.choices.split(","):
                options = dict(CHOICES[choice])
                if "device_map" in options:
                    options |= {"max_memory": {"cpu": _OFFLOAD_CPU}, "offload_folder": str(folder / "disk")}
                    if model == "nano":
                        continue
                found = _measure("" if choice == "imports only" else model, options)
                shown = f"{choice}, {_OFFLOAD_CPU} in memory, rest on disk" if choice == "offload" else choice
                print(
                    f"| {label} | {shown} | {found['peak'] / 2**20:.0f} | {found['load']:.1f} | "
                    f"{found['answer']:.1f} |",
                    flush=True,
                )


def _measure(model: str, options: dict[str, Any]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", model, json.dumps(options)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _one(model: str, options: str) -> None:
    """In a process of its own: load, answer, and say how much memory it took at most."""
    import torch
    import transformers  # noqa: F401 - part of what every choice pays

    from imagebind_llm import Assistant

    torch.set_num_threads(1)
    start = loaded = time.perf_counter()
    if model:
        bot = Assistant.from_pretrained(model, device="cpu", cache=False, **json.loads(options))
        loaded = time.perf_counter()
        bot.ask("What is this?", max_new_tokens=8)
    peak = _peak()
    print(json.dumps({"peak": peak, "load": loaded - start, "answer": time.perf_counter() - loaded}))


def _peak() -> int:
    """Bytes. Not ``ru_maxrss``, which a process inherits from the one that started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell a process its peak memory (VmHWM); use Linux")


def _write(folder: Path, sizes: dict[str, int]) -> int:
    """A whole model around a random Llama in bfloat16, and nano's encoder; returns the Llama's size."""
    import torch
    from random_models import tokenizer
    from transformers import AutoModelForCausalLM, LlamaConfig

    from imagebind_llm.encoders import load_encoder, media_of_encoder
    from imagebind_llm.model.assembly import assemble
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    words = tokenizer()
    config = LlamaConfig(
        vocab_size=32000,
        num_attention_heads=16,
        max_position_embeddings=512,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        **sizes,
    )
    with torch.device("meta"):
        bare = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    bare.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in bare.parameters():
            parameter.fill_(0.01)  # memory does not depend on values
    bare.model.rotary_emb.inv_freq.fill_(0.1)
    encoder: Any = load_encoder("nano")
    media = media_of_encoder("nano", encoder)
    model = assemble(bare, encoder, media, bind={"hidden": 1024})
    model.save_pretrained(folder, max_shard_size="500MB")
    ImageBindLLMProcessor(words, media).save_pretrained(folder)
    return sum(parameter.numel() for parameter in bare.parameters())


if __name__ == "__main__":
    main()
