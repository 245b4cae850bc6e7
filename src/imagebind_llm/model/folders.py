"""Model folders: whole ones, and adapters that name the parts they were trained on.

A whole folder is transformers' own (``config.json``, ``model*.safetensors``, ``generation_config.json``).
An adapter folder holds ``adapter.safetensors`` instead of the weights: what training changed. Its
``config.json`` says which language model and encoder belong to it, by place (``base_models``) and by
``fingerprints``; others are refused.
"""

import copy
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from imagebind_llm.common.budget import built_from
from imagebind_llm.common.errors import CheckpointError, reason_of
from imagebind_llm.common.files import read_json
from imagebind_llm.common.finite import require_finite
from imagebind_llm.common.folders import filled
from imagebind_llm.common.locate import (
    ADAPTER_FILE,
    COMPONENTS,
    base_paths_as_read,
    base_paths_to_write,
    find_base_path,
    refuse_circle,
)
from imagebind_llm.common.tensor_files import HeldTensors, weights_of
from imagebind_llm.encoders.registry import PROCESSOR_FILE
from imagebind_llm.model.adaptation import (
    adapter_state_dict,
    language_model_fingerprint,
    load_adapter_state_dict,
)
from imagebind_llm.model.bases import (
    language_model_of,
    progress_bar_if_long,
    whole_language_model,
    whole_model_folder,
)
from imagebind_llm.model.configuration import (
    CONFIG_FILE,
    ImageBindLLMConfig,
    read_model_config,
)
from imagebind_llm.model.generation import GENERATION_FILE, load_generation_settings
from imagebind_llm.model.precision import cast_weights
from imagebind_llm.model.recorded import COMPARED_BYTES, require_recorded_if_small
from imagebind_llm.model.unfilled import WithoutRandomValues

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration


_FORMAT = "imagebind-llm-adapter"
_VERSION = "1"
ADAPTER_METADATA = {"format": _FORMAT, "version": _VERSION}
"""What an adapter file says about itself; the stage comes with it."""
_WEIGHTS = (
    "adapter.safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
)
_log = logging.getLogger(__name__)


@contextmanager
def staged(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty directory beside ``folder``; on success its files replace those of the same name there.

    Each file appears whole, weights first and ``config.json`` last, which names folders as seen from
    ``folder``. Files of other rooms (processor, cache) stay; weights that no longer belong are removed.

    Raises:
        CheckpointError: weights or a configuration of another model lie there.
        DiskFullError: there was no room; the folder is as it was.
    """
    target = Path(folder)
    refuse_another_model(target, (CONFIG_FILE, *_WEIGHTS))
    with filled(target, CheckpointError, last=CONFIG_FILE) as stage:
        yield stage
        _name_places(stage / CONFIG_FILE, target)
        fresh = {file.name for file in stage.iterdir()}
    for pattern in _WEIGHTS:
        for file in target.glob(pattern):
            if file.name not in fresh:
                file.unlink()


def refuse_another_model(folder: Path, writes: Sequence[str]) -> None:
    """Refuse a folder where files would be replaced that are not of an ImageBind-LLM.

    Whose they are is told by ``config.json``; where there is none, by ``processor_config.json``.

    Args:
        folder: need not be there.
        writes: patterns of the files that would be replaced.

    Raises:
        CheckpointError: naming one of them.
    """
    found = sorted(file.name for pattern in writes for file in folder.glob(pattern))
    if not found:
        return
    known = {CONFIG_FILE: "model_type", PROCESSOR_FILE: "processor_class"}
    name = next((name for name in known if (folder / name).is_file()), None)
    try:
        kind = None if name is None else read_json(folder / name).get(known[name])
    except CheckpointError:
        kind = None
    if kind not in (ImageBindLLMConfig.model_type, "ImageBindLLMProcessor"):
        raise CheckpointError(
            f"the folder {str(folder)!r} holds {found[0]!r}, which is of another model and would be "
            "replaced; give another folder, or delete that file yourself"
        )


def _name_places(config: Path, folder: Path) -> None:
    """Write other folders in a configuration as seen from the one it is for."""
    values = read_json(config)
    values["base_models"] = base_paths_to_write(values["base_models"], folder)
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def record_fingerprints(model: "ImageBindLLMForConditionalGeneration") -> None:
    """Write the parts' fingerprints into the configuration; an absent encoder keeps its recorded one."""
    model.config.fingerprints["language_model"] = language_model_fingerprint(model.language_model)
    if model.encoder is not None:
        model.config.fingerprints["encoder"] = str(model.encoder.fingerprint)


def write_adapter(model: "ImageBindLLMForConditionalGeneration", folder: Path) -> None:
    """Write what training changed, and the configuration, into ``folder``.

    Warns of parts without a name: such an adapter opens only for who hands them over as objects.
    """
    bases = model.config.base_models
    parts = {"language_model": model.language_model, "encoder": model.encoder}
    unnamed = [part for part, module in parts.items() if module is not None and not bases.get(part)]
    if unnamed:
        missing = ", ".join(f'"{part}": {{"id": …}}' for part in unnamed)
        warnings.warn(
            f"this adapter does not say where its {' and '.join(COMPONENTS[part] for part in unnamed)} can "
            f"be found; before saving, set model.config.base_models to {{{missing}}} (a folder, a hub id or "
            f'"nano"), or open it with from_pretrained(…, {", ".join(f"{part}=…" for part in unnamed)})',
            stacklevel=3,
        )
    state = {name: tensor.cpu().contiguous() for name, tensor in adapter_state_dict(model).items()}
    metadata = {**ADAPTER_METADATA, "stage": str(model.config.stage)}
    save_file(state, folder / ADAPTER_FILE, metadata=metadata)
    model.config.dtype = model.language_model.dtype
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)


