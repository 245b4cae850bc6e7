"""The two heavy steps behind the assistant: media → conditions, and prompts → answers, each in batches."""

import copy
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from imagebind_llm.answers import Options
from imagebind_llm.common.errors import CacheError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.conditioning import cached_by_default
from imagebind_llm.model.dialog import Dialog
from imagebind_llm.model.processing import ImageBindLLMProcessor

if TYPE_CHECKING:
    from imagebind_llm.cache import Retrieved, VisualCache
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

DEFAULT_NEW_TOKENS = 256
_ENCODER_BATCH = 32


@dataclass(frozen=True)
class Job:
    """A prompt, the conditions it points to ``[n, D]`` (None: text only), and how to answer."""

    dialog: Dialog
    conditions: Tensor | None
    options: Options


@dataclass(frozen=True)
class Generated:
    """The new tokens of one job, without padding, and why they end."""

    ids: list[int]
    finish_reason: Literal["stop", "length"]


class Engine:
    """Runs a model; knows nothing of files, questions or history."""

    def __init__(
        self,
        model: "ImageBindLLMForConditionalGeneration",
        processor: ImageBindLLMProcessor,
        batch_size: int,
    ) -> None:
        self.model = model
        self.processor = processor
        self.batch_size = batch_size
        self.config = model.config

    # --- media → conditions

    def check_modality(self, modality: Modality) -> None:
        """Refuse what the encoder cannot encode.

        Raises:
            UserError: the model has no encoder, or the encoder lacks the modality.
        """
        encoder: Any = self.model.encoder
        if encoder is None:
            raise UserError(
                "this model has no encoder, so it takes no media; use a model folder that includes one"
            )
        if modality not in encoder.modalities:
            known = ", ".join(sorted(encoder.modalities))
            raise UserError(f"this model's encoder has no {modality.value}; it knows {known}")

    @torch.no_grad()
    def embed(self, media: Sequence[tuple[Modality, Tensor]]) -> Tensor:
        """Unit rows ``[n, D]`` float32 on the CPU; each encoder runs in batches of tensors of equal shape."""
        encoder: Any = self.model.encoder
        groups: dict[tuple[Modality, tuple[int, ...]], list[int]] = {}
        for number, (modality, tensor) in enumerate(media):
            groups.setdefault((modality, tuple(tensor.shape)), []).append(number)
        rows = torch.empty(len(media), int(encoder.embedding_dim))
        for (modality, _), numbers in groups.items():
            for start in range(0, len(numbers), _ENCODER_BATCH):
                part = numbers[start : start + _ENCODER_BATCH]
                batch = torch.stack([media[number][1] for number in part])
                rows[part] = encoder.encode(modality, batch).float().cpu()
        return rows

    def wants_cache(self, modalities: Sequence[Modality], options: Options, has_cache: bool) -> bool:
        """Whether a condition of these modalities is moved towards cached pictures.

        Raises:
            CacheError: the cache was asked for and there is none.
        """
        if options.cache is None:
            return has_cache and cached_by_default(modalities, self.config.cache)
        if options.cache and not has_cache:
            raise CacheError(
                "the cache was asked for, but this model has none; build one with: imagebind-llm cache build"
            )
        return bool(options.cache)

    def enhance(self, conditions: Tensor, cache: "VisualCache", options: Options) -> Tensor:
        """``conditions [N, D]`` moved towards cached pictures."""
        return cache.enhance(conditions, **self._cache_settings(options, cache.size))

    def explain(self, condition: Tensor, cache: "VisualCache", options: Options) -> "list[Retrieved]":
        """The pictures that :meth:`enhance` blends into one condition ``[D]``."""
        settings = self._cache_settings(options, cache.size)
        return cache.explain(condition, k=settings["k"], temperature=settings["temperature"])

    def _cache_settings(self, options: Options, size: int) -> dict[str, Any]:
        """What was asked for, else the model's own, whose ``k`` makes do with a smaller cache."""
        own = {
            "k": options.cache_k,
            "temperature": options.cache_temperature,
            "weight": options.cache_weight,
        }
        defaults = {**self.config.cache, "k": min(self.config.cache["k"], size)}
        return {key: value if value is not None else defaults[key] for key, value in own.items()}

    # --- prompts → answers

    @property
    def context_length(self) -> int | None:
        """Tokens the language model can read and write in one dialog, if its configuration says."""
        length = getattr(self.config.text_config, "max_position_embeddings", None)
        return int(length) if length else None

    def room(self, dialog: Dialog, options: Options) -> int:
        """How many tokens the answer may have.

        Raises:
            UserError: the prompt alone fills the context.
        """
        wanted = options.max_new_tokens or self.model.generation_config.max_new_tokens or DEFAULT_NEW_TOKENS
        if self.context_length is None:
            return int(wanted)
        left = self.context_length - len(dialog)
        if left < 1:
            raise UserError(
                f"the question (with its dialog) has {len(dialog)} tokens and the model's context is "
                f"{self.context_length}; shorten it"
            )
        return min(int(wanted), left)

    def generate(self, jobs: Sequence[Job]) -> list[Generated]:
        """Answer all jobs, prompts of similar length together, and return the answers in order."""
        buckets: dict[tuple[Any, ...], list[int]] = {}
        for number, job in enumerate(jobs):
            options = job.options
            key: tuple[Any, ...] = (
                job.conditions is None,
                options.temperature,
                options.top_p if options.temperature else None,
                options.max_new_tokens,
            )
            if options.temperature and options.seed is not None:
                key += (number,)  # alone, so that its random numbers do not depend on its neighbours
            buckets.setdefault(key, []).append(number)
        answers: dict[int, Generated] = {}
        for numbers in buckets.values():
            numbers.sort(key=lambda number: len(jobs[number].dialog))
            for start in range(0, len(numbers), self.batch_size):
                part = numbers[start : start + self.batch_size]
                answers.update(zip(part, self._generate_batch([jobs[n] for n in part]), strict=True))
        return [answers[number] for number in range(len(jobs))]

    def _generate_batch(self, jobs: Sequence[Job]) -> list[Generated]:
        options = jobs[0].options
        rooms = [self.room(job.dialog, options) for job in jobs]
        inputs, settings = self._call(jobs, options, max(rooms))
        with self._random(options):
            output = self.model.generate(**inputs, **settings)
        new = output[:, inputs["input_ids"].shape[1] :].tolist()
        ends = self.end_tokens
        return [_cut(ids[:room], ends) for ids, room in zip(new, rooms, strict=True)]

    def stream(self, job: Job) -> Iterator[list[int]]:
        """The new tokens of one job as they come, in lists of one or more (the end token included)."""
        streamer = _TokenStreamer()
        inputs, settings = self._call([job], job.options, self.room(job.dialog, job.options))
        stop = threading.Event()

        def run() -> None:
            try:
                with self._random(job.options):
                    self.model.generate(
                        **inputs,
                        **settings,
                        streamer=streamer,
                        stopping_criteria=[lambda *_, **__: stop.is_set()],
                    )
            except BaseException as error:  # handed over to the reader, who raises it
                streamer.fail(error)
            else:
                streamer.end()

        worker = threading.Thread(target=run, name="imagebind-llm-stream", daemon=True)
        worker.start()
        try:
            yield from streamer
        finally:
            stop.set()  # a reader who leaves early does not leave the model running
            worker.join()

    def _call(
        self, jobs: Sequence[Job], options: Options, new_tokens: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments of ``generate``: tensors, and settings."""
        inputs: dict[str, Any] = dict(self.processor.pad([job.dialog for job in jobs]))
        if jobs[0].conditions is None:
            del inputs["condition_ids"]  # text only: the plain language model
        else:
            inputs["conditions"] = torch.cat([job.conditions for job in jobs if job.conditions is not None])
        device = self.model.device
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        generation = copy.deepcopy(self.model.generation_config)
        generation.max_length = None
        generation.max_new_tokens = new_tokens
        generation.do_sample = options.temperature > 0
        generation.temperature = options.temperature if options.temperature > 0 else None
        generation.top_p = options.top_p if options.temperature > 0 else None
        generation.top_k = 0 if options.temperature > 0 else None
        generation.eos_token_id = sorted(self.end_tokens) or None
        tokenizer = self.processor.tokenizer
        if tokenizer.pad_token_id is not None:
            generation.pad_token_id = tokenizer.pad_token_id
        else:
            generation.pad_token_id = tokenizer.eos_token_id or 0
        return inputs, {"generation_config": generation}

    @property
    def end_tokens(self) -> set[int]:
        """Token ids that end an answer."""
        own = self.model.generation_config.eos_token_id
        found = set(own if isinstance(own, list) else [own]) | {self.processor.tokenizer.eos_token_id}
        return {int(token) for token in found if token is not None}

    def _random(self, options: Options) -> Any:
        if options.temperature == 0 or options.seed is None:
            return nullcontext()
        return _seeded(options.seed, self.model.device)


def _cut(ids: list[int], ends: set[int]) -> Generated:
    """``ids`` up to and with the first end token, or all of them."""
    for number, token in enumerate(ids):
        if token in ends:
            return Generated(ids[: number + 1], "stop")
    return Generated(ids, "length")


class _seeded:  # noqa: N801 - used like a function
    """Random numbers from a seed, without disturbing those of anybody else."""

    def __init__(self, seed: int, device: torch.device) -> None:
        devices = [device] if device.type == "cuda" else []
        self._fork = torch.random.fork_rng(devices)
        self._seed = seed

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)


class _TokenStreamer:
    """Takes tokens from ``generate`` in one thread and gives them out in another."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[list[int] | BaseException | None] = queue.SimpleQueue()
        self._prompt_seen = False
        self._ended = False

    def put(self, value: Tensor) -> None:
        """Called by ``generate``: first with the prompt, then with each token."""
        if self._prompt_seen:
            self._queue.put(value.flatten().tolist())
        self._prompt_seen = True

    def end(self) -> None:
        """Called by ``generate`` when it is done, and once more by us."""
        if not self._ended:
            self._ended = True
            self._queue.put(None)

    def fail(self, error: BaseException) -> None:
        """Pass an error on to the reader."""
        self._queue.put(error)

    def __iter__(self) -> Iterator[list[int]]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
