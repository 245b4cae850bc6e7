"""The whole model: frozen encoder, bind network, injection and any decoder-only language model."""

import copy
import inspect
import os
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.registry import build_encoder
from imagebind_llm.encoders.tokens import with_groups
from imagebind_llm.model.adaptation import install_biases, install_lora, refuse_foreign_adapters
from imagebind_llm.model.attending import TokenAttention
from imagebind_llm.model.bind import BindNetwork
from imagebind_llm.model.conditioning import (
    Enhancer,
    check_condition_ids,
    check_direction,
    enhance_conditions,
    mix,
)
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.families import DecoderShape
from imagebind_llm.model.generation import check_beams
from imagebind_llm.model.injection import ARGUMENT, ConditionDeltas, Injection, TokenDeltas
from imagebind_llm.model.loss import causal_loss
from imagebind_llm.model.own_update import refuse_twice
from imagebind_llm.model.parts import check_gives_tokens, network_settings, with_stand_ins
from imagebind_llm.model.versions import version_of

if TYPE_CHECKING:
    from imagebind_llm.media.batch import MediaBatch

__all__ = ["ImageBindLLMForConditionalGeneration", "causal_loss"]

_ENCODER_BATCH = 64
"""Media encoded at once; bounds memory whatever the number of conditions."""


class ImageBindLLMForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Answers about conditions: one vector per (mixture of) media, added to every token that sees it.

    Attributes:
        language_model: any causal language model of a known family (see :mod:`imagebind_llm.model.families`).
        encoder: the frozen joint encoder, or ``None`` for a model that is only given embeddings.
        bind: the bind network.
        injection: gates and hooks, attached to the language model.

    Args:
        config: the configuration; its ``text_config`` and ``encoder_config`` say what to build.
        language_model: a ready language model to use instead of building one.
        encoder: a ready encoder to use instead of building one.
    """

    config_class = ImageBindLLMConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ["text", "image", "video", "audio"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values", ARGUMENT, "deltas"]  # noqa: RUF012
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(
        self,
        config: ImageBindLLMConfig,
        language_model: PreTrainedModel | None = None,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__(config)
        self._changes = 0
        shape = DecoderShape.of(config.text_config)
        self.language_model = language_model or AutoModelForCausalLM.from_config(config.text_config)
        self.encoder = encoder if encoder is not None else build_encoder(config.encoder_config)
        self.bind = BindNetwork(config.embedding_dim, shape.width, **network_settings(config.bind))
        self.injection = Injection(shape, **config.injection, tokens=self.bind.tokens)
        if self.encoder is not None:
            check_gives_tokens(self.encoder, config.bind)
            self.encoder.requires_grad_(False)
        if language_model is not None:
            config.text_config = language_model.config
            config._attn_implementation = language_model.config._attn_implementation
            self.generation_config = copy.deepcopy(language_model.generation_config)
        if config.bias_targets:
            install_biases(self.language_model, config.bias_targets)
        if config.lora is not None:
            install_lora(self.language_model, config.lora)
        self.post_init()
        self.injection.attach(self.language_model)
        self.train(self.training)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "peft_config":  # peft's last word when it has put its adapters in
            self._changes += 1
            refuse_twice(self)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name == "peft_config":  # peft's last word when it has merged them
            self._changes += 1

    def _init_weights(self, module: nn.Module) -> None:
        # Parts that transformers knows initialise themselves; the encoder brings its own initialisation.
        if isinstance(module, Injection):
            module.reset_parameters()

    def train(self, mode: bool = True) -> "ImageBindLLMForConditionalGeneration":
        """Set training mode on all but the encoder, which always stays in evaluation mode."""
        super().train(mode)
        self._changes += int(mode)
        if self.encoder is not None:
            self.encoder.eval()
        return self

    def weights_version(self) -> Hashable:
        """Equal for two calls if the weights have not changed in between, as far as torch or peft notice, and
        the model has not gone into training mode."""
        return self._changes, version_of(self)

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        adapter_only: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write a model folder; a reader never sees half a file.

        Args:
            save_directory: the folder; files of other kinds in it (processor, cache) stay.
            is_main_process: other processes of a distributed run write nothing.
            adapter_only: write only what training changed, and the fingerprints of what it was trained on.
            kwargs: transformers' (``max_shard_size``, ``state_dict`` …) for a whole folder.

        Raises:
            ConfigError: peft adapters were added to the model; merge or unload them first.
        """
        if not is_main_process:
            return
        from imagebind_llm.model.folders import record_fingerprints, staged, write_adapter

        refuse_foreign_adapters(self, "saving")
        record_fingerprints(self)
        with staged(save_directory) as stage:
            if adapter_only:
                write_adapter(self, stage)
            else:
                super().save_pretrained(stage, **kwargs)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        name: str | os.PathLike[str],
        *args: Any,
        language_model: PreTrainedModel | None = None,
        encoder: nn.Module | None = None,
        **kwargs: Any,
    ) -> "ImageBindLLMForConditionalGeneration":
        """Load a model folder (or hub repository), strictly, in evaluation mode.

        Args:
            name: folder or hub id; a whole model or an adapter.
            args: as transformers takes them.
            language_model: for an adapter: use this one instead of loading the one it names.
            encoder: for an adapter: use this one instead of loading the one it names.
            kwargs: transformers' (``dtype``, ``device_map``, ``quantization_config``, ``revision`` …).

        Raises:
            CheckpointError: tensors are missing, unexpected or of another shape; or an adapter whose
                language model or encoder has another fingerprint than the one it was trained with.
        """
        from imagebind_llm.model.folders import find_adapter, load_adapter_folder, load_whole_folder

        adapter = find_adapter(name, kwargs)
        if adapter is None:
            if language_model is not None or encoder is not None:
                raise UserError(
                    f"{name} is a whole model; language_model= and encoder= are for adapter folders"
                )
            return load_whole_folder(cls, super().from_pretrained, name, *args, **kwargs)
        for key in ("revision", "subfolder", "adapter_kwargs", "_from_auto"):
            kwargs.pop(key, None)  # of the adapter, not of its base
        config = kwargs.pop("config", None)  # transformers' Auto classes have read it already
        dtype = kwargs.pop("dtype", kwargs.pop("torch_dtype", None))
        return load_adapter_folder(cls, adapter, language_model, encoder, dtype, config, **kwargs)

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding of the language model."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding of the language model."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The output projection of the language model."""
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replace the output projection of the language model."""
        self.language_model.set_output_embeddings(value)

    @torch.no_grad()
    def embed_media(self, media: "MediaBatch") -> Tensor:
        """Encode all media, a modality at a time, and mix them: ``[N, D]``, one row per condition
        (``[N, 1 + G, D]`` with ``bind.encoder_tokens``).

        Raises:
            UserError: the model has no encoder.
        """
        encoder: Any = self.encoder
        if encoder is None:
            raise UserError("this model has no encoder; give conditions (embeddings) instead of media")
        weight = next(encoder.parameters())
        parts, weights, index = [], [], []
        for modality, group in media.groups.items():
            for chunk in group.tensor.split(_ENCODER_BATCH):
                moved = chunk.to(weight.device)
                rows = self.encode_media(
                    modality, moved.to(weight.dtype) if moved.is_floating_point() else moved
                )
                parts.append(with_stand_ins(rows, self.bind.encoder_tokens))
            weights.append(group.weights)
            index.append(group.index)
        device = weight.device
        return mix(torch.cat(parts), torch.cat(weights).to(device), torch.cat(index).to(device), media.count)

    def encode_media(self, modality: Modality, batch: Tensor) -> Tensor:
        """Media ``[B, …]`` of one modality as conditions are mixed of: unit rows ``[B, D]``, or
        ``[B, 1 + G, D]`` where ``bind.encoder_tokens`` asks for ``G`` groups of tokens of this modality.

        Raises:
            UserError: the encoder lacks the modality, or gives too few tokens of it.
        """
        encoder: Any = self.encoder
        groups = self.bind.encoder_tokens
        if groups and modality in self.config.bind["tokens_of"]:
            return with_groups(encoder, modality, batch, groups)
        rows: Tensor = encoder.encode(modality, batch)
        return rows

    def condition_deltas(
        self, conditions: Tensor | None = None, media: "MediaBatch | None" = None
    ) -> ConditionDeltas | None:
        """What conditions (or media) add to each layer; ``None`` without either.

        Differentiable in the bind network and the injection. Use it once and pass the result as ``deltas`` to
        every call about the same conditions.
        """
        if media is not None:
            if conditions is not None:
                raise UserError("both conditions and media were given; expected one of them")
            conditions = self.embed_media(media)
        if conditions is None:
            return None
        return self.injection.deltas(self.bind(conditions.to(self.bind.project.weight.device)))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        conditions: Tensor | None = None,
        condition_ids: Tensor | None = None,
        media: "MediaBatch | None" = None,
        deltas: ConditionDeltas | TokenDeltas | TokenAttention | None = None,
        num_items_in_batch: Tensor | int | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits, and the loss if there are labels.

        Args:
            input_ids: ``[B, T]``.
            attention_mask: as the language model takes it; ``[B, 1, T, T]`` for packed rows.
            position_ids: ``[B, T]``; restart them in each part of a packed row.
            past_key_values: key-value cache.
            inputs_embeds: ``[B, T, C]`` instead of ``input_ids``.
            labels: ``[B, T]``, ``-100`` where nothing is learned; shifted here.
            conditions: ``[N, D]`` embeddings (mixtures, not renormalised); with ``bind.encoder_tokens`` also
                ``[N, 1 + G, D]`` as :meth:`embed_media` gives them.
            condition_ids: ``[B, T]`` int64, the condition each token sees, ``-1`` for none. Left out, row
                ``b`` sees condition ``b`` (or the only one).
            media: decoded media instead of ``conditions``.
            deltas: the result of :meth:`condition_deltas` instead of either; or what its ``select`` gave for
                just these tokens, then without ``condition_ids``.
            num_items_in_batch: number of labels to divide the summed loss by (``None``: those of this call).
            logits_to_keep: apply the output projection only to that many last positions, or to the positions
                in a 1-D tensor; 0 means all. Not together with labels.
            kwargs: passed on to the language model.
        """
        if deltas is None:
            deltas = self.condition_deltas(conditions, media)
        elif conditions is not None or media is not None:
            raise UserError("deltas were given together with conditions or media; expected only one of them")
        given = input_ids if input_ids is not None else inputs_embeds
        if given is None:
            raise UserError("neither input_ids nor inputs_embeds was given")
        if deltas is None:
            if condition_ids is not None and bool((condition_ids >= 0).any()):
                raise UserError(
                    "condition_ids point to conditions, but neither conditions nor media were given"
                )
        elif isinstance(deltas, TokenDeltas | TokenAttention):
            kwargs[ARGUMENT] = deltas
        else:
            condition_ids = check_condition_ids(condition_ids, deltas.count, given)
            kwargs[ARGUMENT] = deltas.select(condition_ids)
        kwargs.pop("return_dict", None)
        keeps_all = isinstance(logits_to_keep, int) and logits_to_keep == 0
        if not keeps_all:
            if labels is not None:
                raise UserError("logits_to_keep was given together with labels; a loss needs all logits")
            if _takes_logits_to_keep(type(self.language_model).forward):
                kwargs["logits_to_keep"] = logits_to_keep
        outputs: Any = self.language_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        if labels is None:
            own: CausalLMOutputWithPast = outputs
            if not keeps_all:
                own.logits = _kept(outputs.logits, logits_to_keep, given.shape[1])
            return own
        return CausalLMOutputWithPast(
            loss=causal_loss(outputs.logits, labels, num_items_in_batch),
            logits=outputs.logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        *args: Any,
        conditions: Tensor | None = None,
        condition_ids: Tensor | None = None,
        media: "MediaBatch | None" = None,
        deltas: ConditionDeltas | None = None,
        cache: Enhancer | None = None,
        cache_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate as transformers does, about conditions or media, which are looked at once.

        Args:
            inputs: ``[B, T]`` token ids (or ``input_ids=``), left-padded.
            args: further positional arguments of ``GenerationMixin.generate``.
            conditions: ``[N, D]`` embeddings.
            condition_ids: ``[B, T]``; each generated token sees what the last token of its prompt sees.
            media: decoded media instead of ``conditions``.
            deltas: the result of :meth:`condition_deltas` instead of either.
            cache: visual cache that moves conditions towards images.
            cache_options: ``enabled`` (bool, or one per condition; by default only conditions with a
                modality listed in ``config.cache["modalities"]``), ``k``, ``temperature``, ``weight``.
            kwargs: all of transformers' (``attention_mask``, ``max_new_tokens``, ``num_beams``,
                ``streamer`` …).

        Raises:
            UserError: conditions that do not fit the rows, media that cancel each other out, or too many
                beams or answers a row (:mod:`.generation`).
        """
        check_beams(kwargs, kwargs.get("generation_config") or self.generation_config)
        if deltas is None:
            if media is not None:
                if conditions is not None:
                    raise UserError("both conditions and media were given; expected one of them")
                conditions = self.embed_media(media)
                check_direction(conditions)
            if conditions is not None and cache is not None:
                conditions = enhance_conditions(
                    conditions, media, cache, self.config.cache, cache_options or {}
                )
            deltas = self.condition_deltas(conditions)
        if deltas is not None and (kwargs.get("assistant_model") or kwargs.get("assistant_early_exit")):
            raise UserError(
                "assistant models know no conditions, so they cannot guess tokens about media; use "
                "prompt_lookup_num_tokens= instead, which needs none"
            )
        named = (kwargs.get(key) for key in ("input_ids", "inputs_embeds"))
        given = (
            inputs if inputs is not None else next((tensor for tensor in named if tensor is not None), None)
        )
        if deltas is not None:
            if given is not None:
                condition_ids = check_condition_ids(condition_ids, deltas.count, given, wait_for_device=True)
            kwargs["deltas"] = deltas
        if condition_ids is not None:
            kwargs["condition_ids"] = condition_ids
        return super().generate(inputs, *args, **kwargs)  # type: ignore[misc]

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: Tensor,
        inputs_embeds: Tensor | None = None,  # by name: generate looks whether a model knows embeddings
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As transformers does, with the condition ids of just the tokens that go in."""
        prepared: dict[str, Any] = super().prepare_inputs_for_generation(  # type: ignore[misc]
            input_ids,  # type: ignore[arg-type]
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        condition_ids = prepared.get("condition_ids")
        if condition_ids is not None:
            given = prepared.get("input_ids")
            length = (prepared["inputs_embeds"] if given is None else given).shape[1]
            end = condition_ids.shape[1]
            if input_ids.shape[1] != end:  # a prompt read in chunks or given as embeddings, or guessed tokens
                past = kwargs.get("past_key_values")
                end = length + (0 if past is None else int(past.get_seq_length()))
            guessed = max(end - condition_ids.shape[1], 0)
            condition_ids = torch.cat((condition_ids, condition_ids[:, -1:].expand(-1, guessed)), dim=1)
            prepared["condition_ids"] = condition_ids[:, end - length : end]
        return prepared

    def _update_model_kwargs_for_generation(
        self, outputs: Any, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        updated: dict[str, Any] = super()._update_model_kwargs_for_generation(
            outputs, model_kwargs, *args, **kwargs
        )
        condition_ids = updated.get("condition_ids")
        if condition_ids is not None:
            new = args[1] if len(args) > 1 else kwargs.get("num_new_tokens", 1)
            last = condition_ids[:, -1:].expand(-1, new)
            updated["condition_ids"] = torch.cat((condition_ids, last), dim=1)
        return updated


@lru_cache
def _takes_logits_to_keep(forward: Callable[..., Any]) -> bool:
    """Whether a language model's ``forward`` takes ``logits_to_keep``, by name or as one of ``**kwargs``."""
    parameters = inspect.signature(forward).parameters
    return "logits_to_keep" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _kept(logits: Tensor, logits_to_keep: int | Tensor, length: int) -> Tensor:
    """``logits [B, T, V]`` at the wanted positions, if the language model gave all of its ``length``."""
    if isinstance(logits_to_keep, int):
        return logits[:, -logits_to_keep:]
    if logits.shape[1] == length != len(logits_to_keep):
        return logits[:, logits_to_keep.to(logits.device)]
    return logits
