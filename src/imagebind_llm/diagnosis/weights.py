"""Weight files against what the configuration makes: names, shapes and fingerprints, without loading."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imagebind_llm.common.tensor_files import TensorFiles, TensorSource
from imagebind_llm.diagnosis.report import Report
from imagebind_llm.encoders.base import imagebind_fingerprint_of

if TYPE_CHECKING:
    from imagebind_llm.model.configuration import ImageBindLLMConfig
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

_SHOWN = 3
_AGAIN = "copy or download the whole folder again"


def bare_model(config: "ImageBindLLMConfig") -> "ImageBindLLMForConditionalGeneration":
    """The modules that ``config`` makes, on the meta device: names and shapes without memory."""
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    with torch.device("meta"):
        return ImageBindLLMForConditionalGeneration(config)


def bare_language_model(config: Any) -> nn.Module:
    """A language model without memory."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        made: nn.Module = AutoModelForCausalLM.from_config(config)
    return made


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters of the parts of a model, tied ones once."""
    counts = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in model.named_children()
    }
    return {**counts, "total": sum(counts.values())}


def precisions(source: TensorSource) -> dict[str, int]:
    """Numbers of values in the files by their type, most first."""
    found: Counter[str] = Counter()
    for info in source.infos.values():
        count = 1
        for side in info.shape:
            count *= side
        found[str(info.dtype).removeprefix("torch.")] += count
    return dict(found.most_common())


def compare(report: Report, part: str, expected: Mapping[str, Tensor], source: TensorFiles) -> bool:
    """Find names and shapes that differ; whether there were none.

    Args:
        report: where findings go.
        part: what they are about.
        expected: the state dict of the bare module, with ``keep_vars=True``: a tensor that has two names may
            be stored under either.
        source: the files.
    """
    infos = source.infos
    by_identity: dict[int, list[str]] = {}
    for name, tensor in expected.items():
        by_identity.setdefault(id(tensor), []).append(name)
    missing = [names[0] for names in by_identity.values() if not any(name in infos for name in names)]
    unexpected = [name for name in infos if name not in expected]
    shapes = [
        f"{name} {list(infos[name].shape)} instead of {list(expected[name].shape)}"
        for name in expected
        if name in infos and tuple(expected[name].shape) != infos[name].shape
    ]
    for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)):
        if names:
            more = ", …" if len(names) > _SHOWN else ""
            report.find(part, f"{len(names)} tensors {what}: {', '.join(names[:_SHOWN])}{more}", _AGAIN)
    return not (missing or unexpected or shapes)


def encoder_digest(settings: Mapping[str, Any], source: TensorSource) -> str | None:
    """The fingerprint of an ImageBind in files; None where it cannot be told from them.

    That is so for other types of encoders, and for weights in bfloat16, which is coarser than what the
    fingerprint hashes.
    """
    from imagebind_llm.encoders.imagebind.config import ImageBindConfig

    values = dict(settings)
    if values.pop("type", "imagebind") != "imagebind":
        return None
    if any(info.dtype == torch.bfloat16 for info in source.infos.values()):
        return None
    return imagebind_fingerprint_of(ImageBindConfig.from_dict(values), source)


def bytes_of(source: TensorSource) -> int:
    """Size of all weight files."""
    return sum(file.stat().st_size for file in source.files)


def adapter_files(folder: Path) -> TensorFiles:
    """The one file of an adapter."""
    from imagebind_llm.common.locate import ADAPTER_FILE

    return TensorFiles([folder / ADAPTER_FILE])
