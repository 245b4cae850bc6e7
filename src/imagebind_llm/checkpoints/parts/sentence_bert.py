"""A sentence-transformers folder with a BERT → transformers' ``BertModel``, with how its words are pooled.

Its ``modules.json`` must say: a transformer, the mean over its tokens, scaled to length 1. These files stay,
so that sentence-transformers reads the folder too.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagebind_llm.checkpoints.convert.plan import Plan, as_they_are
from imagebind_llm.checkpoints.packages.archives import unpack
from imagebind_llm.checkpoints.parts.kinds import only_file
from imagebind_llm.common.budget import refuse_many_layers
from imagebind_llm.common.errors import CheckpointError, reason_of, short
from imagebind_llm.common.files import load_json, read_json
from imagebind_llm.common.tensor_files import TensorFile, on_meta, require_same_keys, require_same_shapes

if TYPE_CHECKING:
    from transformers import BertConfig

_ARCHIVE = "model.zip"
_MODULES = ("Transformer", "Pooling", "Normalize")
_POOLING = "1_Pooling/config.json"
_KEPT = ("modules.json", "sentence_bert_config.json", _POOLING)
_POSITIONS = "embeddings.position_ids"
"""0, 1, 2, …: stored by older versions of transformers, computed by newer ones."""


def plan_part(unpacked: Path, dtype: torch.dtype | None) -> Plan:
    """The conversion of the sentence-transformers folder (or the ``model.zip`` with one) below ``unpacked``.

    Args:
        dtype: precision of the result, ``None`` for that of the file.

    Raises:
        UserError: it is none, holds no BERT, or pools otherwise than by the mean.
    """
    if any(unpacked.rglob(_ARCHIVE)):
        archive = only_file(unpacked, _ARCHIVE)
        unpack(archive, archive.with_suffix(""), ("*",))
    folder = only_file(unpacked, "modules.json").parent
    _check_modules(folder)
    source = TensorFile(folder / "model.safetensors")
    config = _config(folder)
    expected = _skeleton(config)
    dropped = {name: "counted up from 0, not learned" for name in source.infos if name == _POSITIONS}
    if dropped:
        _check_positions(source)
    found = on_meta({name: info for name, info in source.infos.items() if name not in dropped})
    require_same_keys(expected, found, repr(str(source.path)))
    require_same_shapes(expected, found, repr(str(source.path)))
    longest = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    if type(longest) is not int or not 0 < longest <= config.max_position_embeddings:
        raise CheckpointError(f"{str(folder)!r} has max_seq_length {short(longest)}; expected a whole number")

    def finish(stage: Path) -> None:
        config.dtype = dtype or source.infos["embeddings.word_embeddings.weight"].dtype
        config.save_pretrained(stage)
        _write_tokenizer(folder, stage, longest)
        for name in _KEPT:
            (stage / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, stage / name)

    return Plan(
        kind="sentence-bert",
        tensors=[tensor.cast(dtype) for tensor in as_they_are(source, expected)],
        sources=[source],
        finish=finish,
        dropped=dropped,
        summary={"layers": config.num_hidden_layers, "width": config.hidden_size, "pooling": "mean"},
    )


def _check_modules(folder: Path) -> None:
    try:
        modules = load_json(folder / "modules.json")
        types = tuple(str(module["type"]).rpartition(".")[2] for module in modules)
        places = [module["path"] for module in modules]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{str(folder)!r} has no modules.json that can be read ({reason_of(error)})"
        ) from None
    if types != _MODULES or places[:2] != ["", Path(_POOLING).parent.name]:
        raise CheckpointError(
            f"{str(folder)!r} is made of {', '.join(types)}; known is {', '.join(_MODULES)}"
        )
    pooling = read_json(folder / _POOLING)
    modes = sorted(name for name, value in pooling.items() if name.startswith("pooling_mode_") and value)
    if modes != ["pooling_mode_mean_tokens"]:
        raise CheckpointError(
            f"{str(folder / _POOLING)!r} pools by {', '.join(modes) or 'nothing'}; known is "
            "the mean of the tokens"
        )


def _config(folder: Path) -> "BertConfig":
    from transformers import BertConfig

    values = read_json(folder / "config.json")
    refuse_many_layers(values, repr(str(folder / "config.json")))
    if values.get("model_type") != "bert":
        raise CheckpointError(
            f"{str(folder)!r} holds a model of type {short(values.get('model_type'))}; expected bert"
        )
    if values.get("position_embedding_type", "absolute") != "absolute":
        raise CheckpointError(
            f"{str(folder)!r} has no absolute positions, which are the only ones known here"
        )
    for name in (
        "_name_or_path",
        "transformers_version",
        "position_embedding_type",
        "gradient_checkpointing",
    ):
        values.pop(name, None)
    try:
        config = BertConfig.from_dict(values)
    except Exception as error:  # what it makes of odd values has many names
        raise CheckpointError(
            f"{str(folder / 'config.json')!r} cannot be used ({reason_of(error)})"
        ) from None
    config.architectures = ["BertModel"]
    return config


def _skeleton(config: "BertConfig") -> dict[str, Tensor]:
    from transformers import BertModel

    with torch.device("meta"):
        return dict(BertModel(config).state_dict())


def _check_positions(source: TensorFile) -> None:
    found = source.get(_POSITIONS).reshape(-1)
    if not torch.equal(found, torch.arange(found.numel(), dtype=found.dtype)):
        raise CheckpointError(f"{str(source.path)!r} has positions that do not count up from 0")


def _write_tokenizer(folder: Path, stage: Path, longest: int) -> None:
    """The tokenizer without a fixed length: who calls it says how texts are padded."""
    values: dict[str, Any] = read_json(folder / "tokenizer.json")
    values["truncation"], values["padding"] = None, None
    (stage / "tokenizer.json").write_text(json.dumps(values, ensure_ascii=False) + "\n", encoding="utf-8")
    settings = read_json(folder / "tokenizer_config.json")
    settings.pop("name_or_path", None)
    settings["model_max_length"] = longest
    (stage / "tokenizer_config.json").write_text(
        json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    if (folder / "special_tokens_map.json").is_file():
        shutil.copyfile(folder / "special_tokens_map.json", stage / "special_tokens_map.json")
