"""A fine-tuned model, taken back part of the way to its language model.

    python -m mini_lab.milder --model runs/mini/finetune/export --before runs/mini/pretrain/export \\
        --share 0.5 --out runs/mini/milder

Fine-tuning on captions costs language: perplexity of plain text rises. What was learned in the language
model (low-rank updates, biases, norms) is kept to a share, as Wortsman et al. mix fine-tuned weights with
those before (WiSE-FT, arXiv 2109.01903). The bind network and the gates stay.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.training.build import exit_code

WEIGHTS = "model.safetensors"
_LANGUAGE = "language_model."


def mixed(model: Path, before: Path, share: float) -> Iterator[tuple[str, Tensor]]:
    """The tensors of ``model``, those of its language model at ``share`` of what changed since ``before``.

    Args:
        model: export of ``finetune``, with its low-rank updates beside the weights.
        before: export of the ``pretrain`` that it went on from.
        share: 0 is the language model as it was, 1 is ``model``.

    Raises:
        CheckpointError: they do not belong together.
    """
    from safetensors import safe_open

    with safe_open(model / WEIGHTS, "pt") as now, safe_open(before / WEIGHTS, "pt") as then:
        known = set(then.keys())
        for name in now.keys():  # noqa: SIM118 (a handle, no mapping)
            tensor = now.get_tensor(name)
            own = name.replace(".base_layer", "")
            if name.startswith(_LANGUAGE) and ".lora_A." not in name:
                if own in known:
                    old = then.get_tensor(own)
                    if old.shape != tensor.shape:
                        raise CheckpointError(
                            f"{name} has another shape in {str(before)!r}; give the export it went on from"
                        )
                    tensor = (old.float() + share * (tensor.float() - old.float())).to(tensor.dtype)
                elif ".lora_B." in name or name.endswith(".bias"):
                    tensor = (share * tensor.float()).to(tensor.dtype)
                else:
                    raise CheckpointError(
                        f"{name} is not in {str(before)!r}; give the export that the model went on from"
                    )
            yield name, tensor.contiguous()


def write(model: Path, before: Path, share: float, out: Path) -> None:
    """Write the folder ``out``.

    Raises:
        UserError: the share is not between 0 and 1, or a folder holds no weights.
        CheckpointError: the folders do not belong together.
    """
    from safetensors.torch import save_file

    if not 0 <= share <= 1:
        raise UserError(f"--share is {share}; expected 0 to 1")
    for folder in (model, before):
        if not (folder / WEIGHTS).is_file():
            raise UserError(f"there is no {str(folder / WEIGHTS)!r}; give the export of a training stage")
    with atomic_directory(out) as stage:
        shutil.copytree(model, stage, dirs_exist_ok=True, ignore=shutil.ignore_patterns(WEIGHTS))
        save_file(dict(mixed(model, before, share)), stage / WEIGHTS, metadata={"format": "pt"})


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.milder", description="Less of a fine-tuning.")
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="export of finetune")
    parser.add_argument("--before", type=Path, required=True, metavar="FOLDER", help="export of pretrain")
    parser.add_argument("--share", type=float, required=True, help="what is kept, 0 to 1")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="written, as a whole")
    given = parser.parse_args()
    sys.exit(exit_code(lambda: write(given.model, given.before, given.share, given.out)))


if __name__ == "__main__":
    main()
