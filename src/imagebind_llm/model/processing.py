"""Messages with typed content parts → what the model takes (the transformers way).

::

    processor = ImageBindLLMProcessor.from_pretrained("folder")
    inputs = processor.apply_chat_template(messages, add_generation_prompt=True)
    output = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
    answer = processor.decode(output, skip_special_tokens=True)

A prompt that is ready goes in with its media: ``processor(text=prompt, images="cat.png", audio="meow.wav")``.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from imagebind_llm.common.errors import CheckpointError, UserError, reason_of, short
from imagebind_llm.common.files import read_json
from imagebind_llm.common.folders import filled
from imagebind_llm.common.locate import locate_folder
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.registry import PROCESSOR_FILE, read_media, read_processor_config
from imagebind_llm.media.base import Limits, MediaReader
from imagebind_llm.media.batch import MediaBatch, MediaPart
from imagebind_llm.media.reading import load_medium
from imagebind_llm.media.settings import MediaSettings
from imagebind_llm.model.bare_parts import with_media, without_bare_parts
from imagebind_llm.model.configuration import CONFIG_FILE, ImageBindLLMConfig, read_model_config
from imagebind_llm.model.dialog import ALPACA_TEMPLATE, Dialog, Message, build_dialog, render_dialog
from imagebind_llm.model.loss import IGNORED_LABEL
from imagebind_llm.model.messages import MediaItem, media_items
from imagebind_llm.model.rows import ROW_SETTINGS, Rows, refuse_misspelt, row_settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class ModelInputs(BatchFeature):
    """A :class:`BatchFeature` that takes its media along when it moves to another device."""

    def to(self, *args: Any, **kwargs: Any) -> "ModelInputs":
        """Move all tensors, and the media, as ``BatchFeature.to`` does."""
        super().to(*args, **kwargs)
        device = kwargs.get("device", args[0] if args and not isinstance(args[0], torch.dtype) else None)
        if device is not None and self.data.get("media") is not None:
            self.data["media"] = self.data["media"].to(device)
        return self


class ImageBindLLMProcessor(ProcessorMixin):
    """The tokenizer of the language model, and how the encoder wants its media.

    Args:
        tokenizer: of the language model.
        media: what the encoder expects (default: ImageBind-Huge's values).
        limits: how large media may be.
    """

    model_input_names = ["input_ids", "attention_mask", "condition_ids", "media"]  # noqa: RUF012

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        media: MediaReader | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.media: MediaReader = media if media is not None else MediaSettings()
        self.limits = limits if limits is not None else Limits()

    @property
    def chat_template(self) -> Any:  # type: ignore[override]
        """The tokenizer's."""
        return self.tokenizer.chat_template

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        audio: Any = None,
        *,
        return_tensors: str | None = "pt",
        sampling_rate: int | None = None,
        **more: Any,
    ) -> ModelInputs:
        """Model inputs of a prompt (or several) as it stands; all its tokens see one mixture of its media.

        Args:
            images: a source, ``(source, weight)``, or a list of these, as in
                :meth:`~imagebind_llm.inference.assistant.Assistant.ask`; for several prompts a list with one
                such entry, or ``None``, for each.
            text: the prompt, or a list of prompts. Nothing is written around it: for a question make it with
                ``apply_chat_template(…, tokenize=False)``, or give the whole dialog to that.
            videos: likewise, and so the others.
            audio: …
            return_tensors: only ``"pt"``.
            sampling_rate: in Hz, of sounds given as arrays.
            more: other modalities by name (``point=…``, ``depth=…``, a sensor of the model's own); and
                ``padding``, ``truncation``, ``max_length``, ``padding_side``, see
                :class:`~imagebind_llm.model.rows.Rows`.

        Raises:
            UserError: no prompt, media that do not fit the prompts or cannot be read, an unknown name.
        """
        _require_torch(return_tensors)
        rows = row_settings(more)
        media = more
        known = [name.value for name in Modality.known() if name.value not in ("image", "video", "text")]
        refuse_misspelt(media, [*known, *ROW_SETTINGS], "argument of the processor")
        single = isinstance(text, str)
        prompts = [text] if isinstance(text, str) else list(text or ())
        if not prompts:
            raise UserError("there is no text; give a prompt as text=…")
        given = {"image": images, "video": videos, "audio": at_rate(audio, sampling_rate), **media}
        for name, value in given.items():
            if (
                not single
                and value is not None
                and (not isinstance(value, list) or len(value) != len(prompts))
            ):
                raise UserError(
                    f"{len(prompts)} prompts need a list of as many {name} entries (None where there is none)"
                )
        dialogs = []
        for number, prompt in enumerate(prompts):
            own = {n: v if single or v is None else v[number] for n, v in given.items()}
            items = media_items(own)
            starts = bool(self.tokenizer.bos_token) and prompt.startswith(self.tokenizer.bos_token)
            ids = self.tokenizer.encode(prompt, add_special_tokens=not starts)
            seen = [0 if items else -1] * len(ids)
            dialogs.append(Dialog(ids, seen, [False] * len(ids), [items] if items else []))
        dialogs = rows.cut(dialogs, self.tokenizer)
        return self._with_media(self.pad(dialogs, rows=rows), dialogs)

    def apply_chat_template(  # type: ignore[override]
        self,
        conversation: Sequence[Message] | Sequence[Sequence[Message]],
        *,
        tokenize: bool = True,
        return_dict: bool = True,
        add_generation_prompt: bool = False,
        return_labels: bool = False,
        return_tensors: str | None = "pt",
        continue_final_message: bool = False,
        images: Any = None,
        videos: Any = None,
        audio: Any = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> ModelInputs | Tensor | str | list[str]:
        """Model inputs of one dialog or several.

        Args:
            conversation: messages (see :mod:`imagebind_llm.model.messages`), or a list of such dialogs.
            tokenize: ``False`` gives the rendered text (media leave no trace in it).
            return_dict: ``False`` gives the token ids alone.
            add_generation_prompt: end with the opening of an assistant's turn, for ``generate``.
            return_labels: add ``labels [B, T]``: the assistant's tokens, -100 elsewhere.
            return_tensors: only ``"pt"``.
            continue_final_message: not supported: an answer is always a turn of its own.
            images: for parts ``{"type": "image"}`` without a source, in their order: a source or a list of
                them; for several dialogs a list with one such entry, or ``None``, for each.
            videos: likewise.
            audio: likewise.
            processor_kwargs: where transformers' pipelines put ``padding`` and the like.
            more: ``padding``, ``truncation``, ``max_length``, ``padding_side`` (``"left"`` for generation,
                ``"right"`` for training), see :class:`~imagebind_llm.model.rows.Rows`; and what the chat
                template asks for (``enable_thinking``, ``tools`` …). Other names are refused.

        Returns:
            ``input_ids``, ``attention_mask`` and ``condition_ids``, all ``[B, T]`` int64, and ``media`` if
            there are any: a :class:`~imagebind_llm.media.batch.MediaBatch`.

        Raises:
            UserError: a malformed dialog, a medium that cannot be read, an unknown name.
        """
        _require_torch(return_tensors)
        rows = row_settings(more, processor_kwargs)
        template_arguments = more
        if "sampling_rate" in more:
            raise UserError(
                "sampling_rate is not for a dialog: say it with its sound, "
                "{'type': 'audio', 'audio': {'array': …, 'sampling_rate': …}}"
            )
        known = (*ROW_SETTINGS, *_template_names(self.tokenizer))
        refuse_misspelt(template_arguments, known, "argument of the chat template")
        if continue_final_message:
            raise UserError("continue_final_message is not supported; end the dialog with the user's turn")
        single = not conversation or not isinstance(conversation[0], list | tuple)
        given: Any = [conversation] if single else conversation
        beside = {"images": images, "videos": videos, "audio": audio}
        if any(value is not None for value in beside.values()):
            given = [
                with_media(messages, {n: v if single or v is None else v[i] for n, v in beside.items()})
                for i, messages in enumerate(_as_many(given, beside, single))
            ]
        if not tokenize:
            texts = [
                render_dialog(
                    without_bare_parts(messages), self.tokenizer, add_generation_prompt, **template_arguments
                )
                for messages in given
            ]
            return texts[0] if single else texts
        dialogs = [
            build_dialog(messages, self.tokenizer, add_generation_prompt, **template_arguments)
            for messages in given
        ]
        dialogs = rows.cut(dialogs, self.tokenizer)
        inputs = self.pad(dialogs, rows=rows)
        if not return_dict:
            ids: Tensor = inputs["input_ids"]
            return ids
        if return_labels:
            inputs["labels"] = _padded(
                [
                    [
                        token if own else IGNORED_LABEL
                        for token, own in zip(d.input_ids, d.labels_mask, strict=True)
                    ]
                    for d in dialogs
                ],
                IGNORED_LABEL,
                rows.padding_side,
                inputs["input_ids"].shape[1],
            )
        return self._with_media(inputs, dialogs)

    def _with_media(self, inputs: ModelInputs, dialogs: Iterable[Dialog]) -> ModelInputs:
        conditions = [self.load(condition) for dialog in dialogs for condition in dialog.conditions]
        if conditions:
            inputs["media"] = MediaBatch.collate(conditions)
        return inputs

    def load(self, items: Iterable[MediaItem]) -> list[MediaPart]:
        """Open the media of one condition.

        Raises:
            MediaError: one of them cannot be read.
        """
        return [
            MediaPart(modality, load_medium(self.media, modality, source, self.limits), weight)
            for modality, source, weight in items
        ]

    def pad(self, dialogs: Sequence[Dialog], rows: Rows | None = None) -> ModelInputs:
        """Token ids, mask and condition ids of several dialogs; conditions are numbered through."""
        rows = rows or Rows()
        side, width = rows.padding_side, rows.width(dialogs, self.tokenizer)
        pad = self.tokenizer.pad_token_id
        pad = pad if pad is not None else (self.tokenizer.eos_token_id or 0)
        condition_ids: list[list[int]] = []
        first = 0
        for dialog in dialogs:
            condition_ids.append([number + first if number >= 0 else -1 for number in dialog.condition_ids])
            first += len(dialog.conditions)
        return ModelInputs(
            {
                "input_ids": _padded([dialog.input_ids for dialog in dialogs], pad, side, width),
                "attention_mask": _padded([[1] * len(dialog) for dialog in dialogs], 0, side, width),
                "condition_ids": _padded(condition_ids, -1, side, width),
            }
        )

    def decode(self, ids: Any, **kwargs: Any) -> str:
        """Text of token ids (the tokenizer's ``decode``)."""
        return str(self.tokenizer.decode(ids, **kwargs))

    def batch_decode(self, ids: Any, **kwargs: Any) -> list[str]:
        """Texts of several rows (the tokenizer's ``batch_decode``)."""
        return list(self.tokenizer.batch_decode(ids, **kwargs))

    def save_pretrained(  # type: ignore[override]
        self, folder: str | os.PathLike[str], **_: Any
    ) -> None:
        """Write ``processor_config.json`` and the tokenizer into ``folder``; each file appears whole.

        Raises:
            CheckpointError: a tokenizer of another model lies there.
            DiskFullError: there was no room.
        """
        from imagebind_llm.model.folders import refuse_another_model

        refuse_another_model(Path(folder), ("tokenizer*", PROCESSOR_FILE))
        with filled(folder, CheckpointError, last=PROCESSOR_FILE) as stage:
            self.tokenizer.save_pretrained(stage)
            self.media.save_files(stage)
            text = json.dumps(self.to_dict(), indent=2) + "\n"
            (stage / PROCESSOR_FILE).write_text(text, encoding="utf-8")

    def to_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """What ``processor_config.json`` holds."""
        return {
            "processor_class": type(self).__name__,
            "encoder_type": self.media.encoder_type,
            "media": self.media.to_dict(),
        }

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name: str | os.PathLike[str], *, limits: Limits | None = None, **kwargs: Any
    ) -> "ImageBindLLMProcessor":
        """Read a processor from a folder, ``"nano"`` or the Hugging Face hub (``revision=…``).

        Raises:
            CheckpointError: there is none, or its ``processor_config.json`` is broken.
        """
        folder = locate_folder(name, revision=kwargs.get("revision"))
        settings = read_processor_config(folder)
        return cls(_load_tokenizer(folder), read_media(settings, folder), limits)


