"""Does ``imagebind-llm convert`` stay within 1.3 × the largest file, at the published sizes?

Files with the names, shapes and number types of the real ones (see the lists in tests/golden/manifests),
filled with zeros but for a number that tells each tensor apart, are written, converted by the command line in
a process of its own, checked tensor by tensor and deleted. The peak is the process's resident memory
(``VmHWM``), pages of memory-mapped files and the libraries included.

    python benchmarks/convert_full_size.py                       ImageBind-Huge: 10 GB of disk, two minutes
    python benchmarks/convert_full_size.py --what huge llama adapter     also LLaMA-7B and 7B.pth: 35 GB
"""

import argparse
import gzip
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measuring import facts, load_after, print_table, run_process, verdict
from safetensors import safe_open

MANIFESTS = Path(__file__).resolve().parents[1] / "tests" / "golden" / "manifests"
TARGET = 1.3
MASK = "modality_preprocessors.text.mask"
CONVERT = """
import sys
from imagebind_llm.cli import main
try:
    main(sys.argv[1:])
finally:
    status = open("/proc/self/status").read().split()
    print("VmHWM", status[status.index("VmHWM:") + 1])
"""


@dataclass(frozen=True)
class Step:
    """One conversion: its sources, the command, and where each tensor goes."""

    name: str
    write: Callable[[Path], Path]
    command: Callable[[Path], list[str]]
    manifest: str
    out: str


def manifest(name: str) -> dict[str, tuple[list[int], str]]:
    """Name → shape and number type, as published."""
    return json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))


def fake(name: str) -> dict[str, torch.Tensor]:
    """Zeros, which cost no memory until they are touched, each beginning with a number of its own."""
    state = {}
    for number, (key, (shape, dtype)) in enumerate(manifest(name).items()):
        tensor = torch.from_numpy(np.zeros(shape, dtype))
        if key == MASK:
            tensor = torch.full(shape, float("-inf")).triu(1)
        elif tensor.dtype.is_floating_point:
            tensor.view(-1)[0] = mark(number)
        state[key] = tensor
    return state


def mark(number: int) -> float:
    """A number that float16 holds exactly, and that no neighbour has."""
    return 1.0 + number % 1000


def write_checkpoint(path: Path, name: str, wrap: bool = False) -> Path:
    """A PyTorch file like the published one."""
    state = fake(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state} if wrap else state, path)
    return path


def write_llama(folder: Path) -> Path:
    """Meta's folder of LLaMA-7B, with a tokenizer of 32000 single characters."""
    from sentencepiece import sentencepiece_model_pb2 as spm

    path = write_checkpoint(folder / "consolidated.00.pth", "llama_7B_consolidated.00")
    shutil.copy(MANIFESTS / "params_7B.json", folder / "params.json")
    model = spm.ModelProto()
    model.trainer_spec.model_type = 2
    for number in range(32000):
        piece = model.pieces.add()
        piece.piece = {0: "<unk>", 1: "<s>", 2: "</s>"}.get(number, chr(0x4E00 + number))
        piece.type = {0: 2, 1: 3, 2: 3}.get(number, 1)
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    return path


STEPS = {
    "huge": Step(
        "imagebind_huge.pth",
        lambda place: write_checkpoint(place / "in" / "imagebind_huge.pth", "imagebind_huge"),
        lambda place: ["imagebind", str(place / "in" / "imagebind_huge.pth")],
        "imagebind_huge",
        "encoder",
    ),
    "w3D": Step(
        "imagebind_w3D.pth",
        lambda place: write_checkpoint(place / "in" / "imagebind_w3D.pth", "imagebind_w3D"),
        lambda place: ["imagebind", str(place / "in" / "imagebind_w3D.pth")],
        "imagebind_w3D",
        "encoder",
    ),
    "llama": Step(
        "LLaMA/7B",
        lambda place: write_llama(place / "in" / "7B"),
        lambda place: ["llama", str(place / "in" / "7B")],
        "llama_7B_consolidated.00",
        "base",
    ),
    "adapter": Step(
        "7B.pth",
        lambda place: write_checkpoint(place / "in" / "7B.pth", "imagebind_llm_7B_finetune", wrap=True),
        lambda place: [
            "adapter", str(place / "in" / "7B.pth"), "--base", str(place / "base"),
            "--encoder", str(place / "encoder"),
        ],
        "imagebind_llm_7B_finetune",
        "model",
    ),
}  # fmt: skip


def check(step: Step, plan: dict, folder: Path) -> int:
    """Every tensor is there, of its shape, and begins with its own number; returns how many."""
    numbers = {key: number for number, key in enumerate(manifest(step.manifest))}
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - not a dict
                part = opened.get_slice(name)
                shape = part.get_shape()
                first = part[0:1].flatten()[0] if shape else opened.get_tensor(name)
                found[name] = (shape, float(first))
    for tensor in plan["tensors"]:
        shape, first = found.pop(tensor["to"])
        assert shape == tensor["shape"], tensor
        origin = tensor["from"].partition(" ")[0]
        if origin != MASK and "int" not in tensor["dtype"]:
            assert first == mark(numbers[origin]), (tensor, first)
    assert not found, sorted(found)[:3]
    return len(plan["tensors"])


def measure(step: Step, place: Path) -> list[str]:
    """Write, convert, check; one row of the table."""
    size = step.write(place).stat().st_size
    command = ["convert", *step.command(place), "--out", str(place / step.out)]
    dry = run_process([sys.executable, "-m", "imagebind_llm", *command, "--dry-run", "--json"])
    plan = json.loads(dry.output)
    run = run_process([sys.executable, "-c", CONVERT, *command])
    peak = int(run.output.split()[-1]) * 1024
    count = check(step, plan, place / step.out)
    files = len(list((place / step.out).glob("*.safetensors")))
    shutil.rmtree(place / "in")
    return [
        step.name, f"{size / 1e9:.2f}", f"{count} in {files}", f"{run.seconds:.0f}", f"{run.cpu_seconds:.0f}",
        f"{peak / 1e9:.2f}", f"{peak / size:.2f}", verdict(peak / size, TARGET, at_most=True),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of the conversions at the published sizes.")
    parser.add_argument("--what", nargs="+", choices=list(STEPS), default=["huge"])
    parser.add_argument(
        "--scratch", type=Path, help="where to write (default: the system's temporary folder)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="convert-", dir=options.scratch) as name:
        print(facts("file contents: zeros, each tensor marked; GB = 10^9 bytes; peak: VmHWM of the process"))
        rows = []
        for what in options.what:
            rows.append(measure(STEPS[what], Path(name)))
            print(*rows[-1], sep=" | ", file=sys.stderr)  # early, should a later step fail
    print_table(("file", "GB", "tensors", "seconds", "CPU seconds", "peak GB", "peak / file", "target"), rows)
    print(load_after())


if __name__ == "__main__":
    main()