def read_adapter(file: Path) -> dict[str, Tensor]:
    """The tensors of an adapter file.

    Raises:
        CheckpointError: a broken file, one of another kind or version, or NaN in it.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            if (metadata.get("format"), metadata.get("version")) != (_FORMAT, _VERSION):
                raise CheckpointError(
                    f"{file} is marked {metadata.get('format')!r} version {metadata.get('version')!r}; "
                    f"expected "
                    f"{_FORMAT!r} version {_VERSION!r}: save it again with save_pretrained(adapter_only=True)"
                )
            found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}); copy or download it again") from None
    require_finite(found.items(), str(file))
    return found


def find_adapter(name: str | os.PathLike[str], arguments: Mapping[str, Any]) -> Path | None:
    """The local path of the adapter file in a folder or hub repository; ``None`` if it is a whole model.

    Args:
        name: folder or hub id.
        arguments: those of ``from_pretrained``; what concerns the hub is used.
    """
    if Path(name).is_dir():
        path = Path(name) / (arguments.get("subfolder") or "") / ADAPTER_FILE
        return path if path.is_file() else None
    from transformers.utils import cached_file

    from imagebind_llm.common.hub import require_repository

    if not arguments.get("local_files_only") and not arguments.get("cache_dir"):
        require_repository(os.fspath(name), arguments.get("revision"))
    keys = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")

    def fetched(file: str) -> str | None:
        return cached_file(
            name,
            file,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            **{key: arguments[key] for key in keys if arguments.get(key) is not None},
        )

    found = fetched(ADAPTER_FILE)
    if found is None:
        return None
    for beside in (CONFIG_FILE, GENERATION_FILE):
        fetched(beside)
    return Path(found)


def load_whole_folder(
    model_class: Callable[[ImageBindLLMConfig], nn.Module],
    load: Callable[..., Any],
    name: str | os.PathLike[str],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Load a whole model with transformers' own ``from_pretrained`` (``load``), and refuse what it only
    reports.

    Raises:
        CheckpointError: a file is missing or damaged, or tensors are missing, unexpected, of another shape,
            not numbers, or not those whose fingerprints are recorded.
    """
    if Path(name).is_dir() and not kwargs.get("subfolder"):
        _try_to_build(model_class, Path(name))
    wants_info = kwargs.pop("output_loading_info", False)
    try:
        with progress_bar_if_long(name):
            model, info = found = load(name, *args, output_loading_info=True, **kwargs)
    except RuntimeError as error:
        if "mismatched" not in str(error):
            raise
        raise CheckpointError(
            f"the weights in {name} have other shapes than its config.json says; use the pair that belongs"
        ) from error
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # about another file, which it names
        raise CheckpointError(
            f"the weights in {name} cannot be read ({reason_of(error)}); "
            "copy or download the whole folder again"
        ) from error
    faults = [
        f"{len(info[f'{kind}_keys'])} {kind} ({', '.join(sorted(map(str, info[f'{kind}_keys']))[:4])})"
        for kind in ("missing", "unexpected", "mismatched")
        if info[f"{kind}_keys"]
    ]
    if faults:
        raise CheckpointError(
            f"the weights in {name} do not fit its config.json: {'; '.join(faults)}; "
            "copy or download the whole folder again"
        )
    require_finite(model, str(name))
    if Path(name).is_dir() and not kwargs.get("subfolder"):
        _compare_recorded(model, Path(name))
    complete_whole_model(model, Path(name))
    return found if wants_info else model


