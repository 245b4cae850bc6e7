"""Saving and strictly loading an ImageBind."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from imagebind_llm.common.budget import built_from
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import read_json, shard_files
from imagebind_llm.common.finite import require_finite
from imagebind_llm.common.folders import atomic_directory, require_replaceable
from imagebind_llm.common.tensor_files import HeldTensors
from imagebind_llm.encoders.base import fingerprint
from imagebind_llm.encoders.imagebind.config import ImageBindConfig
from imagebind_llm.encoders.imagebind.model import ImageBindModel
from imagebind_llm.encoders.imagebind.tokens import causal_mask

_FILLERS = (
    Tensor.normal_,
    Tensor.uniform_,
    Tensor.erfinv_,
    Tensor.clamp_,
    Tensor.add_,
    Tensor.mul_,
    Tensor.fill_,
    Tensor.zero_,
    Tensor.triu,
)


class _WithoutValues(TorchFunctionMode):
    """Skips what would only fill a tensor.

    On the meta device there is nothing to fill, yet the first ``normal_`` or ``triu`` there imports torch's
    compiler, which takes longer than loading a small model.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func in _FILLERS:
            return args[0]
        return func(*args, **kwargs)


def skeleton(config: ImageBindConfig) -> ImageBindModel:
    """The modules of ``config`` on the meta device: names and shapes, no memory, no random numbers drawn."""
    with torch.device("meta"), _WithoutValues():
        return ImageBindModel(config)


CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_SHOWN = 3
_MASK = "modality_preprocessors.text.mask"


def imagebind_from_state_dict(
    config: ImageBindConfig,
    state_dict: Mapping[str, Tensor],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ImageBindModel:
    """A model in eval mode with a copy of ``state_dict`` (any float dtype) in ``dtype``.

    Raises:
        CheckpointError: names or shapes differ from what ``config`` makes, or the text mask is not causal.
    """
    return _load(config, state_dict, torch.device(device), dtype, copy=True)


def save_imagebind(
    model: ImageBindModel, folder: str | os.PathLike[str], dtype: torch.dtype | None = None
) -> None:
    """Write ``config.json`` and ``model.safetensors``, the float weights rounded to ``dtype`` if given.

    Raises:
        CheckpointError: ``folder`` holds files that this function did not write.
        DiskFullError: there was no room.
    """
    require_replaceable(Path(folder), CheckpointError)
    tensors = {name: _cast(tensor, torch.device("cpu"), dtype) for name, tensor in model.state_dict().items()}
    config = json.dumps(model.config.to_dict(), indent=2) + "\n"
    with atomic_directory(folder, CheckpointError) as target:
        (target / CONFIG_FILE).write_text(config, encoding="utf-8")
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            target / WEIGHTS_FILE,
            metadata={"format": "pt"},
        )


