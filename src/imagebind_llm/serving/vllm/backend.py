"""vLLM as a :class:`~imagebind_llm.serving.backend.TokenBackend`."""

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imagebind_llm.common.errors import UserError
from imagebind_llm.inference.engine import Event, TokenRequest, new_tokens
from imagebind_llm.inference.sampler import Sampling
from imagebind_llm.model.families import family_of
from imagebind_llm.serving.backend import BackendLostError, Load
from imagebind_llm.serving.vllm import child, plain, salts
from imagebind_llm.serving.vllm.carried import Carried
from imagebind_llm.serving.vllm.options import VllmOptions
from imagebind_llm.serving.vllm.wire import Frame, WireError, read_frame

if TYPE_CHECKING:
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

_PATIENCE = 10.0
"""Seconds for the process to end by itself, and again after it was asked to."""
_LOST = "the vLLM engine has ended"


class VllmBackend:
    """Writes tokens with vLLM, in a process of its own environment.

    Not the same as the engine in this process: sampled answers are vLLM's own for a seed, and log
    probabilities are those before a repetition penalty.

    Args:
        model: the model, in evaluation mode. Its bind network and gates stay here; its language model is
            written as a plain folder for vLLM.
        python: the Python of an environment with vLLM, or that environment.
        options: how vLLM runs.
        folder: a plain folder of just this language model (what :func:`plain.write_plain` made of it), to
            start without writing it; None: a temporary one, which stays for another start.
        forget: free the memory of ``model``'s language model once vLLM has read it. The model can then only
            make conditions.

    Attributes:
        log: what the process says; there once it was started.
    """

    def __init__(
        self,
        model: "ImageBindLLMForConditionalGeneration",
        python: str | os.PathLike[str],
        options: VllmOptions | None = None,
        folder: Path | None = None,
        forget: bool = False,
    ) -> None:
        self.model = model
        self.options = options or VllmOptions()
        self.python = child.check_python(python)
        plain.check_supported(model)
        length = getattr(model.config.text_config, "max_position_embeddings", None)
        self.context_length: int | None = self.options.context or (int(length) if length else None)
        self._vocabulary = int(model.config.text_config.vocab_size)
        self._penalty = float(model.generation_config.repetition_penalty or 1.0)
        self._folder = folder
        self._written: tempfile.TemporaryDirectory[str] | None = None  # removed with this object
        self._forget = forget
        self._numbers = itertools.count()
        self._boxes: dict[int, asyncio.Queue[Event]] = {}
        self._running = 0
        self._asked: deque[asyncio.Future[dict[str, Any]]] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None
        self._lost: str | None = "the vLLM engine is not running"
        self._workplace: Path | None = None

    # --- life

    @property
    def log(self) -> Path | None:
        """The file that the process writes to."""
        return None if self._workplace is None else self._workplace / "vllm.log"

    async def start(self) -> None:
        """Write the language model, start the process, and wait until it has loaded it.

        After a loss it may be called again: another process is started.

        Raises:
            UserError: vLLM is not there or does not start; the message ends with what it said last.
        """
        await self.close()
        self._workplace = Path(tempfile.mkdtemp(prefix="imagebind-llm-vllm-"))
        try:
            await asyncio.wait_for(self._start(self._workplace), self.options.start_timeout)
        except BaseException as error:
            words = child.last_words(self._workplace / "vllm.log")
            await self._end()
            if isinstance(error, TimeoutError):
                raise UserError(
                    f"vLLM did not start in {self.options.start_timeout:g} seconds; it said last: {words}"
                ) from None
            raise

    async def _start(self, workplace: Path) -> None:
        folder = self._folder
        if folder is None:
            self._written = tempfile.TemporaryDirectory(prefix="imagebind-llm-plain-")
            folder = Path(self._written.name)
            await asyncio.to_thread(plain.write_plain, self.model, folder)
            self._folder = folder
        log = workplace / "vllm.log"
        paths = child.write_path_folder(workplace / "path")
        environment = child.environment(paths, workplace, self.options.second_runner)
        environment |= self.options.environment
        process, connection = child.spawn(self._command(), environment, log)
        self._process = process
        reader, self._writer = await asyncio.open_connection(sock=connection)
        await self._send(Frame({"op": "start", **self._settings(folder)}))
        answer = await read_frame(reader)
        if answer is None or answer.header.get("op") != "ready":
            error = None if answer is None else str(answer.header.get("error") or "")
            code = await asyncio.to_thread(child.end, process, _PATIENCE)
            raise child.failure(self.python, _keep_log(log), code, error)
        self.context_length = int(answer.header["context"])
        if self._forget:
            plain.forget_language_model(self.model)
        self._lost = None
        self._listener = asyncio.create_task(self._listen(reader), name="vllm events")

    def _command(self) -> list[str]:
        return child.default_command(self.python)

    def _settings(self, folder: Path) -> dict[str, Any]:
        injection = self.model.injection
        family = family_of(str(self.model.config.text_config.model_type))
        arguments = {
            "model": str(folder),
            "dtype": str(self._stream_dtype).removeprefix("torch."),
            "seed": int(torch.randint(2**31 - 1, ())),
            "max_logprobs": -1,
            "disable_log_stats": True,
            "generation_config": "vllm",
            **self.options.arguments(),
        }
        if self.options.compiled is not None:
            arguments["enforce_eager"] = not self.options.compiled
        settings = {
            "style": injection.style,
            "layers": list(injection.layers),
            "layers_path": family.layers,
            "attention_path": family.attention,
            "injected": len(injection.layers),
            "width": injection.shape.width,
            "places": self.options.max_conditions,
        }
        return {"arguments": arguments, "settings": settings}

    @property
    def _stream_dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.model.get_input_embeddings().weight.dtype  # type: ignore[assignment]
        return dtype

    async def close(self) -> None:
        """End the process; requests that still run get an error."""
        if self._writer is not None and self._lost is None:
            with contextlib.suppress(OSError):
                await self._send(Frame({"op": "close"}))
        self._lose("the vLLM engine was closed")
        await self._end()

    async def _end(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(child.end, process, _PATIENCE)
        workplace, self._workplace = self._workplace, None
        if workplace is not None:
            await asyncio.to_thread(shutil.rmtree, workplace, True)

    # --- requests

    def new_tokens(self, prompt: int, wanted: int | None = None) -> int:
        """How many tokens the answer to a prompt of ``prompt`` tokens may have.

        Raises:
            UserError: the prompt alone fills the context.
        """
        return new_tokens(self.model, self.context_length, prompt, wanted)

    async def stream(self, request: TokenRequest, session: str | None = None) -> AsyncGenerator[Event, None]:
        """The events of one request as they come, up to one that is last; ``session`` changes nothing here.

        Raises:
            UserError: a request that cannot be answered.
            BackendLostError: the process has ended; the request may be sent again.
        """
        self._require_alive()
        ids, runs = self._checked(request)
        limit = self.new_tokens(len(ids), request.sampling.max_new_tokens)
        carried = await asyncio.to_thread(self._carried, request, runs)
        self._require_alive()
        number = next(self._numbers)
        box = self._boxes[number] = asyncio.Queue()
        packed = carried.pack()
        data = packed.pop("deltas")
        header = {
            "op": "add",
            "id": number,
            "ids": ids,
            "carried": packed,
            "sampling": self._sampling(request, limit),
        }
        try:
            try:
                await self._send(Frame(header, data))
            except OSError:
                raise BackendLostError(self._lost or _LOST) from None
            while True:
                event = await box.get()
                if event.error is not None:
                    raise event.error
                yield _as_asked(event, request.sampling)
                if event.last:
                    return
        finally:
            if self._boxes.pop(number, None) is not None and self._lost is None:
                self._abort(number)

    def load(self) -> Load:
        """How busy it is: what vLLM ran at its last word; all others wait."""
        running = min(self._running, len(self._boxes))
        return Load(running, len(self._boxes) - running)

    async def state(self) -> dict[str, Any]:
        """What the process says of itself: sequences ``running`` and ``waiting``, ``conditions`` in use, and
        ``kv_usage``, the share of key-value memory that sequences hold.

        Raises:
            BackendLostError: the process has ended.
        """
        self._require_alive()
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        await self._send(Frame({"op": "state"}))
        return await answer

    def _require_alive(self) -> None:
        if self._lost is not None:
            raise BackendLostError(self._lost)

    def _checked(self, request: TokenRequest) -> tuple[list[int], salts.Runs]:
        """The prompt and its condition ids, as runs."""
        if request.sampling.constraint is not None:
            raise UserError(
                "answers of a given form (response_format, tool calls) are not written through vLLM; serve "
                "this model without it"
            )
        ids = [int(token) for token in request.input_ids]
        if not ids:
            raise UserError("the prompt has no token; give at least one")
        if not 0 <= min(ids) <= max(ids) < self._vocabulary:
            raise UserError(
                f"the prompt has token ids from {min(ids)} to {max(ids)}, the language model embeds "
                f"{self._vocabulary}; put the tokenizer of this language model into the folder"
            )
        seen = [-1] * len(ids) if request.condition_ids is None else [int(i) for i in request.condition_ids]
        count = 0 if request.conditions is None else len(request.conditions)
        if len(seen) != len(ids) or min(seen) < -1 or max(seen) >= count:
            raise UserError(
                f"{len(seen)} condition ids from {min(seen, default=-1)} to {max(seen, default=-1)} for "
                f"{len(ids)} tokens and {count} conditions; expected one for each token, -1 … {count - 1}"
            )
        return ids, salts.runs_of(seen)

    @torch.inference_mode()
    def _carried(self, request: TokenRequest, runs: salts.Runs) -> Carried:
        injection = self.model.injection
        if request.conditions is None:
            nothing = torch.empty(0, len(injection.layers), injection.shape.width, dtype=self._stream_dtype)
            return Carried.of(nothing, runs)
        deltas = self.model.condition_deltas(request.conditions.to(self.model.bind.project.weight.device))
        assert deltas is not None, "there are conditions"
        table = deltas.tensor.transpose(0, 1).to(self._stream_dtype)  # [N, K, C]
        if not bool(table.isfinite().all()):
            raise UserError(
                "the conditions gave values that are not numbers; check the embeddings, or use a wider "
                "precision (float32 instead of float16)"
            )
        return Carried.of(table, runs)

    def _sampling(self, request: TokenRequest, limit: int) -> dict[str, Any]:
        """Fields of vLLM's ``SamplingParams``."""
        own = request.sampling
        found: dict[str, Any] = {
            "max_tokens": limit,
            "temperature": own.temperature,
            "stop_token_ids": sorted(own.end_tokens),
            "repetition_penalty": self._penalty,
            "logprobs": 0 if own.logprobs is None and own.confidence == 1 else own.logprobs,
        }
        if own.temperature > 0:
            found |= {"top_p": own.top_p, "seed": own.seed}
        return found

    # --- the other side

    async def _send(self, frame: Frame) -> None:
        writer = self._writer
        if writer is None:
            raise ConnectionResetError(_LOST)
        writer.write(frame.encode())
        await writer.drain()

    def _abort(self, number: int) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(Frame({"op": "abort", "id": number}).encode())

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while (frame := await read_frame(reader)) is not None:
                self._hand_out(frame)
            words = "" if self.log is None else f": {child.last_words(self.log)}"
        except (WireError, KeyError, TypeError, ValueError) as error:
            words = f": {error}"
        self._lose(_LOST + words)

    def _hand_out(self, frame: Frame) -> None:
        if frame.header["op"] == "state":
            asked = self._asked.popleft()
            if not asked.done():
                asked.set_result({name: value for name, value in frame.header.items() if name != "op"})
            return
        self._running = int(frame.header["running"])
        for number, token, reason, logprob, top, error in frame.header["events"]:
            box = self._boxes.get(number)
            if box is None:
                continue  # nobody waits for it any more
            event = Event(
                sequence=number,
                token=token,
                finish_reason=reason,
                error=None if error is None else UserError(error),
                logprob=logprob,
                top=tuple((int(other), float(value)) for other, value in top),
            )
            if event.last:
                del self._boxes[number]
            box.put_nowait(event)

    def _lose(self, why: str) -> None:
        """Give all who wait an error; nobody can ask any more."""
        if self._lost is None:
            self._lost = why
        self._running = 0
        for number, box in self._boxes.items():
            box.put_nowait(Event(number, error=BackendLostError(why)))
        self._boxes.clear()
        for asked in self._asked:
            if not asked.done():
                asked.set_exception(BackendLostError(why))
        self._asked.clear()


def _as_asked(event: Event, sampling: Sampling) -> Event:
    """``event`` with what was asked for. vLLM tells of probabilities at temperature 1 only: no confidence at
    another."""
    sure = event.logprob if sampling.confidence == 1 else None
    if sampling.logprobs is None:
        return replace(event, logprob=None, top=(), sure=sure)
    return replace(event, sure=sure)


def _keep_log(log: Path) -> Path:
    """A copy of the log that outlives the workplace."""
    descriptor, name = tempfile.mkstemp(prefix="imagebind-llm-vllm-", suffix=".log")
    os.close(descriptor)
    shutil.copyfile(log, name)
    return Path(name)
