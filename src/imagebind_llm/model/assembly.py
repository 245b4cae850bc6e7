"""Putting a new, untrained model together from a language model and a joint encoder.

``imagebind-llm new`` and the pre-training stage both use it. The gates are closed, so the result answers
exactly as its language model does until it is trained.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.hub import require_repository
from imagebind_llm.common.locate import NANO
from imagebind_llm.model.bases import language_model_config, not_there, whole_language_model
from imagebind_llm.model.dialog import ALPACA_TEMPLATE, build_dialog
from imagebind_llm.model.families import family_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from imagebind_llm.media.base import MediaReader
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

PROBE_DIALOG = (
    {"role": "user", "content": "What is this?"},
    {"role": "assistant", "content": "A cat."},
    {"role": "user", "content": "And now?"},
)
"""A dialog that every chat template must be able to render turn by turn."""


def assemble(
    language_model: "PreTrainedModel",
    encoder: Any,
    media: "MediaReader",
    bind: Mapping[str, Any] | None = None,
    injection: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> "ImageBindLLMForConditionalGeneration":
    """A fresh bind network and injection between ``encoder`` and ``language_model``, whose weights stay.

    Args:
        language_model: a causal language model of a known family.
        encoder: a :class:`~imagebind_llm.encoders.base.JointEncoder`.
        media: how its media are opened; recorded in the configuration.
        bind: values of :class:`~imagebind_llm.model.bind.BindNetwork` other than its defaults.
        injection: values of :class:`~imagebind_llm.model.injection.Injection` other than its defaults.
        seed: of the bind network's weights.

    Raises:
        ConfigError: a family that is not known, or a setting that does not fit it.
    """
    from imagebind_llm.model.configuration import ImageBindLLMConfig
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    config = ImageBindLLMConfig(
        text_config=language_model.config,
        encoder_config=encoder.settings,
        embedding_dim=encoder.embedding_dim,
        bind=bind,
        injection=injection,
        media=media.to_dict(),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ImageBindLLMForConditionalGeneration(config, language_model, encoder)


def open_language_model(
    name: str | os.PathLike[str], revision: str | None = None, dtype: torch.dtype | str = "auto"
) -> "PreTrainedModel":
    """A decoder-only language model from a folder or the hub.

    Args:
        name: folder or hub id.
        revision: of a hub id.
        dtype: precision; ``"auto"`` is that of its weights.

    Raises:
        ConfigError: it is no decoder-only language model, or of a family that is not known.
        CheckpointError: there is none of that name, or it is not whole.
    """
    check_language_model(name, revision)
    return whole_language_model(os.fspath(name), revision, dtype=dtype)


def check_language_model(name: str | os.PathLike[str], revision: str | None = None) -> None:
    """Refuse what is no decoder-only language model of a known family, without reading its weights.

    Raises:
        ConfigError: another kind of model.
        CheckpointError: there is none of that name.
    """
    where = os.fspath(name)
    whole = f"{where!r} is a whole ImageBind-LLM already; give the language model alone"
    if where == NANO:
        raise ConfigError(whole)
    if revision is not None and Path(where).is_dir():
        raise ConfigError(f"{where!r} is a folder, which has no revisions; leave out {revision!r}")
    config = language_model_config(where, revision)
    if config.model_type == "imagebind_llm":
        raise ConfigError(whole)
    if config.is_encoder_decoder:
        raise ConfigError(
            f"{where!r} is a {config.model_type}, which reads with an encoder and writes with a decoder; "
            "give a decoder-only language model (Llama, Qwen, Mistral, Gemma, Phi, GPT-NeoX, …)"
        )
    family_of(config.model_type)


def open_tokenizer(
    name: str | os.PathLike[str], revision: str | None = None, template: str | None = None
) -> tuple["PreTrainedTokenizerBase", list[str]]:
    """The tokenizer of a language model, able to render dialogs, and what had to be chosen for it.

    Args:
        name: folder or hub id.
        revision: of a hub id.
        template: ``None`` its own chat template, or Alpaca's if it has none; ``"alpaca"`` that one in any
            case.

    Raises:
        UserError: there is none, it cannot end an answer, or its chat template cannot be used turn by turn.
    """
    from transformers import AutoTokenizer

    where = os.fspath(name)
    if not Path(where).is_dir():
        require_repository(where, revision)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision or "main")
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise not_there("tokenizer", where, error, "; give another folder with --tokenizer") from None
    if template not in (None, "alpaca"):
        raise UserError(
            f"chat template {template!r}; expected 'alpaca', or leave it out for the tokenizer's own"
        )
    notes = []
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the tokenizer {where!r} has no end token, so no answer would end; set eos_token in its "
            "tokenizer_config.json"
        )
    if template == "alpaca" or not tokenizer.chat_template:
        if template is None:
            notes.append("the tokenizer brings no chat template: Alpaca's is used, as in the published model")
        tokenizer.chat_template = ALPACA_TEMPLATE
    if tokenizer.pad_token_id is None:
        notes.append(f"the tokenizer has no padding token: its end token {tokenizer.eos_token!r} pads")
        tokenizer.pad_token = tokenizer.eos_token
    try:
        build_dialog(PROBE_DIALOG, tokenizer, add_generation_prompt=True)
    except UserError as error:
        raise UserError(f"{error}; or take Alpaca's with --template alpaca") from None
    return tokenizer, notes


def check_vocabulary(language_model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuse a tokenizer with more tokens than the language model has embeddings.

    Raises:
        ConfigError: the two do not belong together.
    """
    table: Any = language_model.get_input_embeddings()
    rows = int(table.weight.shape[0])
    if len(tokenizer) > rows:
        raise ConfigError(
            f"the tokenizer has {len(tokenizer)} tokens and the language model {rows}; give the tokenizer "
            "that belongs to it"
        )


def place_of(name: str | os.PathLike[str], revision: str | None, commit: str | None) -> dict[str, Any]:
    """How an adapter folder remembers a part: a folder's path, or hub id and commit."""
    if Path(name).expanduser().is_dir():
        return {"id": str(Path(name).expanduser().resolve()), "revision": None}
    return {"id": os.fspath(name), "revision": commit or revision}