def load_imagebind(
    folder: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ImageBindModel:
    """The model that ``save_imagebind`` or ``imagebind-llm convert imagebind`` wrote, in eval mode.

    Raises:
        CheckpointError: a file is missing, unreadable or does not fit the other.
        ConfigError: ``config.json`` contradicts itself.
    """
    folder = Path(folder)
    config = read_config(folder)
    tensors: dict[str, Tensor] = {}
    for file in weight_files(folder):
        try:
            tensors |= load_file(file)
        except SafetensorError as error:
            raise CheckpointError(
                f"{file} is not a whole safetensors file ({error}); get the file again"
            ) from error
    return _load(config, tensors, torch.device(device), dtype, copy=False)


def read_config(folder: Path) -> ImageBindConfig:
    """The configuration of an encoder folder; errors as ``load_imagebind``."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {CONFIG_FILE}; expected a folder with it and {WEIGHTS_FILE}")
    values = read_json(path)
    if "model_type" in values:
        raise CheckpointError(
            f"{folder} holds a model of type {values['model_type']!r}; expected an ImageBind encoder"
        )
    return ImageBindConfig.from_dict(values)


def weight_files(folder: Path) -> list[Path]:
    """The weight file of an encoder folder, or the shards that its index lists.

    Raises:
        CheckpointError: there is none, or one of the shards is missing.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    index = folder / INDEX_FILE
    if not index.is_file():
        raise CheckpointError(f"{folder} has no {WEIGHTS_FILE}; expected a folder with it and {CONFIG_FILE}")
    files = shard_files(index)
    for file in files:
        if not file.is_file():
            raise CheckpointError(
                f"{folder} has no {file.name}, which {INDEX_FILE} lists; get the file again"
            )
    return files


def _load(
    config: ImageBindConfig,
    tensors: Mapping[str, Tensor],
    device: torch.device,
    dtype: torch.dtype,
    copy: bool,
) -> ImageBindModel:
    with built_from("the encoder's configuration", HeldTensors(tensors).infos):
        model = skeleton(config)
    check_state_dict(model.state_dict(), tensors)
    placed = {name: _cast(tensor, device, dtype, copy) for name, tensor in tensors.items()}
    require_finite(placed.items(), "the encoder's weights")
    model.load_state_dict(placed, strict=True, assign=True)
    if _loses(dtype, tensors):
        model.remember_fingerprint(fingerprint(config, tensors))
    return model.eval()


def check_state_dict(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Compare names, shapes and kinds; values only where they must be constant (the causal mask).

    Raises:
        CheckpointError: one line with counts and the first few names of each difference.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    common = [name for name in expected if name in found]
    shapes = [name for name in common if found[name].shape != expected[name].shape]
    kinds = [name for name in common if found[name].is_floating_point() != expected[name].is_floating_point()]

    def shape(name: str) -> str:
        return f"{name} {list(found[name].shape)} instead of {list(expected[name].shape)}"

    problems = [
        _some("missing", missing),
        _some("unexpected", unexpected),
        _some("of another shape", shapes, shape),
        _some("not of the right number type", kinds, lambda name: f"{name} {found[name].dtype}"),
    ]
    problems = [problem for problem in problems if problem]
    if problems:
        raise CheckpointError(
            f"weights do not fit the configuration: {'; '.join(problems)}; "
            f"{_remedy(missing, unexpected, shapes)}"
        )
    if _MASK in found and not torch.equal(found[_MASK].float().cpu(), causal_mask(found[_MASK].shape[0])):
        raise CheckpointError(
            f"{_MASK} is not 0 up to the diagonal and -inf above; these weights read text in another way, "
            "use weights of an ImageBind"
        )


def _some(what: str, names: Sequence[str], show: Callable[[str], str] = str) -> str:
    """Such as ``3 missing (a, b, c)``, the first few only; nothing if there are none."""
    if not names:
        return ""
    more = ", …" if len(names) > _SHOWN else ""
    return f"{len(names)} {what} ({', '.join(show(name) for name in names[:_SHOWN])}{more})"


def _remedy(missing: Sequence[str], unexpected: Sequence[str], shapes: Sequence[str]) -> str:
    """What to do, with the commonest mix-up (with or without Point-Bind) named."""
    if not shapes and all("point" in name for name in [*missing, *unexpected]):
        change = "leave the point encoder out of" if missing else "add the point encoder to"
        return f"{change} the configuration (ImageBindConfig.huge(point={not missing}) for published weights)"
    return "use the configuration these weights were saved with"


def _cast(tensor: Tensor, device: torch.device, dtype: torch.dtype | None, copy: bool = False) -> Tensor:
    """Whole numbers keep their type."""
    return tensor.detach().to(device, dtype if tensor.is_floating_point() else None, copy=copy)


def _loses(dtype: torch.dtype, tensors: Mapping[str, Tensor]) -> bool:
    """Whether casting to ``dtype`` rounds more coarsely than a fingerprint's float16."""
    stored = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    return dtype not in (torch.float16, torch.float32, torch.float64) and stored != {dtype}