def _load_tokenizer(folder: Path) -> Any:
    if not (folder / "tokenizer_config.json").is_file():
        raise CheckpointError(f"{str(folder)!r} has no tokenizer_config.json; save the processor there too")
    from transformers import AutoConfig, AutoTokenizer

    if read_json(folder / CONFIG_FILE).get("model_type") == ImageBindLLMConfig.model_type:
        read_model_config(folder)  # transformers reads it for the tokenizer too, in its own words
    # a model folder's config.json names our model type, which AutoTokenizer looks up
    AutoConfig.register(ImageBindLLMConfig.model_type, ImageBindLLMConfig, exist_ok=True)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            read_json(folder / name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        tokenizer.model_max_length = int(tokenizer.model_max_length)
        return tokenizer
    except Exception as error:  # what tokenizers make of odd values has many names
        raise CheckpointError(
            f"the tokenizer in {str(folder)!r} cannot be read ({reason_of(error)}); "
            "copy the whole folder again"
        ) from error


def _require_torch(return_tensors: str | None) -> None:
    if return_tensors not in (None, "pt"):
        raise UserError(f"return_tensors is {return_tensors!r}; only 'pt' is known here")


def _padded(rows: Sequence[Sequence[int]], value: int, side: str, width: int) -> Tensor:
    """``rows`` as one ``[B, width]`` int64 tensor."""
    padded = torch.full((len(rows), width), value, dtype=torch.long)
    for i, row in enumerate(rows):
        start = width - len(row) if side == "left" else 0
        padded[i, start : start + len(row)] = torch.tensor(row, dtype=torch.long)
    return padded


def _template_names(tokenizer: "PreTrainedTokenizerBase") -> tuple[str, ...]:
    """Names that the chat template asks for."""
    from jinja2 import Environment
    from jinja2.meta import find_undeclared_variables

    template = tokenizer.chat_template
    texts = template.values() if isinstance(template, Mapping) else [template or ALPACA_TEMPLATE]
    environment = Environment(extensions=["jinja2.ext.loopcontrols"])
    found: set[str] = set()
    for text in texts:
        # the block that marks the assistant's words is transformers' own
        plain = re.sub(r"{%-?\s*(end)?generation\s*-?%}", "", str(text))
        found |= find_undeclared_variables(environment.parse(plain))
    own = {"messages", "add_generation_prompt", "raise_exception", "strftime_now"}
    return tuple(sorted(name for name in found - own if not name.endswith("_token")))


def at_rate(audio: Any, rate: int | None) -> Any:
    """Sounds given as arrays, with their rate in Hz.

    Raises:
        UserError: a rate for what is no array, and so has its own.
    """
    if rate is None or audio is None:
        if rate is not None:
            raise UserError(f"sampling_rate={rate} is given without audio=")
        return audio
    if isinstance(audio, list) and not all(isinstance(value, int | float) for value in audio):
        return [None if sound is None else at_rate(sound, rate) for sound in audio]
    if isinstance(audio, tuple) and len(audio) == 2:
        return (at_rate(audio[0], rate), audio[1])
    if isinstance(audio, Mapping) or not hasattr(audio, "shape"):
        raise UserError(
            f"sampling_rate={rate} is given for {short(audio)}, which says its rate itself; leave it out"
        )
    return {"array": audio, "sampling_rate": rate}


def _as_many(dialogs: Any, beside: Mapping[str, Any], single: bool) -> Any:
    """``dialogs``, if what stands beside them has an entry for each."""
    for name, value in beside.items():
        if not single and value is not None and (not isinstance(value, list) or len(value) != len(dialogs)):
            raise UserError(
                f"{len(dialogs)} dialogs need a list of as many {name} (None where there is none)"
            )
    return dialogs