def _try_to_build(model_class: Callable[[ImageBindLLMConfig], nn.Module], folder: Path) -> None:
    """Find out on the meta device what transformers' loader would stumble over, or take all memory for.

    Raises:
        CheckpointError: no model can be built from ``config.json``, or one larger than the weights.
    """
    config = read_model_config(folder)
    try:
        stored = weights_of(folder).infos
    except CheckpointError:
        return  # the loader says so as well
    with built_from(folder / CONFIG_FILE, stored), torch.device("meta"), WithoutRandomValues():
        model_class(config)


def _compare_recorded(model: "ImageBindLLMForConditionalGeneration", folder: Path) -> None:
    """Compare the files with the fingerprints, if they are small enough."""
    if sum(file.stat().st_size for file in folder.glob("*.safetensors") if file.is_file()) > COMPARED_BYTES:
        return
    source = weights_of(folder)
    state = {name: source.get(name) for name in source.infos}
    config: Any = model.config
    require_recorded_if_small(config, model, state, str(folder))


def restore_stored_values(model: "ImageBindLLMForConditionalGeneration", folder: Path) -> None:
    """Give all parts but the language model the values and precision that ``folder`` holds.

    transformers loads a whole model in one precision, by default the language model's. A frozen encoder or a
    trained bind network stored in a finer one would be rounded, and be another one by its fingerprint. The
    folder of an adapter is left as it is: its parts were opened one by one.
    """
    if (folder / ADAPTER_FILE).is_file():
        return
    source = weights_of(folder)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not name.startswith("language_model.") and name in source.infos:
            tensor.data = source.get(name).to(tensor.device)


def complete_whole_model(model: Any, folder: Path) -> None:
    """What the folder says about a model beside its weights: where its parts were, and its encoder's name."""
    if folder.is_dir():
        model.config.base_models = base_paths_as_read(model.config.base_models, folder)
    recorded = model.config.fingerprints["encoder"]
    if recorded and hasattr(model.encoder, "remember_fingerprint"):
        model.encoder.remember_fingerprint(recorded)  # loading in a coarser precision does not change it


