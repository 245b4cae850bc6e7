"""The finished model: what was trained, small, and a whole folder of it and its parts.

    python -m mini_lab.together --parts parts --model runs/mini/finetune/export \\
        --encoder runs/mini/heads/export --cache runs/mini/cache --share 0.6 --trained runs/mini/trained \\
        --out runs/mini/model

``trained/adapter`` and ``trained/heads`` hold only what was trained (and nano's tower of point clouds, which
is no part of a package), as float16: fingerprints are those of float16 values, so they stay. ``out`` is that
put on the parts as ``imagebind-llm pull`` would, with the visual cache. ``out`` appears last.

``--share`` lets the low-rank updates count in part: between the language model before and after fine-tuning
lie models that can do better on what they have not seen (Wortsman et al., arXiv 2109.01903).
"""

import argparse
import sys
from pathlib import Path

from imagebind_llm.checkpoints.parts.bundle import ADAPTER, HEADS, assemble
from imagebind_llm.checkpoints.parts.towers import write_heads
from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.training.build import exit_code

LANGUAGE_MODEL = "smollm2-135m-instruct"
BACKBONES = {"image": "efficientnet-lite2", "text": "all-minilm-l6-v2", "audio": "whisper-tiny.en"}
"""The parts, by the towers that stand on them."""


def write_trained(model: Path, encoder: Path, out: Path, share: float = 1.0) -> None:
    """Write ``adapter/`` and ``heads/``.

    Args:
        model: export of the last stage.
        encoder: export of the heads.
        out: written as a whole.
        share: how far the low-rank updates count.

    Raises:
        UserError: the share is none.
        CheckpointError: one of them is not whole, or the model has no such updates.
    """
    import torch

    if not 0 < share <= 1:
        raise UserError(f"--share is {share}; expected more than 0 and at most 1")

    from imagebind_llm.model.adaptation import trainable_parameters, tuned_parameters
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    found = Model.from_pretrained(model)
    if found.config.lora is None:
        raise CheckpointError(f"{str(model)!r} has no low-rank updates; give the export of finetune")
    found.config.lora = {**found.config.lora, "scale": share * found.config.lora["scale"]}
    processor = ImageBindLLMProcessor.from_pretrained(model)
    found.config.base_models = {
        part: {"id": part, "revision": None} for part in ("language_model", "encoder")
    }
    found.config.text_config._name_or_path = found.config._name_or_path = ""  # else where it lay
    with torch.no_grad():
        for parameter in (
            *trainable_parameters(found, "pretrain").values(),
            *tuned_parameters(found).values(),
        ):
            parameter.data = parameter.data.half()
    with atomic_directory(out) as stage:
        found.save_pretrained(stage / ADAPTER, adapter_only=True)
        processor.save_pretrained(stage / ADAPTER)
        write_heads(encoder, BACKBONES, stage / HEADS)
        _halve(stage / HEADS)
        for file in stage.glob("*/.imagebind-llm.json"):  # the whole says whose it is
            file.unlink()


def _halve(heads: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = next(heads.glob("*.safetensors"))
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(tensors, file, metadata={"format": "pt"})


def write(
    parts: Path, model: Path, encoder: Path, cache: Path, trained: Path, out: Path, share: float = 1.0
) -> None:
    """Write both folders.

    Raises:
        UserError: the share is none.
        CheckpointError: something is not whole, or does not belong to the parts.
    """
    import shutil

    from imagebind_llm.inference.assistant import CACHE_FOLDER

    write_trained(model, encoder, trained, share)
    folders = {"language_model": parts / LANGUAGE_MODEL}
    folders |= {tower: parts / name for tower, name in BACKBONES.items()}
    with atomic_directory(out) as stage:
        assemble(folders, trained, stage)
        shutil.copytree(cache, stage / CACHE_FOLDER)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.together", description="The finished model.")
    for name in ("parts", "model", "encoder", "cache", "trained", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--share", type=float, default=1.0, metavar="S", help="how far the low-rank updates count"
    )
    sys.exit(exit_code(lambda: write(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