def load_adapter_folder(
    model_class: type["ImageBindLLMForConditionalGeneration"],
    file: Path,
    language_model: "PreTrainedModel | None",
    encoder: nn.Module | None,
    dtype: torch.dtype | str | None,
    config: ImageBindLLMConfig | None = None,
    **base_arguments: Any,
) -> "ImageBindLLMForConditionalGeneration":
    """Assemble a model from an adapter file and the parts its configuration names (or the ones given).

    Args:
        model_class: what to make.
        file: the adapter file.
        language_model: this one instead of the one that is named.
        encoder: this one instead of the one that is named.
        dtype: to cast the whole to.
        config: the adapter's configuration, if it was read (and perhaps changed) before.
        base_arguments: transformers', for loading the language model.

    Raises:
        CheckpointError: parts that cannot be found, or whose fingerprint differs from the recorded one.
    """
    state = read_adapter(file)
    read = read_model_config(file.parent)
    config = read if config is None else copy.deepcopy(config)
    config.base_models = base_paths_as_read(config.base_models, file.parent)
    if config._attn_implementation is not None:  # where the Auto classes put what they were asked for
        base_arguments = {"attn_implementation": config._attn_implementation, **base_arguments}
    if language_model is None:  # as saved: one that was given may hold the precision to cast to
        language_model = _load_language_model(read, file.parent, base_arguments)
    if encoder is None and config.encoder_config is not None:
        encoder = _load_encoder(config, file.parent)
    # compared before anything is attached: a refused language model is handed back as it came
    if encoder is not None:
        _compare("encoder", config.fingerprints["encoder"], str(encoder.fingerprint), file)
    offloaded = any(parameter.is_meta for parameter in language_model.parameters())
    if getattr(language_model, "hf_quantizer", None) is None and not offloaded:
        found = language_model_fingerprint(language_model)
        _compare("language model", config.fingerprints["language_model"], found, file)
    else:
        _log.warning(
            "the language model is quantised or offloaded: "
            "its fingerprint cannot be compared with the adapter's"
        )
    built = built_from(file.parent / CONFIG_FILE, HeldTensors(state).infos)
    with built, WithoutRandomValues():  # all of its own values are in the adapter
        model = model_class(config, language_model=language_model, encoder=encoder)
    # in the precision they were saved in, which may be higher than the language model's
    model.bind.to(state["bind.project.weight"].dtype)
    model.injection.to(state["injection.gate"].dtype)
    load_adapter_state_dict(model, state, str(file))
    if (file.parent / GENERATION_FILE).is_file():
        model.generation_config = load_generation_settings(file.parent)
    if isinstance(dtype, str) and dtype != "auto":
        dtype = getattr(torch, dtype)
    if isinstance(dtype, torch.dtype):
        for part in (model.bind, model.injection, model.encoder):
            if part is not None:
                part.to(dtype=dtype)
        quantised = getattr(language_model, "hf_quantizer", None) is not None
        if not quantised and not hasattr(language_model, "hf_device_map"):  # those are as they should be
            cast_weights(model.language_model, dtype)
    return model.eval()


def _load_language_model(
    config: ImageBindLLMConfig, folder: Path, arguments: dict[str, Any], depth: int = 0
) -> "PreTrainedModel":
    refuse_circle(folder, depth)
    base = config.base_models["language_model"]
    if not base:
        raise CheckpointError(
            f"the adapter in {folder} does not say where its language model is "
            f"(fingerprint {config.fingerprints['language_model']}); give it as language_model="
        )
    # In the precision it was trained in: a coarser one would change the fingerprint. The caller casts later.
    arguments = {"dtype": config.dtype or "auto", **arguments}
    where = find_base_path("language_model", base, folder)
    whole = whole_model_folder(where, base.get("revision"))
    if whole is not None and not (whole / ADAPTER_FILE).is_file():
        return language_model_of(whole, config, **arguments)
    if whole is not None:  # the base is itself an adapter, on a base of its own
        return _load_language_model(read_model_config(whole), whole, arguments, depth + 1)
    return whole_language_model(where, base.get("revision"), **arguments)


def _load_encoder(config: ImageBindLLMConfig, folder: Path) -> nn.Module:
    from imagebind_llm.encoders.registry import load_encoder

    base = config.base_models["encoder"]
    if not base:
        raise CheckpointError(
            f"the adapter in {folder} does not say where its encoder is "
            f"(fingerprint {config.fingerprints['encoder']}); give it as encoder="
        )
    return load_encoder(find_base_path("encoder", base, folder), revision=base.get("revision"))


def _compare(part: str, expected: str | None, found: str, file: Path) -> None:
    if expected is not None and expected != found:
        raise CheckpointError(
            f"{file.name} was trained with the {part} {expected}, but this one is {found}; use the {part} "
            f"it was "
            "trained with (the same weights, in the same precision or a finer one)"
        )
